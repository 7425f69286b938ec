"""A job's processes are followed, and none outlives it, however its owner ends."""

import contextlib
import socket
import subprocess
import sys
import time
from unittest.mock import Mock

import psutil
import pytest

from helpers import processes
from tests.shared import python

# A launcher with two workers, as small as they come: each is known by its number.
WORKER = """
import os, time
from cluster import worker
worker.end_with_owner()
worker.whole_lines()
print(os.getpid())
time.sleep(60)
"""
LAUNCHER = """
import subprocess, sys
workers = [subprocess.Popen([sys.executable, *{options}, "-c", {worker!r}]) for _ in range(2)]
sys.exit(any([worker.wait() for worker in workers]))
"""


def command(code):
    return [sys.executable, "-c", code]


def launcher(worker=WORKER, options=()):
    return command(LAUNCHER.format(worker=worker, options=list(options)))


def gone(pids):
    """Whether all end within ten seconds; a zombie has."""
    for _ in range(100):
        found = [each for each in psutil.process_iter(["status"]) if each.pid in pids]
        if all(each.info["status"] == psutil.STATUS_ZOMBIE for each in found):
            return True
        time.sleep(0.1)
    return False


def started(job):
    """Wait for both workers, and return the numbers of all processes."""
    lines = iter(job)
    workers, pids = {int(next(lines)), int(next(lines))}, {process.pid for process in job.processes()}
    assert workers < pids and len(pids) == 3
    return pids


def test_lines_come_while_it_runs_errors_among_them_and_those_of_two_processes_do_not_mix():
    code = "import time\nfor n in range(2):\n    print(n, flush=True)\n    time.sleep(30 * n)"
    with processes.Job(command(code)) as job:
        assert next(iter(job)) == "0" and job.returncode is None
    worker = "from cluster import worker; worker.whole_lines()\nfor _ in range(10_000): print('a line')"
    assert processes.run(launcher(worker, ["-u"])) == 20_000 * ["a line"]  # unbuffered, as torchrun does
    code = "import os, sys, helpers; print(os.environ['OMP_NUM_THREADS']); print('seen', file=sys.stderr)"
    assert sorted(processes.run(command(code), threads=2)) == ["2", "seen"], "helpers, and a share of cores"


def test_a_failed_job_says_what_it_wrote_last_and_a_program_that_is_not_there_is_named():
    with pytest.raises(processes.JobError, match=r"no-such-program can't be started: No such file"):
        processes.Job(["no-such-program"]).__enter__()
    words = command("print('first'); print('last words'); raise SystemExit(3)")
    with processes.Job(words) as job:
        assert "first" in iter(job) and list(job) == ["last words"]
    for check in (job.check, lambda: processes.run(words)):
        with pytest.raises(processes.JobError, match=r"status 3(.|\n)*first\nlast words"):
            check()


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, ValueError, psutil.AccessDenied])
def test_leaving_the_block_ends_all_however_it_is_left(error, monkeypatch):
    """Also where other people's processes are hidden, as with hidepid=1."""
    if error is psutil.AccessDenied:
        monkeypatch.setattr(psutil.Process, "children", Mock(side_effect=error))
    with pytest.raises(error) if error else contextlib.nullcontext(), processes.Job(launcher()) as job:
        pids = started(job)
        if error:
            raise error
    assert gone(pids) and job.processes() == [] and job.returncode != 0


def test_a_worker_does_not_outlive_its_launcher():
    with processes.Job(launcher()) as job:
        pids = started(job)
        psutil.Process(job.pid).kill()
        assert gone(pids)


def test_nothing_outlives_an_owner_that_is_killed():
    """What a kernel looks like that the system kills: it can clean up nothing itself."""
    code = f"""
from helpers import processes
with processes.Job({launcher()!r}) as job:
    for line in job:
        print(*[process.pid for process in job.processes()], flush=True)
"""
    owner = subprocess.Popen(command(code), stdout=subprocess.PIPE, text=True, cwd=processes.ROOT)
    owner.stdout.readline()
    pids = [int(pid) for pid in owner.stdout.readline().split()]
    assert len(pids) == 3
    owner.kill()
    owner.wait()
    assert gone(pids)


def test_a_worker_without_an_owner_goes_on_and_leaves_with_all_its_lines_before_python_ends(monkeypatch):
    monkeypatch.delenv(processes.OWNER, raising=False)
    code = "import threading; from cluster import worker; worker.end_with_owner()"
    assert python("-c", f"{code}; print(threading.active_count())").stdout.strip() == "1"
    code = "import atexit; from cluster import worker; atexit.register(print, 'taken down')\n"
    done = python("-c", code + "print('last line', end=''); worker.leave()")
    assert (done.returncode, done.stdout, done.stderr) == (0, "last line", "")


def test_the_loopback_counts():
    before = processes.bytes_sent()
    if before is None:
        pytest.skip("this system counts no loopback bytes")
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    with server, client, server.accept()[0] as accepted:
        for _ in range(100):
            client.sendall(bytes(10_000))
            assert len(accepted.recv(10_000, socket.MSG_WAITALL)) == 10_000
    assert processes.bytes_sent() - before >= 1_000_000
