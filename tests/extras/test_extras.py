"""The optional TensorFlow notebook keeps in step with the course, without TensorFlow being installed."""

import ast
import json
import os
import re
import runpy
import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest

from helpers import receipts
from tests.shared import code, make, printed, python
from tools import notebooks
from tools.notebooks import ROOT

EXTRA = ROOT / "extras" / "tensorflow"
NOTEBOOK = notebooks.read(EXTRA / "tensorflow.ipynb")
PRINTED = printed(NOTEBOOK)
SIDE = SimpleNamespace(**runpy.run_path(str(EXTRA / "pytorch_side.py")))


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    """Data in the notebook's form, little of it, and easy: a pixel, or a word, gives the class away."""
    draw = np.random.RandomState(0)
    y, x = draw.randint(0, 2, 64).astype(np.int32), np.zeros((64, 784), dtype=np.float32)
    x[np.arange(64), y] = 1
    ids = np.zeros((64, 5), dtype=np.int32)
    ids[:, 0], ids[:, 1] = 2 + y, draw.randint(4, 9, 64)
    made = {"words": np.array(9), "vector_size": np.array(4)}
    for task, rows in (("digits", x), ("reviews", ids)):
        made |= {f"{task}_x": rows, f"{task}_y": y, f"{task}_test_x": rows[:20], f"{task}_test_y": y[:20]}
    return made


def test_both_frameworks_have_the_network_of_optimizers_and_written_alike_compute_the_same():
    weights = sum(weight.numel() for weight in SIDE.new_network(SIDE.ORDER, {}).parameters())
    assert f"{weights:,} weights in Keras, {weights:,} in PyTorch" in PRINTED
    assert f"{weights:,} weights" in printed(notebooks.read(notebooks.course()["optimizers"]))
    # First with the same settings, then with the same formula: on digits, and on reviews.
    apart = [float(value) for value in re.findall(r"the losses differ by up to ([\d.e+-]+)", PRINTED)]
    for same_settings, same_formula in (apart[:2], apart[2:]):
        assert same_formula < 1e-3 and same_formula < same_settings / 10


def test_orders_name_what_the_notebook_asks_for_and_nothing_else_is_taken():
    asked, nodes = set(), ast.walk(ast.parse(code(EXTRA / "tensorflow.ipynb")))
    for call in (node for node in nodes if isinstance(node, ast.Call)):
        if getattr(call.func, "id", "") == "ask_pytorch":
            asked |= {keyword.arg for keyword in call.keywords if keyword.arg}
    assert {"task", "epochs", "vector_range", "start"} <= asked <= SIDE.ORDER.keys()
    with pytest.raises(ValueError, match=r"'epoch'.*epochs"):
        SIDE.complete({"task": "digits", "epoch": 1})


@pytest.mark.parametrize("task", ["digits", "reviews"])
def test_pytorch_starts_from_weights_as_keras_lists_them(arrays, task, tmp_path):
    shapes = {"digits": [(784, 256), (256,), (256, 10), (10,)], "reviews": [(9, 4), (4, 2), (2,)]}[task]
    draw = np.random.RandomState(1)
    start = [draw.normal(size=shape).astype(np.float32) for shape in shapes]
    np.savez(tmp_path / "start.npz", *start)
    network = SIDE.new_network(SIDE.ORDER | {"task": task, "start": str(tmp_path / "start.npz")}, arrays)
    x = arrays[f"{task}_x"][:3]
    if task == "digits":
        expected = np.maximum(x @ start[0] + start[1], 0) @ start[2] + start[3]
    else:
        expected = np.stack([start[0][row[row > 0]].mean(axis=0) for row in x]) @ start[1] + start[2]
    np.testing.assert_allclose(network(SIDE.torch.tensor(x)).detach(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("one_thread")
def test_pytorch_s_process_answers_line_by_line_and_learns_what_is_easy(arrays, tmp_path):
    np.savez(tmp_path / "data.npz", **arrays)
    easy = {"epochs": 40, "learning_rate": 0.05, "batch_size": 16}
    orders = [{"task": "digits"}, {"task": "digits"} | easy, {"task": "reviews", "vector_range": 0.05} | easy]
    asked = "".join(json.dumps(order) + "\n" for order in orders)
    done = python(EXTRA / "pytorch_side.py", tmp_path / "data.npz", "1", input=asked, timeout=120)
    assert done.returncode == 0, done.stderr  # it ends with its input
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [len(each["epoch_s"]) for each in answers] == [1, 40, 40]
    for learned in answers[1:]:
        assert learned["accuracy"] == 1 and len(learned["losses"]) == 40 * 4
        assert learned["losses"][-1] < learned["losses"][0]
    assert answers[2]["spread"][0] == pytest.approx(0.05 / 3**0.5, rel=0.3), "drawn from -0.05 to 0.05"
    again = SIDE.answer(SIDE.ORDER | orders[2], arrays)
    np.testing.assert_allclose(answers[2]["losses"], again["losses"], rtol=1e-5)


def test_a_kernel_without_tensorflow_is_told_what_to_do():
    [setup] = notebooks.tagged(NOTEBOOK, "setup")
    without = f"import sys; sys.modules['tensorflow'] = None\n{setup.source}"
    assert "has no TensorFlow. Run `make extras`" in python("-c", without, cwd=EXTRA).stderr


def test_make_extras_without_a_network_says_so_and_leaves_no_stamp(tmp_path):
    """The environments are made by a Python of the test, whose pip fails as it does without a network."""
    script = 'case "$*" in *"-m venv"*) mkdir -p "${@: -1}/bin"; cp "$0" "${@: -1}/bin/python";; '
    script += '*start.py*) mkdir -p .venv/bin; cp "$0" .venv/bin/python;; '
    script += "*install*extras*) echo 'ERROR: Could not find a version' >&2; exit 1;; esac"
    done = make(tmp_path, "extras", script=script)
    said = done.stdout + done.stderr
    assert done.returncode, said
    assert "TensorFlow was not set up" in said and "Nothing else in the course needs it" in said
    assert not (tmp_path / "extras/tensorflow/.venv/.ready").exists()


@pytest.mark.slow
@pytest.mark.skipif(not (EXTRA / ".venv" / ".ready").exists(), reason="TensorFlow isn't set up: make extras")
@pytest.mark.timeout(600)
def test_it_runs_where_tensorflow_is_installed(tmp_path):
    """In a copy of the course, so that its receipt replaces nobody's."""
    for name in ("helpers", "tools", "extras"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", ".venv"))
    for name in ("data", ".venv", "pyproject.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    program = EXTRA / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    command = [program, tmp_path / "extras/tensorflow/run.py", "--profile", "quick"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"(?:digits|reviews) +(?:Keras|PyTorch) ", done.stdout)) == 4
    assert receipts.replay(tmp_path / "artifacts/tensorflow/receipt.json").ok
