"""What this machine is: its processor, cores, memory and GPUs, a container's limits, versions of packages.

Only the standard library is imported here, and what the operating system does not tell is left out.
"""

import contextlib
import ctypes
import gc
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc/self")  # where Linux tells a process its control groups, and where they are mounted
MEMORY = dict.fromkeys(("memory.max", "memory.high"), "memory.current")  # limit and use, cgroup v2
MEMORY["memory.limit_in_bytes"] = "memory.usage_in_bytes"  # v1
LARGE_BLOCK_BYTES = 5_500_000  # 32 film sentences in fp32 take up to 5.3 MB, which are worth keeping
RETURN_MEMORY_STEPS = 20  # often enough that little piles up, seldom enough to cost little time


def hardware() -> dict:
    """Processor, cores, memory that this process may have (None if unknown), and GPUs, as in a receipt."""
    memory_gb = None
    with contextlib.suppress(Exception):  # /proc may be closed or empty, and a finished measurement counts
        memory_gb = round(memory_bytes()[0] / 1e9, 1)
    return {"cpu": cpu_name(), "cores": cores(), "memory_gb": memory_gb, "gpus": nvidia_gpus()}


def cores() -> int:
    """Cores that this process may compute on: those that it is bound to, or a container's quota if lower.

    Examples
    --------
    >>> 1 <= cores() <= visible_cores()
    True
    """
    quotas = [float(visible_cores())]
    for group in _groups("cpu"):
        for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):  # cgroup v2, v1
            with contextlib.suppress(OSError, ValueError, ZeroDivisionError):  # no file, or the word `max`
                quota, period = " ".join((group / name).read_text() for name in names).split()
                quotas += [float(quota) / float(period)] if float(quota) > 0 else []  # v1: -1 is no quota
    return max(1, round(min(quotas)))


def visible_cores() -> int:
    """Cores that this process is bound to, which is what libraries count; all of them outside Linux."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> tuple[float, float]:
    """Memory that this process may have, and may still take: the machine's, or a container's if less."""
    import psutil

    machine, limits = psutil.virtual_memory(), [*_memory_limits()]
    left = min([float(machine.available), *(limit - used for limit, used in limits)])
    return min([float(machine.total), *(limit for limit, _ in limits)]), max(0.0, left)


def cpu_name() -> str:
    """Give the processor's name as the system calls it.

    To a name without a number, such as "AMD EPYC", family and model are added, which tell generations apart.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        found = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        name, numbers = found["model name"], [found.get(key) for key in ("cpu family", "model")]
        if all(numbers) and not any(letter.isdigit() for letter in name):
            return "{} (family {}, model {})".format(name, *numbers)
        return name
    except (OSError, KeyError):  # no such file, or an ARM processor, which has no name there
        with contextlib.suppress(OSError, subprocess.CalledProcessError):  # macOS has it here, others not
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.check_output(command, stderr=subprocess.DEVNULL, text=True).strip()
        return platform.processor() or platform.machine()


def nvidia_gpus() -> list[str]:
    """Give the names of the NVIDIA GPUs that the driver shows; none without a driver."""
    with contextlib.suppress(Exception):  # no package, no driver, or one that refuses: all mean no GPU here
        import pynvml

        pynvml.nvmlInit()
        try:
            handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
            return [str(pynvml.nvmlDeviceGetName(handle)) for handle in handles]
        finally:
            pynvml.nvmlShutdown()
    return []


def installed_version(name: str) -> str | None:
    """Give the version of an installed package without importing it, or None."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(name)
    return None


def release_memory(collect: bool = True) -> None:
    """Hand freed memory back to the system; glibc would keep it, and it would creep up with each batch.

    From the first call on, blocks above `LARGE_BLOCK_BYTES` go back when freed, as glibc would leave holes.
    With `collect`, what only cycles of references keep alive is freed first: not for every step.
    """
    if collect:
        gc.collect()
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "malloc_trim"):  # other C libraries have neither
            libc.mallopt(-3, LARGE_BLOCK_BYTES)  # M_MMAP_THRESHOLD
            libc.malloc_trim(0)


def escape_unprintable() -> None:
    """Let this program print what its terminal's encoding, such as cp1252, lacks: as an escaped number."""
    if hasattr(sys.stdout, "reconfigure"):  # stderr does so anyway
        sys.stdout.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def without_variables(prefix: str) -> Iterator[None]:
    """Hide the environment variables that begin so, from what is made in the `with` block."""
    kept = {name: os.environ.pop(name) for name in [*os.environ] if name.startswith(prefix)}
    try:
        yield
    finally:
        os.environ.update(kept)


def _groups(controller: str) -> Iterator[Path]:
    """The control groups of both versions that this process is in, and all above: the lowest limit holds."""
    with contextlib.suppress(OSError, ValueError):  # not Linux, or not a line as we know it
        own, mounts = (os.fsdecode((PROC / n).read_bytes()).strip() for n in ("cgroup", "mountinfo"))
        paths: dict[str, str] = {}
        for _, names, path in (line.split(":", 2) for line in own.split("\n")):
            paths |= dict.fromkeys(names.split(","), path)  # version 2 has no names
        found = re.findall(r"^(?:\S+ ){3}(\S+) (\S+) .* - (cgroup2?) \S+ (\S+)$", mounts, re.MULTILINE)
        for root, mount, kind, options in found:
            name = controller if kind == "cgroup" else ""
            if name in paths and (not name or name in options.split(",")):
                inner = Path(os.path.relpath(paths[name], root))
                if ".." not in inner.parts:  # else another group is mounted there, which says nothing of this
                    place = Path(re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), mount))
                    yield from (place / each for each in (inner, *inner.parents))


def _memory_limits() -> Iterator[tuple[float, float]]:
    """Limit and use, in bytes, of each group that has a limit; the use is without what only caches files."""
    for group in _groups("memory"):
        for maximum, current in MEMORY.items():
            with contextlib.suppress(OSError, ValueError):  # no such file, or the word `max`
                limit, used = float((group / maximum).read_text()), 0.0
                with contextlib.suppress(OSError, ValueError):
                    used = float((group / current).read_text())
                    stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
                    above = stat.get("hierarchical_memory_limit", limit)  # v1's, of groups out of sight too
                    limit = min(limit, float(above))
                    for name in ("active_file", "inactive_file"):  # of v1 the sum with the groups below it
                        used -= float(stat.get(f"total_{name}", stat.get(name, 0)))
                yield limit, used
