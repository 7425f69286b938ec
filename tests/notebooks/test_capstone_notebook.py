"""“Capstone”: what its text says holds for the run that is stored."""

import re
from pathlib import Path

import pytest

from capstone import submission
from tools import notebooks

NOTEBOOK = Path(__file__).resolve().parent.parent / "notebooks" / "14_capstone.ipynb"
NAMES = ["example: word counts", "example: frozen vectors", "example: short fine-tuning"]


@pytest.fixture(scope="module")
def printed():
    """What the cells printed."""
    return notebooks.printed(notebooks.read(NOTEBOOK))


@pytest.fixture(scope="module")
def verdicts(printed):
    """By example: accuracy in percent, target reached, Wh to train, J for 1,000 predictions, budget kept."""
    found = re.findall(
        r"^(example: .+)\naccuracy ([\d.]+)% \(95 % interval .* hidden sentences; target 83.0% (\w+)\n"
        r"energy .*training ([\d.]+) Wh, 10,000 predictions at ([\d.]+) J per 1,000; budget 0.9 Wh (\w+)",
        printed,
        re.MULTILINE,
    )
    return {
        name: (float(right), reached == "reached", float(wh), float(joules), kept == "kept")
        for name, right, reached, wh, joules, kept in found
    }


def test_every_example_takes_fewer_sentences_too():
    notebook = notebooks.read(NOTEBOOK)
    code = [line.strip() for cell in notebook.cells for line in cell.source.splitlines()]
    takes = {line for line in code if "data.take(train_set" in line}
    assert takes == {"train_set = data.take(train_set, min(train_rows, len(train_set)))"}, "in all examples"


def test_three_examples_and_one_of_them_reaches_the_target_within_the_budget(verdicts):
    assert list(verdicts) == NAMES
    assert [verdict[1] for verdict in verdicts.values()] == [False, False, True]
    assert all(verdict[4] for verdict in verdicts.values())


def test_each_step_up_costs_and_the_first_one_many_times(verdicts):
    right = [verdict[0] for verdict in verdicts.values()]
    job_wh = [wh + 10 * joules / 3_600 for _, _, wh, joules, _ in verdicts.values()]
    assert right == sorted(right) and job_wh == sorted(job_wh)
    assert job_wh[1] > 10 * job_wh[0], '"costs many times what counting words does"'


def test_all_three_are_on_the_front_and_nothing_is_marked(printed):
    assert "3 entries in 1 group, 0 flagged, 0 refused" in printed
    marks = re.findall(r"^(\S)  example: .*?(; missed the target)?$", printed, re.MULTILINE)
    assert marks == [("1", ""), ("a", "; missed the target"), ("b", "; missed the target")]
    assert "marked" not in printed


def test_each_try_at_improving_a_receipt_is_found(printed):
    for line in ("more right: It says", "less energy: While training", "less time: While training"):
        assert re.search(f"^{line}", printed, re.MULTILINE), line


def test_the_sum_is_the_one_that_was_committed_to(printed):
    assert f"{submission.COMMITMENT[:16]}... is the sum" in printed
