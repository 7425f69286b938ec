"""The whole course, as Binder and CI run it: every notebook with the quick profile."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.environments.__main__ import attempts
from tools import notebooks

BINDER_GB = 2.0  # what Binder gives; a kernel above it is killed without a word
COSTS = json.loads((notebooks.NOTEBOOKS / "costs.json").read_text())
LONGEST_FIRST = sorted(notebooks.course(), key=lambda topic: -COSTS.get(topic, {}).get("wall_s", 0))

# In a network namespace that has nothing but loopback; the kernel counts what looks for a way out.
NOWHERE = ["unshare", "--net"]
ALONE = 'ip link set lo up; "$@"; cat /proc/net/snmp /proc/net/snmp6 >"$0"'


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("topic", LONGEST_FIRST)
def test_the_quick_profile_of_every_notebook_runs(topic, tmp_path):
    """With one thread: much of a quick run is imports, which use one core, and another test has the other."""
    command = [sys.executable, "-m", "tools", "run", topic, "--profile", "quick", "--output", str(tmp_path)]
    counts = tmp_path / "network"
    if shutil.which("unshare") and not subprocess.run([*NOWHERE, "true"], capture_output=True).returncode:
        command = [*NOWHERE, "bash", "-c", ALONE, str(counts), *command]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}  # who waits, sleeps
    done = subprocess.run(command, cwd=notebooks.ROOT, env=environment, capture_output=True, text=True)
    print(*done.stdout.splitlines()[1:2], done.stderr)  # shown with a failure, or by -rP: what it took
    [outcome] = json.loads((tmp_path / "summary.json").read_text())["notebooks"]
    assert outcome["result"] == "ok", outcome["failure"]
    assert outcome["peak_memory_gb"] < BINDER_GB
    assert not counts.exists() or attempts(counts.read_text()) == 0, "it asked the network for something"
