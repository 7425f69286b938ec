"""What each process of a job does for itself: whole lines, a small memory, a clean end."""

import contextlib
import os
import sys
import threading
import time

import psutil

from helpers.processes import CHECK_S, OWNER, end, started


def leave() -> None:
    """End a worker whose work is done, with status 0 and without taking Python down around it.

    Gloo's threads may still hold a tensor after the process group is gone, and let go of it while Python is
    being taken down. In 3 of 14 runs of cluster/shard.py a worker died of that, by SIGABRT, at its end:
    https://github.com/pytorch/pytorch/pull/179291
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def whole_lines() -> None:
    """Let this process write each line as soon as it ends, in one piece, and whatever its signs.

    torchrun starts Python unbuffered: `print` writes a line and its end apart, and two processes' lines mix.
    """
    sys.stdout.reconfigure(line_buffering=True, write_through=False, errors="backslashreplace")


def end_with_owner() -> None:
    """Make this process, and what it starts, end when the program that began the job is gone, even if killed.

    A launcher that is killed leaves its workers to themselves, so each worker looks after it. A process that
    no `Job` began, such as one on a cluster, goes on as it would.
    """
    if OWNER not in os.environ:
        return
    owner, parent = int(os.environ[OWNER]), os.getppid()

    def watch() -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            while os.getppid() == parent and psutil.Process(owner).status() != psutil.STATUS_ZOMBIE:
                time.sleep(CHECK_S)
        end(started(psutil.Process()))
        os._exit(1)

    threading.Thread(target=watch, name="end with owner", daemon=True).start()


def spare_memory() -> None:
    """Keep Accelerate from importing Datasets, 90 MB in each of several processes that nothing here uses.

    Where the package is there, Accelerate takes it in to ask if the data are of its kind.
    """
    from accelerate import data_loader

    data_loader.is_datasets_available = lambda: False
