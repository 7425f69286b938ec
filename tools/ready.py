"""Makes a kernel ready for its notebook, whose first cell of code ends in `%run ../tools/ready.py`.

`%run` leaves a file's names among those of the notebook, so this one takes its own away again.
"""


def ready() -> None:
    """Put the course first on the path, add on Colab what is missing, and say what to do where more is."""
    import os
    import sys
    from pathlib import Path

    root = str(Path(__file__).resolve().parent.parent)
    sys.path[:] = [root, *(folder for folder in sys.path if folder != root)]
    from helpers import environment, machine

    if machine.cores() < machine.visible_cores():  # torch would start a thread for each that it sees
        os.environ.setdefault("OMP_NUM_THREADS", str(machine.cores()))
    if "google.colab" in sys.modules:
        add_missing()
    environment.require()


def add_missing() -> int:
    """Install the packages of the course that are absent, and return pip's exit status.

    No other package changes: Colab builds on its own torch, numpy and ipywidgets, and a replaced one breaks
    the running kernel.
    """
    import importlib
    import subprocess
    import sys

    from helpers import environment, machine

    found = environment.packages().items()
    absent = [f"{name}{bounds}" for name, (version, bounds) in found if version is None]
    if not absent:
        return 0
    versions = machine.versions(("torch", "numpy", "ipywidgets"))
    kept = [f"{name}=={version}" for name, version in versions.items() if name != "python"]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", *kept, *absent]
    status = subprocess.run(pip, check=False).returncode
    importlib.invalidate_caches()
    return status


if __name__ == "__main__":
    try:
        ready()
    finally:
        del ready, add_missing
