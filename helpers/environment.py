"""Say whether this machine is ready for the course, one line for each thing that can be wrong.

Nothing here imports torch, and nothing but the standard library is needed to get as far as the missing
package: a check that needs what it checks for would only show a traceback.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST_PYTHON, FIRST_UNTRIED_PYTHON = (3, 11), (3, 14)
DISK_GB, MEMORY_GB = 1.0, 1.8  # the model and the executed copies; the largest notebook and its kernel
NOT_ON_COLAB = {"jupyterlab", "papermill", "nbclient", "nbformat", "nbconvert", "ipykernel"}
INSTALL = "make setup, or: python -m pip install -r requirements.txt"


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Parameters
    ----------
    ok : bool
        False where the course would not run.
    name : str
        What was looked at.
    text : str
        What was found and, where it is not enough, what was expected.
    fix : str
        What to do about it; empty where nothing is to be done.

    Examples
    --------
    >>> print(Finding(False, "disk", "0.2 GB free, 1 GB expected", "free some space"))
    FAIL disk      0.2 GB free, 1 GB expected -> free some space
    """

    ok: bool
    name: str
    text: str
    fix: str = ""

    def __str__(self) -> str:
        line = f"{'OK' if self.ok else 'FAIL':4} {self.name:9} {self.text}"
        return f"{line} -> {self.fix}" if self.fix else line


def check() -> bool:
    """Print a line for each finding, and return whether all of them are OK."""
    findings = [look_at_python()]
    if findings[0].ok:
        looks = (
            look_at_packages,
            look_at_model,
            look_at_data,
            look_at_disk,
            look_at_memory,
            look_at_threads,
            look_at_gpu,
            look_at_energy,
        )
        findings += [look() for look in looks]
    for finding in findings:
        print(finding)
    failed = sum(not finding.ok for finding in findings)
    print("Ready." if not failed else f"{failed} to fix; what follows each arrow does it.")
    return not failed


def require() -> None:
    """Stop a notebook or a command early, with a way out, where a package of the course is absent.

    Raises
    ------
    ModuleNotFoundError
        If a package that the notebooks use is not installed for this Python.
    """
    try:
        absent = [name for name, (version, _) in packages().items() if version is None]
    except ImportError as error:  # `packaging` itself, which reads the list
        absent = [str(error.name)]
    if absent:
        raise ModuleNotFoundError(
            f"This Python, {sys.executable}, has no {', '.join(absent)}; the course needs every package of "
            "requirements.txt. In a notebook, choose the kernel 'Python 3 (ipykernel)' of a JupyterLab "
            "started by `make lab`, or run %pip install -r ../requirements.txt. In a terminal, use: make run"
        )


def packages() -> dict[str, tuple[str | None, object]]:
    """Give the version found and the bounds of each package that the notebooks use here.

    Returns
    -------
    dict of str to tuple
        Name to ``(version, packaging.specifiers.SpecifierSet)``; the version of an absent package is None.
    """
    import tomllib

    from packaging.requirements import Requirement

    with (ROOT / "pyproject.toml").open("rb") as file:
        declared = [Requirement(line) for line in tomllib.load(file)["project"]["dependencies"]]
    on_colab = "COLAB_RELEASE_TAG" in os.environ
    return {
        each.name: (installed_version(each.name), each.specifier)
        for each in declared
        if not (on_colab and each.name in NOT_ON_COLAB)
    }


def installed_version(name: str) -> str | None:
    """Give the version of an installed package without importing it, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def look_at_python() -> Finding:
    found = platform.python_version()
    if OLDEST_PYTHON <= sys.version_info[:2] < FIRST_UNTRIED_PYTHON:
        return Finding(True, "python", found)
    expected = (
        f"{OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} to {FIRST_UNTRIED_PYTHON[0]}.{FIRST_UNTRIED_PYTHON[1] - 1}"
    )
    fix = "install one of them, remove .venv and name it: make lab PYTHON=python3.11"
    return Finding(False, "python", f"{found} found, {expected} expected", fix)


def look_at_packages() -> Finding:
    try:
        found = packages()
    except ImportError:
        return Finding(False, "packages", "`packaging` is absent, and so most likely the others", INSTALL)
    except OSError as error:
        fix = "run it from a clone of the course, installed with: pip install -e ."
        return Finding(False, "packages", f"pyproject.toml can't be read ({error.strerror}): {ROOT}", fix)
    wrong = [
        f"{name} {version or 'absent'}, {bounds} expected"
        for name, (version, bounds) in found.items()
        if version is None or not bounds.contains(version, prereleases=True)
    ]
    if wrong:
        return Finding(False, "packages", "; ".join(wrong), INSTALL)
    shown = ", ".join(f"{name} {found[name][0]}" for name in ("torch", "transformers", "codecarbon"))
    return Finding(True, "packages", f"{len(found)} within their bounds; {shown}")


def look_at_model() -> Finding:
    from helpers import assets

    ok, text = assets.model_status()  # where it is not ok, the text ends with its own fix
    return Finding(ok, "model", text)


def look_at_data() -> Finding:
    from helpers import assets

    ok, text = assets.data_status()
    return Finding(ok, "data", text)


def look_at_disk() -> Finding:
    free_gb = shutil.disk_usage(ROOT).free / 1e9
    if free_gb >= DISK_GB:
        return Finding(True, "disk", f"{free_gb:.0f} GB free")
    return Finding(
        False, "disk", f"{free_gb:.1f} GB free, {DISK_GB:.0f} GB expected", "free some; make clean helps"
    )


def look_at_memory() -> Finding:
    try:
        import psutil
    except ImportError:
        return Finding(False, "memory", "can't be read without psutil", INSTALL)
    memory = psutil.virtual_memory()
    total_gb = min(memory.total, container_memory()) / 1e9
    available_gb = min(memory.available / 1e9, total_gb)
    text = f"{available_gb:.1f} of {total_gb:.1f} GB available"
    if available_gb >= MEMORY_GB:
        return Finding(True, "memory", text)
    return Finding(False, "memory", f"{text}, {MEMORY_GB} GB expected", "close other programs and notebooks")


def container_memory() -> float:
    """Give a container's memory limit in bytes; infinity where there is none, as outside Linux."""
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            return float(Path(path).read_text())
        except (OSError, ValueError):  # no such file, or the word `max`
            continue
    return float("inf")


def look_at_threads() -> Finding:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    quota = container_cores()
    if asked:
        return Finding(True, "threads", f"{asked}, from OMP_NUM_THREADS, of {usable} cores")
    if quota < usable / 2:
        text = f"{usable} cores seen, but this container may use {quota:g}"
        return Finding(True, "threads", text, f"for speed, set OMP_NUM_THREADS={max(1, round(quota))}")
    return Finding(True, "threads", f"{usable} cores")


def container_cores() -> float:
    """Give a container's CPU quota in cores; infinity where there is none, as outside Linux."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return float(quota) / float(period)
    except (OSError, ValueError):  # no such file, or the word `max`
        return float("inf")


def look_at_gpu() -> Finding:
    names = nvidia_gpus()
    if not names:
        return Finding(True, "gpu", "none, and none is needed: the course runs on the CPU")
    if (installed_version("torch") or "").endswith("+cpu"):
        return Finding(True, "gpu", f"{', '.join(names)}, unused: this torch was built for the CPU")
    return Finding(True, "gpu", ", ".join(names))


def cpu_name() -> str:
    """Give the processor's name as the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def nvidia_gpus() -> list[str]:
    """Give the names of the NVIDIA GPUs that the driver shows; none without a driver."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no package, no driver, or one that refuses: for the course, all of them mean no GPU
        return []
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        return [str(pynvml.nvmlDeviceGetName(handle)) for handle in handles]
    finally:
        pynvml.nvmlShutdown()


def look_at_energy() -> Finding:
    rapl = sorted(Path("/sys/class/powercap").glob("intel-rapl:*/energy_uj"))
    readable = [path for path in rapl if os.access(path, os.R_OK)]
    parts = []
    if readable:
        parts.append("the CPU's counter (RAPL) can be read")
    elif rapl:
        parts.append("the CPU has a counter (RAPL) that only root may read: its figures will be modelled")
    if nvidia_gpus():
        parts.append("the GPU's counter (NVML) can be read")
    return Finding(True, "energy", "; ".join(parts) or "no counter: figures will be modelled")
