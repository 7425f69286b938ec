"""“Scale out”: what its stored run shows is what its text says."""

import re
from pathlib import Path

import pytest

from tools import notebooks

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def printed():
    return notebooks.printed(notebooks.read(ROOT / "notebooks" / "12_scale_out.ipynb"))


def number(pattern, text):
    """Read the one number that a pattern has a group for."""
    return float(re.search(pattern, text)[1].replace(",", ""))


def test_halves_have_the_gradient_of_the_whole(printed):
    assert number(r"whole batch against the mean of its halves: (\S+) of", printed) < 1e-5


def test_two_processes_took_the_same_steps(printed):
    assert "1 process(es): " in printed and "2 process(es): " in printed
    assert number(r"largest difference: (\S+)", printed) < 1e-3
    assert number(r"losses equal up to (\S+)", printed) < 1e-3
    assert "ValueError: To launch a multi-device training from your notebook" in printed


def test_the_formula_counts_the_bytes(printed):
    assert number(r"MB, ([\d.]+) of the formula", printed) == pytest.approx(1, abs=0.05)


def test_two_processes_are_faster_but_not_twice(printed):
    speed_up, low, high = map(
        float, re.search(r"S\(2\) = ([\d.]+) \(([\d.]+) to ([\d.]+)\)", printed).groups()
    )
    assert 1 < low <= speed_up <= high < 2
    assert speed_up < number(r"is the optimizer's, so S\(2\) = ([\d.]+)", printed)


def test_a_killed_worker_lost_less_than_an_interval(printed):
    assert "exit status 1, 0 of 2 processes left, checkpoints: ['step-10']" in printed
    assert number(r": (\d+) steps done twice", printed) <= 10
    assert number(r"nobody killed: losses differ by at most (\S+)", printed) < 1e-3
    assert "2 readings of 1 machine: " in printed


def test_pausing_saves_more_than_starting_later(printed):
    rows = re.findall(r"(\d+) h within 24: best start saves (\d+)%, pausing (\d+)%", printed)
    assert [int(hours) for hours, *_ in rows] == [3, 8, 16]
    assert all(0 < int(start) <= int(pause) < 70 for _, start, pause in rows)
    assert [int(pause) for *_, pause in rows] == sorted((int(row[2]) for row in rows), reverse=True)
    assert "published: 14.5% and 19%" in printed


def test_place_weighs_more_than_the_hour(printed):
    carbon = [float(kg) for kg in re.findall(r"^ *([\d.]+) kg CO2e   3.1 kWh", printed, re.MULTILINE)]
    assert len(carbon) == 6 and carbon == sorted(carbon) and carbon[-1] > 10 * carbon[0]


def test_a_shard_is_half(printed):
    rows = re.findall(r"^(whole|sharded), process \d +([\d. ]+)$", printed, re.MULTILINE)
    assert [name for name, _ in rows] == ["whole", "whole", "sharded", "sharded"]
    values = [[float(part) for part in row.split()] for _, row in rows]
    for row in values:
        assert row[3] == pytest.approx(row[4], rel=0.03), "16 bytes a weight"
    for process in (0, 1):
        assert values[2 + process][5] == pytest.approx(values[process][5], abs=1e-3)
    assert re.search(r"all whole +112.0", printed)


def test_overlapping_meters_are_not_added(printed):
    assert len(re.findall(r"accuracy [\d.]+%, +[\d.]+ CPU s, .*marked: ", printed)) == 4
    assert "refused: '5-fold cross-validation' and '5-fold cross-validation' measured one machine" in printed
