"""A job's processes are followed, and none outlives it, however its owner ends."""

import subprocess
import sys
import textwrap
import time

import psutil
import pytest

from helpers import processes

# A launcher with two workers, as small as they come: each is known by its number.
WORKER = """
import os, time
from helpers import processes
worker.end_with_owner()
worker.whole_lines()
print(os.getpid())
time.sleep(60)
"""
LAUNCHER = f"""
import subprocess, sys
workers = [subprocess.Popen([sys.executable, "-c", {WORKER!r}]) for _ in range(2)]
for worker in workers:
    worker.wait()
"""
COMMAND = [sys.executable, "-c", LAUNCHER]


def gone(pids, seconds=10):
    """Wait until these processes have ended; return those that have not."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        alive = [pid for pid in pids if psutil.pid_exists(pid) and not zombie(pid)]
        if not alive:
            return True
        time.sleep(0.1)
    return False


def zombie(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def started(job):
    """Wait for both workers, and return the numbers of all processes."""
    lines = iter(job)
    workers = {int(next(lines)), int(next(lines))}
    pids = {process.pid for process in job.processes()}
    assert workers < pids and len(pids) == 3
    return pids


def test_lines_come_while_it_runs():
    code = "import time\nfor n in range(2):\n    print(n, flush=True)\n    time.sleep(30 * n)"
    with processes.Job([sys.executable, "-c", code]) as job:
        assert next(iter(job)) == "0"
        assert job.returncode is None


def test_lines_of_two_processes_do_not_mix():
    worker = "from helpers import processes; worker.whole_lines()\nfor _ in range(10_000): print('a line')"
    launcher = f"""
import subprocess, sys
workers = [subprocess.Popen([sys.executable, "-u", "-c", {worker!r}]) for _ in range(2)]  # as torchrun does
sys.exit(any([worker.wait() for worker in workers]))
"""
    assert processes.run([sys.executable, "-c", launcher]) == 20_000 * ["a line"]


def test_errors_are_among_the_lines():
    assert processes.run([sys.executable, "-c", "import sys; print('seen', file=sys.stderr)"]) == ["seen"]


def test_a_failed_job_says_what_it_wrote_last():
    with pytest.raises(processes.JobError, match=r"status 3(.|\n)*\nlast words"):
        processes.run([sys.executable, "-c", "print('last words'); raise SystemExit(3)"])


def test_a_job_that_was_followed_says_what_it_wrote_last_too():
    script = "import sys; print('first'); print('last words'); sys.exit(3)"
    with processes.Job([sys.executable, "-c", script]) as job:
        assert any(line == "first" for line in job)
        list(job)
    with pytest.raises(processes.JobError, match=r"status 3(.|\n)*first\nlast words"):
        job.check()


def test_processes_find_helpers_and_share_the_cores():
    code = "import os, helpers; print(os.environ['OMP_NUM_THREADS'], helpers.__version__)"
    assert processes.run([sys.executable, "-c", code], threads=2)[0].startswith("2 ")


def test_leaving_the_block_ends_all():
    with processes.Job(COMMAND) as job:
        pids = started(job)
    assert gone(pids)
    assert job.processes() == []
    assert job.returncode != 0


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupt_or_error_ends_all(error):
    with pytest.raises(error), processes.Job(COMMAND) as job:
        pids = started(job)
        raise error
    assert gone(pids)


def test_a_worker_does_not_outlive_its_launcher():
    with processes.Job(COMMAND) as job:
        pids = started(job)
        psutil.Process(job._process.pid).kill()
        assert gone(pids)


def test_nothing_outlives_an_owner_that_is_killed():
    """What a kernel looks like that the system kills: it can clean up nothing itself."""
    code = f"""
        from helpers import processes
        with processes.Job({COMMAND!r}) as job:
            for line in job:
                print(*[process.pid for process in job.processes()], flush=True)
    """
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True, cwd=processes.ROOT
    )
    owner.stdout.readline()
    pids = [int(pid) for pid in owner.stdout.readline().split()]
    assert len(pids) == 3
    owner.kill()
    owner.wait()
    assert gone(pids)


def test_without_an_owner_a_process_goes_on(monkeypatch):
    monkeypatch.delenv(processes.OWNER, raising=False)
    code = "import threading; from helpers import processes; worker.end_with_owner(); print(threading.active_count())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=processes.ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "1"


def test_the_loopback_counts():
    import socket

    before = processes.bytes_sent()
    if before is None:
        pytest.skip("this system counts no loopback bytes")
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    accepted, _ = server.accept()
    for _ in range(100):
        client.sendall(bytes(10_000))
        received = 0
        while received < 10_000:
            received += len(accepted.recv(10_000))
    for each in (client, accepted, server):
        each.close()
    assert processes.bytes_sent() - before >= 1_000_000


def test_a_worker_leaves_with_all_its_lines_and_before_python_is_taken_down():
    code = (
        "import atexit; from helpers import processes\n"
        "atexit.register(print, 'taken down')\n"
        "print('last line', end=''); worker.leave()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=processes.ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "last line", "")
