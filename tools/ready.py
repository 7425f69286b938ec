"""Makes a kernel ready for its notebook, whose first cell of code ends in `%run ../tools/ready.py`.

`%run` leaves a file's names among those of the notebook, so this one takes its own away again.
"""


def ready() -> None:
    """Put the course first on the path, add on Colab what is missing, and say what to do where more is."""
    import os
    import sys
    from pathlib import Path

    from IPython import get_ipython

    root = str(Path(__file__).resolve().parent.parent)
    sys.path[:] = [root, *(folder for folder in sys.path if folder != root)]
    from helpers import environment, machine

    if machine.cores() < machine.visible_cores():  # torch would start a thread for each that it sees
        os.environ.setdefault("OMP_NUM_THREADS", str(machine.cores()))
    if "google.colab" in sys.modules and add_missing():
        raise RuntimeError(
            "pip could not add what the course needs, and says above why. Nothing of Colab's was changed. "
            "Run this cell again; if that fails too, choose Runtime > Disconnect and delete runtime first."
        )
    environment.require()
    if os.environ.get("COURSE_STATIC") != "1" and (shell := get_ipython()) is not None:
        from tools import waiting

        waiting.announce(shell, Path(root, "notebooks", "costs.json"))


def add_missing() -> int:
    """Install the packages of the course that are absent, and return pip's exit status.

    No package that is there changes, since a replaced one breaks the running kernel. codecarbon comes alone,
    and then what it lacks: it asks for psutil 6, but uses nothing that Colab's 5.9.5 doesn't have.
    """
    import importlib.metadata
    import subprocess
    import sys
    import tempfile
    from contextlib import suppress

    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    from helpers import environment, machine

    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-warn-conflicts"]
    found = environment.packages().items()
    absent = {name: f"{name}{bounds}" for name, (version, bounds) in found if version is None}
    if alone := absent.pop("codecarbon", None):
        if status := subprocess.run([*pip, "--no-deps", alone], check=False).returncode:
            return status
        importlib.invalidate_caches()
    for each in map(Requirement, importlib.metadata.requires("codecarbon") or []):
        wanted = each.marker is None or each.marker.evaluate({"extra": ""})
        if wanted and machine.installed_version(each.name) is None:
            absent[each.name] = f"{each.name}{each.specifier}"
    if not absent:
        return 0
    kept: dict[str, str] = {}  # each package once: the one that Python imports
    for each in importlib.metadata.distributions():
        with suppress(InvalidRequirement):  # pip leaves alone what it can't read
            requirement = Requirement(f"{each.name}=={each.version}")
            kept.setdefault(canonicalize_name(requirement.name), str(requirement))
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(kept.values()))
        file.flush()
        status = subprocess.run([*pip, "--constraint", file.name, *absent.values()], check=False).returncode
    importlib.invalidate_caches()
    return status


if __name__ == "__main__":
    try:
        ready()
    finally:
        del ready, add_missing
