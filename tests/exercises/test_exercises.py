"""Each exercise's check passes right answers, refuses the stub and the wrong ones, and never raises."""

import ast
import functools
import importlib
import itertools
import json
import re
from collections import Counter
from unittest import mock

import pytest

from exercises import base, progress
from exercises.__main__ import COURSE as ORDER
from tests.shared import code
from tools import notebooks

EXERCISES = notebooks.ROOT / "exercises"
QUIZZES = {path.stem: json.loads(path.read_text("utf-8")) for path in EXERCISES.glob("quiz/*.json")}
CHOICES = [question["answers"] for questions in QUIZZES.values() for question in questions]
COURSE = {topic: notebooks.read(path) for topic, path in notebooks.course().items()}
CHECKS = {
    (topic, name): check
    for topic in COURSE
    for name, check in vars(importlib.import_module(f"exercises.{topic}")).items()
    if hasattr(check, "__wrapped__")
}
IMPORTS = "import math, torch\nimport numpy as np\nfrom torch.nn import functional as F\n"
CALL = re.compile(r"\bcheck\.(\w+)\(")
each_check = pytest.mark.parametrize(("topic", "name"), CHECKS)
each_topic = pytest.mark.parametrize("topic", COURSE)


def answers(folder):
    """List (topic, check's name, code) of the blocks of code in a folder of exercises/."""
    for path in sorted((EXERCISES / folder).glob("*.md")):
        for section in path.read_text(encoding="utf-8").split("\n## ")[1:]:
            name, _, text = section.partition("\n")
            codes = re.findall(r"^\n[^\n]+\n\n```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
            assert len(codes) == text.count("```python"), f"{path.name}, {name}: each a line, then its code"
            yield from ((path.stem, name, code) for code in codes)


WRONG, RIGHT = [*answers("wrong_answers")], [*answers("right_answers")]


def imports_for(topic, source):
    """Run those of the notebook's imports that `source` uses, and return the names they bind."""
    used, names = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}, {}
    lines = ast.parse(code(notebooks.course()[topic])).body
    for line in [line for line in lines if isinstance(line, ast.Import | ast.ImportFrom)]:
        if used & {(alias.asname or alias.name).split(".")[0] for alias in line.names}:
            exec(compile(ast.Module([line], []), topic, "exec"), names)
    return names


def run(source, names):
    exec(compile(source, "<answer>", "exec"), names)
    return names


def cell_of(topic, name, tag):
    [cell] = [cell for cell in notebooks.tagged(COURSE[topic], tag) if name in CALL.findall(cell.source)]
    return cell.source


@functools.cache
def solution(topic, name):
    source = cell_of(topic, name, "solution")
    return run(source, imports_for(topic, source))["solution"]


def test_the_example_that_a_hint_says_to_start_from_is_right():
    """On the check's 400 sentences, although the example wants 7,070."""
    notebook = COURSE["capstone"]
    [cell] = [cell for cell in notebook.cells if "def word_counts" in cell.source]
    names = run(cell.source, imports_for("capstone", cell.source) | notebooks.parameters(notebook))
    assert CHECKS["capstone", "train"](names["word_counts"]).ok


@each_check
def test_solution_is_right_and_stub_is_not_answered(topic, name):
    verdict = CHECKS[topic, name](solution(topic, name))
    assert verdict.ok and verdict.message.startswith("Right: "), verdict.message
    stub = cell_of(topic, name, "exercise")
    assert re.search(r"^answer = \.\.\.", stub, re.MULTILINE), "the exercise should be stored unsolved"
    for verdict in map(CHECKS[topic, name], (..., None)):
        assert not verdict.ok and verdict.message.startswith("Not answered yet: ")


@functools.cache
def judged(topic, name, code):
    """Give the verdict on an answer, and whether all that it has is the hint for any other."""
    with mock.patch.object(base, "_choose", wraps=base._choose) as choose:
        verdict = CHECKS[topic, name](run(IMPORTS + code, {})["answer"])
    last = [*choose.call_args.args[1]][-1] if choose.called else None
    return verdict, verdict.message == f"Not yet: {last}"


@pytest.mark.parametrize(("topic", "name", "code"), WRONG + RIGHT)
def test_wrong_answer_is_refused_and_right_one_accepted(topic, name, code):
    verdict, _ = judged(topic, name, code)
    assert verdict.ok == ((topic, name, code) in RIGHT), f"{verdict.message}\n{code}"
    assert verdict.message.startswith("Right: " if verdict.ok else "Not yet: ")


def test_enough_answers_to_each_check_are_known_and_nine_slips_in_ten_have_a_hint_of_their_own():
    for known, least in (WRONG, 6), (RIGHT, 2):
        count = Counter((topic, name) for topic, name, _ in known)
        assert set(count) == set(CHECKS), "a heading in such a file is the name of a check"
        assert [each for each in count if count[each] < least] == []
    others = [each for each in WRONG if judged(*each)[1]]
    assert len(others) <= len(WRONG) / 10, others


@each_check
def test_each_slip_has_a_value_of_its_own(topic, name):
    """Else nobody would ever see the message of the second."""
    finding = CHECKS[topic, name].__wrapped__(solution(topic, name))
    messages = {} if isinstance(finding, str) else finding[1]
    values = [each if isinstance(each, set) else [each] for each in messages.values() if each is not ...]
    for some, others in itertools.combinations(values, 2):
        assert not any(base.near(one, other, 1e-4) for one in some for other in others), (some, others)


def test_a_schedule_s_rival_has_the_best_constant_learning_rate_of_seven():
    optimizers = importlib.import_module("exercises.optimizers")
    for steps, rate in optimizers.BASE_RATE.items():
        rates = [rate * 2 ** (place / 2) for place in range(-5, 2)]  # 0.5 to 4
        losses = [optimizers.losses_with([1.0] * steps, rate).mean().item() for rate in rates]
        assert losses[5] <= min(losses) + 0.005


@each_check
def test_check_never_raises_and_names_a_function_instead_of_a_value_and_a_value_instead(topic, name):
    fails = [print, lambda *args: 1 / 0, lambda *args: exit(), lambda *args: None, lambda *args: "text"]
    for answer in [object(), "text", [], {}, float("nan"), -1, b"", *fails]:
        verdict = CHECKS[topic, name](answer)
        assert not verdict.ok and verdict.message.startswith(("Not yet: ", "Not answered yet: ")), answer
    function, number = (CHECKS[topic, name](answer).message for answer in (print, 0.5))
    refused = function.startswith("Not yet: your answer is a function. Expected: ")
    assert refused != number.startswith("Not yet: your answer is of type float. Expected: a function")


@each_topic
def test_notebook_has_hints_and_solutions(topic):
    notebook = COURSE[topic]
    exercises, solutions = notebooks.tagged(notebook, "exercise"), notebooks.tagged(notebook, "solution")
    called = [name for cell in exercises for name in CALL.findall(cell.source)]
    assert called == [name for cell in solutions for name in CALL.findall(cell.source)]
    assert [f"{topic}.{name}" for name in called] == [each for each in ORDER if each.startswith(f"{topic}.")]
    assert all(cell.source.startswith(progress.SOLUTION) for cell in solutions), "it would count as passed"
    assert {(topic, name) for name in called} == {each for each in CHECKS if each[0] == topic}
    hints = [cell for cell in notebook.cells if cell.cell_type == "markdown" and "<details>" in cell.source]
    assert len(hints) >= len(exercises)


@pytest.mark.parametrize("pattern", ["*.py", "wrong_answers/*.md", "right_answers/*.md", "quiz/*.json"])
def test_every_notebook_has_its_file_and_every_file_its_notebook(pattern):
    others = {"__init__", "__main__", "base", "progress"}
    assert {path.stem for path in EXERCISES.glob(pattern)} - others == set(COURSE)


@each_topic
def test_quiz_explains_every_choice(topic):
    assert any(f"exercises/quiz/{topic}.json" in cell.source for cell in COURSE[topic].cells)
    assert 3 <= len(QUIZZES[topic]) <= 5
    for question in QUIZZES[topic]:
        assert any(answer["correct"] for answer in question["answers"]), question["question"]
        assert all(answer["feedback"].strip() for answer in question["answers"]), question["question"]


def test_who_knows_nothing_scores_neither_by_length_nor_by_place():
    """A tie counts as the longest; places are those among as many choices, as they are stored."""
    longest = [max((len(each["answer"]), each["correct"]) for each in some)[1] for some in CHOICES]
    assert sum(longest) <= len(longest) / 3
    for many in {*map(len, CHOICES)}:
        right = [[each["correct"] for each in some] for some in CHOICES if len(some) == many]
        assert all(sum(place) <= len(right) / 2 for place in zip(*right, strict=True)), many
