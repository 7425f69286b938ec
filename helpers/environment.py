"""Say whether this machine is ready for the course, one line for each thing that can be wrong.

The standard library alone gets as far as a missing package: a check that needs it would show a traceback.
"""

import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

from helpers import assets, machine

OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 14)
DISK_GB, MEMORY_GB = 1.0, 1.8  # the model and the executed copies; the largest notebook and its kernel
SMALL_GB = 3.0  # as on Binder, where the whole course takes long
QUICK = "for a first look, on less data: make run PROFILE=quick"
NOT_ON_COLAB = {"jupyterlab", "nbclient", "nbformat", "nbconvert", "ipykernel"}
FETCH, INSTALL = "python -m helpers fetch", "make setup, or: python -m pip install -r requirements.txt"


class Finding(NamedTuple):
    """What one check found.

    Examples
    --------
    >>> print(Finding(False, "disk", "0.2 GB free, 1 GB expected", "free some space"))
    FAIL disk      0.2 GB free, 1 GB expected -> free some space
    """

    ok: bool | None  # False where the course would not run, None where it runs but cannot tell something
    name: str  # of what was checked
    text: str  # what was found and, where it is not enough, what was expected
    fix: str = ""  # what to do about it; empty where nothing is to be done

    def __str__(self) -> str:
        verdict = {True: "OK", False: "FAIL", None: "NOTE"}[self.ok]
        line = f"{verdict:4} {self.name:9} {self.text}"
        return f"{line} -> {self.fix}" if self.fix else line


def check() -> bool:
    """Print a line for each finding, and return whether all of them are OK."""
    findings = [check_python()]
    if findings[0].ok:
        findings += [check_packages(), check_model("model", assets.EMBEDDED)]
        findings += [check_model("writer", assets.WRITER), check_data(), check_disk(), check_memory()]
        findings += [check_threads(), check_gpu(), check_energy()]
    print(*findings, sep="\n")
    found = [finding.ok for finding in findings]
    ready = "Ready, but measurements here will have unknowns: see NOTE." if None in found else "Ready."
    print(f"{found.count(False)} to fix; what follows each arrow does it." if False in found else ready)
    return False not in found


def require() -> None:
    """Stop a notebook or a command early, with a way out: a ModuleNotFoundError where a package is absent."""
    if absent := [name for name, (version, _) in packages().items() if version is None]:
        raise ModuleNotFoundError(
            f"This Python, {sys.executable}, has no {', '.join(absent)}; the course needs every package of "
            "requirements.txt. In a notebook, choose the kernel 'Python 3 (ipykernel)' of a JupyterLab "
            "started by `make lab`, or run %pip install -r ../requirements.txt. In a terminal, use: make run"
        )


def packages() -> dict[str, tuple[str | None, Any]]:
    """Give the version found, None if absent, and the bounds of each package that the notebooks use here."""
    import tomllib

    try:
        from packaging.requirements import Requirement
    except ImportError:  # then most likely all are absent
        return {"packaging": (None, "any version")}
    with (assets.ROOT / "pyproject.toml").open("rb") as file:
        declared = [Requirement(line) for line in tomllib.load(file)["project"]["dependencies"]]
    elsewhere = NOT_ON_COLAB if "COLAB_RELEASE_TAG" in os.environ else ()
    needed = [each for each in declared if each.name not in elsewhere]
    return {each.name: (machine.installed_version(each.name), each.specifier) for each in needed}


def check_python() -> Finding:
    found = platform.python_version()
    if OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON:
        return Finding(True, "python", found)
    expected = " to ".join("{}.{}".format(*version) for version in (OLDEST_PYTHON, NEWEST_PYTHON))
    fix = "install one of them, remove .venv and name it: make lab PYTHON=python3.11"
    return Finding(False, "python", f"{found} found, {expected} expected", fix)


def check_packages() -> Finding:
    try:
        found = packages()
    except OSError as error:
        fix = "run it from a clone of the course, installed with: pip install -e ."
        text = f"pyproject.toml can't be read ({error.strerror}): {assets.ROOT}"
        return Finding(False, "packages", text, fix)
    wrong = [
        f"{name} {version or 'absent'}, {bounds} expected"
        for name, (version, bounds) in found.items()
        if version is None or not bounds.contains(version, prereleases=True)
    ]
    if wrong:
        return Finding(False, "packages", "; ".join(wrong), INSTALL)
    shown = ", ".join(f"{name} {found[name][0]}" for name in ("torch", "transformers", "codecarbon"))
    return Finding(True, "packages", f"{len(found)} within their bounds; {shown}")


def check_model(name: str, model: assets.Model) -> Finding:
    folder = assets.MODELS / model.name
    if model is assets.WRITER and not folder.exists():
        return Finding(True, name, f"{model.name} is absent; the course opens without it", f"run `{FETCH}`")
    return _files(name, folder, model.files(), FETCH)


def check_data() -> Finding:
    try:
        return _files("data", assets.DATA, assets.data_sums(), "git checkout -- data")
    except assets.AssetError as error:
        return Finding(False, "data", str(error))


def _files(name: str, folder: Path, expected: dict[str, Any], command: str) -> Finding:
    if wrong := assets.wrong_files(folder, expected):
        return Finding(False, name, f"{'; '.join(wrong)} in {folder}", f"run `{command}`")
    return Finding(True, name, f"{folder.name}, {len(expected)} files as expected")


def check_disk() -> Finding:
    free_gb = shutil.disk_usage(assets.ROOT).free / 1e9
    if free_gb >= DISK_GB:
        return Finding(True, "disk", f"{free_gb:.0f} GB free")
    text = f"{free_gb:.1f} GB free, {DISK_GB:.0f} GB expected"
    return Finding(False, "disk", text, "free some; make clean helps")


def check_memory() -> Finding:
    try:
        total_gb, available_gb = (memory / 1e9 for memory in machine.memory_bytes())
    except Exception as error:  # a package is absent, say, or /proc is empty
        return Finding(None, "memory", f"unknown ({type(error).__name__}: {error})")
    text = f"{available_gb:.1f} of {total_gb:.1f} GB available"
    if available_gb >= MEMORY_GB:
        return Finding(True, "memory", text, QUICK if total_gb < SMALL_GB else "")
    return Finding(False, "memory", f"{text}, {MEMORY_GB} GB expected", "close other programs and notebooks")


def check_threads() -> Finding:
    seen, usable = machine.visible_cores(), machine.cores()
    if (asked := os.environ.get("OMP_NUM_THREADS", "")).strip("0").isdecimal():  # others are ignored
        return Finding(True, "threads", f"{asked}, from OMP_NUM_THREADS, of {seen} cores")
    text = f"{seen} cores" if usable == seen else f"{usable} of {seen} cores, which is this container's share"
    return Finding(True, "threads", text, QUICK if usable == 1 else "")


def check_gpu() -> Finding:
    if not (gpus := machine.nvidia_gpus()):
        return Finding(True, "gpu", "none, and none is needed: the course runs on the CPU")
    cpu = (machine.installed_version("torch") or "").endswith("+cpu")
    text = ", ".join(gpus) + ", unused: this torch was built for the CPU" * cpu
    if (shown := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        text += f"; CUDA_VISIBLE_DEVICES is {shown!r}, and the meter counts no others"
    return Finding(True, "gpu", text)


def check_energy() -> Finding:
    """Measure half a second of nothing, and say of each part how a figure of it will be known."""
    try:
        from helpers import energy

        trial = energy.idle(0.5).reading
    except Exception as error:  # a package is absent, say, which another line tells
        return Finding(None, "energy", f"unknown ({type(error).__name__}: {error})")
    parts = [f"{part.name} {part.method or 'unknown'} ({part.source})" for part in trial.components]
    unread = trial.notes if None in (trial.cpu_s, trial.foreign_load) else ()
    known = trial.energy_wh is not None and not unread
    return Finding(known or None, "energy", "; ".join([*parts, *unread]))
