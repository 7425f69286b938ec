"""Add to Google Colab what it lacks, and nothing else: `python -m tools.colab`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from helpers import environment

KEPT = ("torch", "numpy", "ipywidgets")  # Colab builds on its own; a replaced one breaks the running kernel


def main() -> int:
    """Install each package of the course that is absent, holding the versions of those in `KEPT`.

    Returns
    -------
    int
        pip's exit status; 0 where nothing was absent.
    """
    absent = [
        f"{name}{bounds}" for name, (version, bounds) in environment.packages().items() if version is None
    ]
    if not absent:
        return 0
    versions = {name: environment.installed_version(name) for name in KEPT}
    held = [f"{name}=={version}" for name, version in versions.items() if version]
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("\n".join(held), encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--constraint",
            str(constraints),
            *absent,
        ]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
