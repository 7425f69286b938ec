"""Run a notebook's kernel under watch: this Python, a live line, peak memory, energy, no survivors."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from helpers import processes

ROOT = Path(__file__).resolve().parent.parent
CELL_TIMEOUT_S = 1_800  # a cell that takes half an hour hangs
START_TIMEOUT_S = 120  # a cold disk and two busy cores
SAMPLE_S = 0.2
QUIET = (
    "--IPKernelApp.log_level=50"  # what the kernel logs would break up the table; errors are in the notebook
)
COUNTRY = "USA"  # a measurement wants a place; only its energy is used here, which no place changes


@dataclass(frozen=True)
class Watched:
    """What running a notebook took, and how it ended.

    Parameters
    ----------
    wall_s : float
        Seconds on the clock, the kernel's start included.
    peak_memory_gb : float
        Largest sum of the resident memory of the kernel and its children, in GB (1e9 bytes); what they
        share counts once where the system tells.
    energy_wh : float or None
        Energy of the machine meanwhile in watt-hours; None where it is unknown.
    energy_method : str or None
        "measured", "modelled" or "assumed"; None where the energy is unknown.
    error : BaseException or None
        What ended the run early, KeyboardInterrupt included.
    """

    wall_s: float
    peak_memory_gb: float
    energy_wh: float | None
    energy_method: str | None
    error: BaseException | None = None


def watch(label: str, work: Callable[[], object]) -> Watched:
    """Run `work`, which starts a kernel, and measure it; an error is returned, never raised.

    On a terminal, a line is kept up to date meanwhile. When `work` has ended, however it ended, no process
    that it started is left.
    """
    from helpers import energy

    before = set(psutil.Process().children(recursive=True))
    error: BaseException | None = None
    sampler = _Sampler(label, before)
    with energy.measure(label, country=COUNTRY) as meter:
        started = time.perf_counter()
        sampler.start()
        try:
            work()
        except (Exception, KeyboardInterrupt) as caught:
            error = caught
        finally:
            wall_s = time.perf_counter() - started
            sampler.stop()
            processes.end(set(psutil.Process().children(recursive=True)) - before)
    result = meter.result
    return Watched(wall_s, sampler.peak_bytes / 1e9, result.energy_wh, result.method, error)


@contextmanager
def course_kernel(**variables: str) -> Iterator[None]:
    """Make the kernel name `python3` mean this Python with `helpers` on its path, whatever else is installed.

    Parameters
    ----------
    **variables : str
        Environment variables for the kernel, such as ``COURSE_STATIC="1"``.
    """
    inherited = [os.environ[name] for name in ("PYTHONPATH",) if name in os.environ]
    spec = {
        "display_name": "Python 3",
        "language": "python",
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", QUIET],
        "env": {
            "PYTHONPATH": os.pathsep.join([str(ROOT), *inherited]),
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # another one would hide every figure
            **variables,
        },
    }
    previous = os.environ.get("JUPYTER_PATH")
    with tempfile.TemporaryDirectory() as folder:
        kernel = Path(folder) / "kernels" / "python3"
        kernel.mkdir(parents=True)
        (kernel / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
        os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, [folder, previous]))
        try:
            yield
        finally:
            if previous is None:
                del os.environ["JUPYTER_PATH"]
            else:
                os.environ["JUPYTER_PATH"] = previous


def clock(seconds: float) -> str:
    """Write a duration for a table.

    Examples
    --------
    >>> clock(7.2), clock(130), clock(3_700)
    ('0:07', '2:10', '1:01:40')
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def energy_text(energy_wh: float | None, method: str | None) -> str:
    """Write an energy with its method; what is unknown is never a zero.

    Examples
    --------
    >>> energy_text(1.94, "modelled"), energy_text(0.0012, "measured"), energy_text(None, None)
    ('1.9 Wh modelled', '0.0012 Wh measured', 'unknown')
    """
    if energy_wh is None:
        return "unknown"
    return f"{energy_wh:.0f} Wh {method}" if energy_wh >= 10 else f"{energy_wh:.2g} Wh {method}"


class _Sampler(threading.Thread):
    """Follow the memory of the processes started since, and show it on a terminal."""

    def __init__(self, label: str, before: set[psutil.Process]) -> None:
        super().__init__(daemon=True)
        self.label, self.before, self.peak_bytes = label, before, 0
        self.done = threading.Event()
        self.live = sys.stdout.isatty()

    def run(self) -> None:
        started = time.perf_counter()
        while not self.done.wait(SAMPLE_S):
            running = [each for each in psutil.Process().children(recursive=True) if self.new(each)]
            used = sum(_resident(process, shares=len(running) > 1) for process in running)
            self.peak_bytes = max(self.peak_bytes, used)
            if self.live:
                line = f"{self.label:24} {clock(time.perf_counter() - started):>7}  {used / 1e9:4.1f} GB"
                print(f"\r{line}", end="", flush=True)

    def new(self, process: psutil.Process) -> bool:
        return process not in self.before

    def stop(self) -> None:
        self.done.set()
        self.join()
        if self.live:
            print(f"\r{'':60}\r", end="", flush=True)


def _resident(process: psutil.Process, shares: bool) -> int:
    """Give a process's resident memory in bytes; 0 once it has ended.

    Of pages that several processes share, such as those of a library, each has its part (PSS): in a sum they
    count once, as they do in a container's limit. Only Linux tells, and it takes a moment.
    """
    try:
        return process.memory_full_info().pss if shares else process.memory_info().rss
    except (psutil.Error, AttributeError):
        pass
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0
