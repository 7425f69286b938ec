"""The whole course, as Binder and CI run it: every notebook with the quick profile."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tools import notebooks

BINDER_GB = 2.0  # what Binder gives; a kernel above it is killed without a word


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_the_quick_profile_of_every_notebook_runs(tmp_path):
    """Two at a time, of one thread each: much of a quick run is imports, which use one core."""

    def run(topic):
        output = tmp_path / topic
        command = [sys.executable, "-m", "tools", "run", topic, "--profile", "quick", "--output", str(output)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=notebooks.ROOT, env=environment, capture_output=True, text=True)
        print(*done.stdout.splitlines()[1:2], done.stderr)  # shown with a failure, or by -rP: what it took
        return json.loads((output / "summary.json").read_text())["notebooks"][0]

    with ThreadPoolExecutor(max_workers=2) as pool:
        outcomes = list(pool.map(run, notebooks.course()))
    assert [outcome["failure"] for outcome in outcomes if outcome["result"] != "ok"] == []
    assert [outcome for outcome in outcomes if outcome["peak_memory_gb"] >= BINDER_GB] == []
