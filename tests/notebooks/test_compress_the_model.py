"""“Compress the model”: its recorded models hold what its text says, and so does the run that is stored."""

import json
import re
import statistics
from pathlib import Path

import numpy as np
import pytest

from benchmarks import compress, serving
from helpers import energy
from tools import notebooks

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def receipt():
    return json.loads(compress.RECEIPT.read_text())


@pytest.fixture(scope="module")
def runs(receipt):
    found = {}
    for run in receipt["runs"]:
        found.setdefault(run["name"], []).append(run)
    return found


@pytest.fixture(scope="module")
def rounds(receipt):
    served = receipt["serving"]["rounds"]
    return {name: [energy.Measurement.from_raw(raw) for raw in raws] for name, raws in served.items()}


@pytest.fixture(scope="module")
def chosen(receipt):
    return f"cascade {receipt['cascade']['chosen']:.2f}"


@pytest.fixture(scope="module")
def printed():
    return notebooks.printed(notebooks.read(ROOT / "notebooks" / "10_compress_the_model.ipynb"))


def accuracy(seeds):
    return statistics.mean(run["test_accuracy"] for run in seeds)


def test_every_energy_is_computed_from_its_raw_parts(receipt, rounds):
    for run in receipt["runs"]:
        again = energy.Measurement.from_raw(run["cost"])
        assert json.loads(json.dumps(again.results())) == run["results"], run["name"]
        assert not again.marked, f"{run['name']} ran beside other programs"
    for name, each in rounds.items():
        found = serving.joules_per_1000(each, receipt["serving"]["texts"])
        assert found == pytest.approx(receipt["serving"]["joules_per_1000"][name]), name


def test_the_runs_are_of_the_settings_that_the_code_holds(receipt):
    planned = [(run["name"], run["seed"]) for run in receipt["runs"]]
    assert planned == compress.plan()
    for run in receipt["runs"]:
        assert run["settings"] == compress.plain(compress.MODELS[run["name"]]), run["name"]
    for part, settings in compress.PARTS.items():
        assert receipt["settings"][part] == compress.plain(settings), part


def test_the_compressed_model_needs_a_twentyfifth_of_naive_and_half_of_well_served(rounds, chosen):
    for rival, factor in (("one by one, padded to 128", 25), ("like lengths", 2)):
        duel = energy.compare({rival: rounds[rival], chosen: rounds[chosen]})
        assert duel.ratio >= factor and duel.winner == chosen


def test_it_gives_up_a_point_at_most(receipt, runs):
    assert len(runs["teacher"]) == len(receipt["cascade"]["seeds"]) == 3
    assert accuracy(receipt["cascade"]["seeds"]) >= accuracy(runs["teacher"]) - 0.010
    assert accuracy(runs["teacher"]) > 0.85


def test_the_threshold_was_chosen_on_validation(receipt):
    cascade = receipt["cascade"]
    best = max(np.mean(point["accuracies"]) for point in cascade["curve"])
    good = [p["threshold"] for p in cascade["curve"] if np.mean(p["accuracies"]) == best]
    assert cascade["chosen"] == min(good)


def test_the_files_are_small_and_say_the_same_when_opened_again(runs):
    for whole in runs["teacher int8"]:
        assert whole["file_bytes"] < 25e6 < 80e6 < runs["teacher"][0]["file_bytes"]
    for name in ("teacher int8", "4 layers int8", "small int8"):
        for run in runs[name]:
            assert run["reopened_differs_by"] == 0 and run["onnx_differs_by"] < 1e-3
    assert all(run["file_bytes"] < 10e6 for run in runs["small int8"])


def test_the_rest_of_what_the_text_says_of_the_runs(receipt, runs):
    gains = [
        accuracy(runs[name]) - accuracy(runs[f"{name}, no teacher"])
        for name in ("3 layers", "2 layers", "tiny from scratch")
    ]
    assert gains == sorted(gains), "the less a student starts with, the more the answers help it"
    assert abs(gains[0]) < 0.005 and 0 < gains[1] < 0.01 and 0.015 < gains[2] < 0.04
    assert accuracy(runs["tiny from scratch"]) < accuracy(runs["2 layers, no teacher"]), (
        "the start helps most"
    )
    tiny = [
        statistics.mean(run["validation_accuracy"] for run in runs[name])
        for name in ("tiny from scratch", "tiny from scratch, no teacher")
    ]
    assert abs(tiny[0] - tiny[1]) < 0.01, "hardly any are seen on validation"
    pruning = receipt["pruning"]
    flat, cliff = pruning["untrained"][1], pruning["untrained"][-1]
    assert flat["share"] == 0.2 and flat["accuracy"] > pruning["whole"] - 0.02
    assert cliff["accuracy"] < pruning["whole"] - 0.1
    untrained = {point["share"]: point["accuracy"] for point in pruning["untrained"]}
    for tuned in pruning["zeros"]:
        assert tuned["accuracy"] > untrained[0.8], "training after pruning helps"
    for tuned in pruning["sizes"]:
        assert tuned["accuracy"] > tuned["untrained"]


def test_serving_well_saves_most_and_costs_no_accuracy(printed, rounds):
    ratio = float(re.search(r"^like lengths +([\d.]+) \(", printed, re.MULTILINE)[1])
    assert ratio < 0.5
    duel = energy.compare({name: rounds[name] for name in ("one by one, padded to 128", "like lengths")})
    assert duel.ratio > 3


def test_zeros_save_nothing_and_removed_parts_do(printed):
    zeros = float(re.search(r"80 % zeros / whole = ([\d.]+)", printed)[1])
    half = float(re.search(r"half / whole = ([\d.]+)", printed)[1])
    assert 0.85 < zeros < 1.15 and half < 0.95


def test_onnx_and_pytorch_agree(printed):
    apart = float(re.search(r"ONNX fp32 .*at most ([\d.e-]+) apart", printed)[1])
    assert apart < 1e-3


def test_the_cascade_uses_less_than_its_model_alone(printed):
    assert float(re.search(r"cascade / BERT alone = ([\d.]+)", printed)[1]) < 1
