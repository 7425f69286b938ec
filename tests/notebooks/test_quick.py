"""The whole course, as Binder and CI run it: every notebook with the quick profile."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BINDER_GB = 2.0  # what Binder gives; a kernel above it is killed without a word


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.skipif(
    not list((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")), reason="there is no notebook yet"
)
def test_the_quick_profile_of_every_notebook_runs(tmp_path):
    command = [sys.executable, "-m", "helpers", "run", "--profile", "quick", "--output", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    print(done.stdout)  # shown with the failure, or by -rP: what each notebook took
    assert done.returncode == 0, done.stderr
    for outcome in json.loads((tmp_path / "summary.json").read_text())["notebooks"]:
        assert outcome["result"] == "ok"
        assert outcome["peak_memory_gb"] < BINDER_GB, outcome
