"""The stored record of `python -m benchmarks`: on what it was made, and what the course says of its speed."""

import json
from pathlib import Path

import pytest

from benchmarks import __main__ as benchmarks

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def record():
    return json.loads((ROOT / "benchmarks" / "record.json").read_text())


@pytest.fixture(scope="module")
def pairs(record):
    return {(pair["first"], pair["second"]): pair for pair in record["pairs"]}


def test_it_says_on_what_and_when(record):
    assert record["hardware"] and record["date"] and record["versions"]["torch"]
    assert record["precision"] in ("fp32", "bf16")


def test_its_rounds_took_turns_on_a_quiet_machine(pairs):
    for pair in pairs.values():
        assert {len(seconds) for seconds in pair["seconds"].values()} == {benchmarks.ROUNDS}
        assert pair["marked_rounds"] == []
        low, high = pair["time_interval"]
        assert low <= pair["time_ratio"] <= high


def test_our_loop_is_no_slower_than_trainer(pairs):
    assert pairs["trainer", "ours"]["time_interval"][1] >= 1.0


def test_our_loop_takes_no_more_memory_than_trainer(pairs):
    peaks = pairs["trainer", "ours"]["peak_gb"]
    assert peaks["ours"] <= peaks["trainer"]


def test_trainers_defaults_take_several_times_as_long(pairs):
    assert pairs["run_glue", "ours"]["time_interval"][0] > 2
    assert pairs["naive", "frugal"]["time_interval"][0] > 3


def test_a_step_of_full_length_reaches_half_of_the_matrix_rate(record):
    assert record["matrix_rate"]["full length"]["share"] >= 0.5


def test_the_whole_runs_are_those_that_notebook_06_shows(record):
    assert record["whole_runs"] == benchmarks.whole_runs()
