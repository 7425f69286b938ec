"""The whole course, as Binder and CI run it: every notebook with the quick profile."""

import json
import os
import subprocess
import sys

import pytest

from tools import notebooks, store

BINDER_GB = 2.0  # what Binder gives; a kernel above it is killed without a word


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_the_quick_profile_of_every_notebook_runs(tmp_path):
    """In two processes of a thread each: much of a quick run is imports, which use one core."""
    costs = store.read_costs()
    slowest_first = sorted(
        notebooks.course(), key=lambda topic: -costs[topic].wall_s if topic in costs else 0
    )
    command = [sys.executable, "-m", "tools", "run", "--profile", "quick", "--output"]
    halves = []
    for half in (slowest_first[0::4] + slowest_first[3::4], slowest_first[1::4] + slowest_first[2::4]):
        log = tmp_path / f"{len(halves)}.txt"
        with log.open("w") as file:
            process = subprocess.Popen(
                [*command, str(log.with_suffix("")), *half],
                cwd=notebooks.ROOT,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        halves.append((process, log))
    statuses = [process.wait() for process, _ in halves]
    shown = "\n".join(log.read_text() for _, log in halves)
    print(shown)  # shown with the failure, or by -rP: what each notebook took
    assert statuses == [0, 0], shown
    for _, log in halves:
        for outcome in json.loads((log.with_suffix("") / "summary.json").read_text())["notebooks"]:
            assert outcome["peak_memory_gb"] < BINDER_GB, outcome
