"""Jobs of several processes: started, followed line by line, and none of them left behind."""

import contextlib
import os
import subprocess
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from helpers.assets import ROOT

OWNER = "COURSE_JOB_OWNER"  # the number of the process that a job must not outlive
CHECK_S = 0.5
LAST_LINES = 20


class JobError(RuntimeError):
    """A job that failed; the message holds the end of what it wrote."""


class Job(psutil.Popen):
    """A command and all processes that it starts; leaving the `with` block ends those that still run.

    It runs in the course's folder and finds `helpers`. Iterate over it for its output, line by line as it
    comes, error messages included; what Python prints with `flush=True` comes at once. `threads` is what each
    process may compute with: two of two threads each would stand in each other's way on two cores.

    Examples
    --------
    >>> import sys
    >>> with Job([sys.executable, "-c", "print('one'); print('two')"]) as job:
    ...     print([line for line in job], job.returncode)
    ['one', 'two'] 0
    """

    def __init__(self, command: Sequence[str | Path], *, threads: int = 1) -> None:
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        variables = {
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
            OWNER: str(os.getpid()),
        }
        # All processes are on this machine: they need no network, and no name that only a network resolves.
        loopback = [name for name in psutil.net_if_addrs() if name.startswith("lo")]
        variables |= {"GLOO_SOCKET_IFNAME": loopback[0]} if loopback else {}
        streams: dict = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        streams |= {"text": True, "errors": "replace"}
        try:
            super().__init__([str(part) for part in command], cwd=ROOT, env=os.environ | variables, **streams)
        except OSError as error:  # such as a program that is not there
            raise JobError(f"{command[0]} can't be started: {error.strerror}.") from None

    def check(self) -> None:
        """After the `with` block: raise a `JobError` with the last lines that were read if the job failed."""
        if status := self.returncode:
            shown = " ".join([Path(self.args[0]).name, *self.args[1:]])
            raise JobError("\n".join([f"{shown} ended with status {status}. Its last lines:", *self._last]))

    def __iter__(self) -> Iterator[str]:
        for line in self.stdout:
            self._last.append(line.rstrip("\n"))
            yield self._last[-1]
        self.wait()

    def __exit__(self, *error) -> None:
        end(set(self.processes()))
        super().__exit__(*error)

    def processes(self) -> list[psutil.Process]:
        """The command's process and all that it has started, as far as they run."""
        try:
            return [self, *started(self)] if psutil.pid_exists(self.pid) else []
        except psutil.NoSuchProcess:
            return []


def run(command: Sequence[str | Path], *, threads: int = 1) -> list[str]:
    """Run a job to its end and return its lines; an exit status that isn't 0 raises `JobError`.

    Examples
    --------
    >>> import sys
    >>> run([sys.executable, "-c", "print('done')"])
    ['done']
    """
    with Job(command, threads=threads) as job:
        lines = list(job)
    job.check()
    return lines


def started(process: psutil.Process) -> set[psutil.Process]:
    """All that a process has started, and what that started, as far as this system shows it."""
    try:
        return set(process.children(recursive=True))
    except psutil.AccessDenied:  # other people's are hidden, so each is asked by itself
        seen, found, pids = [*psutil.process_iter(["ppid"])], {process}, {process.pid}
        while new := {each for each in seen if each.info["ppid"] in pids} - found:
            found, pids = found | new, {each.pid for each in new}
        return found - {process}


def bytes_sent() -> int | None:
    """Bytes that all programs sent through this machine's loopback; None if they aren't counted."""
    counters = psutil.net_io_counters(pernic=True)
    return next((counters[name].bytes_sent for name in counters if name.startswith("lo")), None)


def end(processes: set[psutil.Process]) -> None:
    """End processes: ask, wait a moment, then insist."""
    for stop in ("terminate", "kill"):
        for process in processes:
            with contextlib.suppress(psutil.Error):  # gone already
                getattr(process, stop)()
        _, alive = psutil.wait_procs(processes, timeout=3)
        processes = set(alive)
