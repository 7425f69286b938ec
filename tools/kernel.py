"""Run a notebook's kernel under watch: this Python, a live line, peak memory, energy, no survivors."""

import ctypes
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from unittest import mock

import psutil

from helpers import processes
from tools.notebooks import KERNEL, ROOT

SAMPLE_S = 0.2
QUIET = "--IPKernelApp.log_level=50"  # its log would break up the table; errors are in the notebook
ADOPT_ORPHANS = 36  # Linux: PR_SET_CHILD_SUBREAPER, for what a kernel that was killed had started


@dataclass(frozen=True)
class Outcome:
    """What running a notebook took, and how it ended: one line of a summary. What is unknown is None."""

    notebook: str
    result: str  # "ok", "failed", "interrupted" or "not run"
    wall_s: float | None = None
    peak_memory_gb: float | None = None  # the largest sum of what the kernel and its children held
    energy_wh: float | None = None  # the machine's
    energy_method: str | None = None
    failure: str = ""  # the cell and the error

    def __str__(self) -> str:
        if self.wall_s is None:
            return f"{self.notebook:24} {self.result}"
        time, memory = timedelta(seconds=round(self.wall_s)), f"{self.peak_memory_gb:.1f} GB"
        energy = energy_text(self.energy_wh, self.energy_method)
        return f"{self.notebook:24} {self.result:11} {time!s:>7}  {memory:>7}  {energy}"


@contextmanager
def watched(label: str) -> Iterator[list[int]]:
    """Sample the memory, in bytes, of processes started in the block; at its end, none of them is left."""
    _adopt_orphans(True)
    before = processes.started(psutil.Process())
    samples, done = [0], threading.Event()
    sampler = threading.Thread(target=_follow, args=(label, before, samples, done), daemon=True)
    sampler.start()
    try:
        yield samples
    finally:
        done.set()
        sampler.join()
        processes.end(processes.started(psutil.Process()) - before)
        _adopt_orphans(False)


@contextmanager
def course_kernel() -> Iterator[None]:
    """Make the kernel name `python3` mean this Python with the course on its path, whatever is installed."""
    from ipykernel.kernelspec import write_kernel_spec

    def first(folder: object, variable: str) -> str:
        return os.pathsep.join(filter(None, [str(folder), os.environ.get(variable)]))

    variables = {
        "PYTHONPATH": first(ROOT, "PYTHONPATH"),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # another one would hide every figure
        "COURSE_STATIC": "1",  # no one is there to move a slider
    }
    with tempfile.TemporaryDirectory() as folder:
        variables["IPYTHONDIR"] = folder  # a profile of one's own can change what a cell gives
        write_kernel_spec(Path(folder, "kernels", "python3"), {**KERNEL, "env": variables}, [QUIET])
        with mock.patch.dict(os.environ, JUPYTER_PATH=first(folder, "JUPYTER_PATH")):
            yield


def energy_text(energy_wh: float | None, method: str | None) -> str:
    """Write an energy with its method; what is unknown is never a zero.

    >>> energy_text(1.94, "modelled"), energy_text(0.0012, "measured"), energy_text(None, None)
    ('1.9 Wh (modelled)', '0.0012 Wh (measured)', 'unknown')
    """
    if energy_wh is None:
        return "unknown"
    return f"{energy_wh:.0f} Wh ({method})" if energy_wh >= 10 else f"{energy_wh:.2g} Wh ({method})"


def _adopt_orphans(yes: bool) -> None:
    """Let a process whose parent has died become a child of this one, where a system can: Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(ADOPT_ORPHANS, int(yes), 0, 0, 0)


def _follow(label: str, before: set[psutil.Process], samples: list[int], done: threading.Event) -> None:
    """Add to `samples` what the processes started since use, and show it on a terminal, until it is done."""
    started, live = time.perf_counter(), sys.stdout.isatty()
    while not done.wait(SAMPLE_S):
        running = processes.started(psutil.Process()) - before
        samples.append(sum(_resident(process, shares=len(running) > 1) for process in running))
        if live:
            passed = timedelta(seconds=round(time.perf_counter() - started))
            print(f"\r{label:24} {passed!s:>7}  {samples[-1] / 1e9:4.1f} GB", end="", flush=True)
    if live:
        print(f"\r{'':60}\r", end="", flush=True)


def _resident(process: psutil.Process, shares: bool) -> int:
    """Give a process's resident memory in bytes; 0 once it has ended."""
    try:
        if shares:  # then each has its part of such a page (PSS), as in a container's limit; only Linux tells
            with suppress(psutil.AccessDenied, AttributeError):
                return process.memory_full_info().pss
        return process.memory_info().rss
    except psutil.Error:
        return 0
