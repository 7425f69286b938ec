"""Each exercise's check passes its solution, refuses the stub and the wrong answers, and never raises."""

import ast
import json
import re
import runpy
from pathlib import Path

import pytest

from helpers import checks
from tools import notebooks

HERE = Path(__file__).resolve().parent
NOTEBOOKS = sorted((HERE.parent / "notebooks").glob("[0-9][0-9]_*.ipynb"))
QUIZZES = sorted((HERE.parent / "notebooks" / "quiz").glob("*.json"))
WRONG_ANSWERS = runpy.run_path(str(HERE / "wrong_answers.py"))["WRONG_ANSWERS"]
CALL = re.compile(r"\bchecks\.(nb\d\d_\w+)\(")


def calls(cell):
    """List the checks that a cell calls."""
    return CALL.findall(cell.source)


def cells_by_check(tag):
    """Map each check's name to (notebook, cell) of the cells with this tag."""
    found = {}
    for path in NOTEBOOKS:
        for cell in notebooks.tagged(notebooks.read(path), tag):
            for name in calls(cell):
                found.setdefault(name, []).append((path, cell))
    return found


EXERCISES, SOLUTIONS = cells_by_check("exercise"), cells_by_check("solution")
NAMES = sorted(set(EXERCISES) | set(SOLUTIONS))


def names_in(tree):
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def imports_for(path, source):
    """Run those of the notebook's imports that `source` uses, and return the names they bind."""
    used, names = names_in(ast.parse(source)), {}
    for cell in notebooks.read(path).cells:
        if cell.cell_type != "code" or "setup" in cell.metadata.get("tags", []):
            continue
        for node in ast.parse(cell.source).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                bound = {(alias.asname or alias.name).split(".")[0] for alias in node.names}
                if bound & used:
                    exec(compile(ast.Module([node], []), str(path), "exec"), names)
    return names


def run(source, names):
    exec(compile(source, "<answer>", "exec"), names)
    return names


@pytest.mark.parametrize("name", NAMES)
def test_solution_is_right(name):
    [(path, cell)] = SOLUTIONS.get(name, [])
    names = run(cell.source, imports_for(path, cell.source))
    verdict = getattr(checks, name)(names["solution"])
    assert verdict.ok, verdict.message
    assert verdict.message.startswith("Right: ")


def test_the_example_that_a_hint_says_to_start_from_is_right():
    """On the check's 400 sentences, although the example wants 7,070."""
    [path] = [path for path in NOTEBOOKS if path.stem == "14_capstone"]
    notebook = notebooks.read(path)
    [cell] = [cell for cell in notebook.cells if "def word_counts" in cell.source]
    names = run(cell.source, imports_for(path, cell.source) | notebooks.parameters(notebook))
    assert checks.train(names["word_counts"]).ok


@pytest.mark.parametrize("name", NAMES)
def test_stub_is_not_answered(name):
    [(_, cell)] = EXERCISES.get(name, [])
    assert re.search(r"^answer = \.\.\.", cell.source, re.MULTILINE), "the exercise should be stored unsolved"
    for stub in (..., None):
        verdict = getattr(checks, name)(stub)
        assert not verdict.ok
        assert verdict.message.startswith("Not answered yet: ")


@pytest.mark.parametrize(
    ("name", "source"), [(name, source) for name in NAMES for source in WRONG_ANSWERS.get(name, [])]
)
def test_wrong_answer_is_refused(name, source):
    import math

    import numpy as np
    import torch
    from torch.nn import functional as F

    names = run(source, {"math": math, "np": np, "torch": torch, "F": F})
    verdict = getattr(checks, name)(names["answer"])
    assert not verdict.ok, f"accepted: {source}"
    assert verdict.message.startswith("Not yet: ")


@pytest.mark.parametrize("name", NAMES)
def test_two_wrong_answers_are_known(name):
    assert len(WRONG_ANSWERS.get(name, [])) >= 2, f"tests/wrong_answers.py needs two wrong answers for {name}"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "answer",
    [object(), "text", [], {}, float("nan"), -1, b"", print, lambda *args: 1 / 0, lambda *args: None],
    ids=["object", "text", "list", "dict", "nan", "-1", "bytes", "print", "raises", "returns None"],
)
def test_check_never_raises(name, answer):
    verdict = getattr(checks, name)(answer)
    assert not verdict.ok
    assert verdict.message.startswith(("Not yet: ", "Not answered yet: "))


@pytest.mark.parametrize("name", NAMES)
def test_check_names_an_answer_of_the_wrong_kind(name):
    """A function where a value is asked for, or the other way around."""
    given = {"your answer is a function": print, "your answer is of type float": 0.5}
    assert any(
        getattr(checks, name)(answer).message.startswith(f"Not yet: {kind}") for kind, answer in given.items()
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_folds_hints_and_solutions(path):
    notebook = notebooks.read(path)
    exercises, solutions = notebooks.tagged(notebook, "exercise"), notebooks.tagged(notebook, "solution")
    assert [calls(cell) for cell in exercises] == [calls(cell) for cell in solutions]
    hints = [cell for cell in notebook.cells if cell.cell_type == "markdown" and "<details>" in cell.source]
    assert len(hints) >= len(exercises)
    for cell in solutions:
        assert cell.metadata.get("jupyter", {}).get("source_hidden"), "JupyterLab should fold it"
        assert cell.metadata.get("cellView") == "form", "Colab should fold it"
        assert "answer" not in names_in(ast.parse(cell.source)), "it would overwrite what the learner tried"


def test_every_check_has_its_exercise():
    written = {name for name in checks.__all__ if re.match(r"nb\d\d_", name)}
    assert written == set(NAMES)


@pytest.mark.parametrize("path", QUIZZES, ids=lambda path: path.stem)
def test_quiz_explains_every_choice(path):
    questions = json.loads(path.read_text(encoding="utf-8"))
    assert 3 <= len(questions) <= 5
    for question in questions:
        assert any(answer["correct"] for answer in question["answers"]), question["question"]
        for answer in question["answers"]:
            assert answer["feedback"].strip(), f"{question['question']} {answer}"
