"""What a learner's own cell passes is kept once and counted, and no check fails over it."""

import json

import nbclient
from nbformat import v4

from exercises.__main__ import COURSE, mine, table
from tests.shared import python
from tools import kernel

STATIC = """\
import os, pathlib
from exercises import progress, welcome as check
here = progress.KEPT = pathlib.Path("progress.json")
check.joules(180)"""
SOLUTION = "# @title Solution\ndel os.environ['COURSE_STATIC']\ncheck.joules(180)"
OWN = """\
assert not check.joules(3).ok and not here.exists() and check.joules(180).ok and here.exists()
for before in {"losses.causal_lm": "May 1"}, {"welcome.joules": "May 1"}, {}:
    here.write_text(str(before).replace("'", '"') if before else "damaged")
    assert check.joules(180).ok
    kept, _ = progress.read(here)
    assert kept == {"welcome.joules": kept["welcome.joules"]} | before
progress.KEPT = here / "a file is no folder"
assert check.joules(180).ok"""


def test_in_a_kernel_a_learners_own_cell_counts_once(tmp_path):
    notebook = v4.new_notebook(cells=[*map(v4.new_code_cell, (STATIC, SOLUTION, OWN))])
    with kernel.course_kernel():
        nbclient.NotebookClient(notebook, resources={"metadata": {"path": tmp_path}}).execute()
    assert (tmp_path / "progress.damaged.json").read_text() == "damaged"
    assert not any(output.get("name") == "stderr" for cell in notebook.cells for output in cell.outputs)


def test_what_one_and_what_a_class_has_passed(tmp_path):
    held = {"ann": {"losses.causal_lm": "May 2"}, "bob": dict.fromkeys(COURSE, "May 3"), "cem": 7}
    files = [tmp_path / f"{name}.json" for name in held]
    for path in files:
        path.write_text(json.dumps(held[path.stem]))
    head, ann, bob, cem, gone, teach = table([str(tmp_path / "*.json"), f"{tmp_path}/none"])
    assert " 1/3 0/3 " in ann and f" 1/{len(COURSE)}  " in ann and f" {len(COURSE)}/{len(COURSE)}  " in bob
    assert "damaged" in cem and "No such file" in gone and "losses.untrained_loss, open for 1 " in teach
    assert "  causal_lm              May 2" in mine(files[0]) and "Next: joules, in" in mine(files[0])[-2]
    assert mine(files[1])[-2] == "Every exercise is passed." and "damaged" in mine(files[2])[-3]
    done = python("-X", "importtime", "-m", "exercises", "progress", *files)
    assert head in done.stdout and done.returncode == 0 and "torch" not in done.stderr
