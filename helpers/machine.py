"""What this machine is: its processor, cores, memory and GPUs, a container's limits, versions of packages.

Only the standard library is imported here, and what the operating system does not tell is left out.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")  # where Linux tells a container its limits


def hardware() -> dict:
    """Processor, cores, memory and GPUs, as a receipt holds them.

    Returns
    -------
    dict
        `cpu` (str), `cores` (int), `memory_gb` (float, what this process may have), `gpus` (list of str).
    """
    return {
        "cpu": cpu_name(),
        "cores": cores(),
        "memory_gb": round(memory_bytes() / 1e9, 1),
        "gpus": nvidia_gpus(),
    }


def cores() -> int:
    """Cores that this process may compute on: those that it is bound to, or a container's quota if lower.

    Examples
    --------
    >>> 1 <= cores() <= visible_cores()
    True
    """
    quotas = [float(visible_cores())]
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):  # cgroup v2, v1
        with contextlib.suppress(OSError, ValueError):  # no such file, or the word `max`
            quota, period = " ".join((CGROUP / name).read_text() for name in names).split()
            quotas += [float(quota) / float(period)] if float(quota) > 0 else []  # v1: -1 is no quota
    return max(1, round(min(quotas)))


def visible_cores() -> int:
    """Cores that this process is bound to, which is what libraries count; all of them outside Linux."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> float:
    """Memory that this process may have: the machine's, or a container's limit if that is lower."""
    import psutil

    limits = [float(psutil.virtual_memory().total)]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # cgroup v2, v1
        with contextlib.suppress(OSError, ValueError):  # no such file, or the word `max`
            limits.append(float((CGROUP / name).read_text()))
    return min(limits)


def cpu_name() -> str:
    """Give the processor's name as the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):  # no such file, or an ARM processor, which has no name there
        with contextlib.suppress(OSError, subprocess.CalledProcessError):  # macOS has it here, others not
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.check_output(command, stderr=subprocess.DEVNULL, text=True).strip()
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


def installed_version(name: str) -> str | None:
    """Give the version of an installed package without importing it, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions(names: Iterable[str]) -> dict[str, str]:
    """Give the versions of Python and of those packages that are installed, by name.

    Examples
    --------
    >>> list(versions(["numpy", "no-such-package"]))
    ['python', 'numpy']
    """
    found = {name: version for name in names if (version := installed_version(name))}
    return {"python": platform.python_version()} | found
