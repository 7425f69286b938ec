"""Run a notebook's kernel under watch: this Python, a live line, peak memory, energy, no survivors."""

import ctypes
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
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
COUNTRY = "USA"  # a measurement wants a place; only its energy is used here, which no place changes


@dataclass(frozen=True)
class Outcome:
    """What running a notebook took, and how it ended: one line of a summary.

    `result` is "ok", "failed", "interrupted" or "not run"; `failure` names the cell and the error. Memory is
    the largest sum of what the kernel and its children hold, in 1e9 bytes; energy is the machine's, and its
    method "measured", "modelled" or "assumed". A figure that is unknown is None.
    """

    notebook: str
    result: str
    wall_s: float | None = None
    peak_memory_gb: float | None = None
    energy_wh: float | None = None
    energy_method: str | None = None
    failure: str = ""

    def __str__(self) -> str:
        if self.wall_s is None:
            return f"{self.notebook:24} {self.result}"
        time, memory = timedelta(seconds=round(self.wall_s)), f"{self.peak_memory_gb:.1f} GB"
        energy = energy_text(self.energy_wh, self.energy_method)
        return f"{self.notebook:24} {self.result:11} {time!s:>7}  {memory:>7}  {energy}"


def watch(label: str, work: Callable[[], object], describe: Callable[[BaseException], str]) -> Outcome:
    """Run `work`, which starts a kernel, and measure it; an error is described, never raised.

    On a terminal, a line is kept up to date meanwhile. When `work` has ended, however it ended, no process
    that it started is left.
    """
    from helpers import energy

    _adopt_orphans(True)
    before = set(psutil.Process().children(recursive=True))
    result, failure, peaks, done = "ok", "", [0], threading.Event()
    sampler = threading.Thread(target=_follow, args=(label, before, peaks, done), daemon=True)
    with energy.measure(label, country=COUNTRY) as meter:
        started = time.perf_counter()
        sampler.start()
        try:
            work()
        except (Exception, KeyboardInterrupt) as error:
            result = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            failure = describe(error)
        finally:
            wall_s = time.perf_counter() - started
            done.set()
            sampler.join()
            processes.end(set(psutil.Process().children(recursive=True)) - before)
            _adopt_orphans(False)
    found = meter.result
    return Outcome(label, result, wall_s, max(peaks) / 1e9, found.energy_wh, found.method, failure)


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


def _follow(label: str, before: set[psutil.Process], peaks: list[int], done: threading.Event) -> None:
    """Add to `peaks` what the processes started since use, and show it on a terminal, until it is done."""
    started, live = time.perf_counter(), sys.stdout.isatty()
    while not done.wait(SAMPLE_S):
        running = set(psutil.Process().children(recursive=True)) - before
        peaks.append(sum(_resident(process, shares=len(running) > 1) for process in running))
        if live:
            passed = timedelta(seconds=round(time.perf_counter() - started))
            print(f"\r{label:24} {passed!s:>7}  {peaks[-1] / 1e9:4.1f} GB", end="", flush=True)
    if live:
        print(f"\r{'':60}\r", end="", flush=True)


def _resident(process: psutil.Process, shares: bool) -> int:
    """Give a process's resident memory in bytes; 0 once it has ended.

    Of pages that several processes share, each has its part (PSS), so that in a sum they count once, as they
    do in a container's limit. Only Linux tells, and it takes a moment.
    """
    try:
        if shares:
            with suppress(psutil.AccessDenied, AttributeError):
                return process.memory_full_info().pss
        return process.memory_info().rss
    except psutil.Error:
        return 0
