"""“Train with less”: its recorded runs hold what its text says, and so does the run that is stored."""

import json
import re
import statistics
from pathlib import Path

import pytest

from benchmarks import recipes
from helpers import energy
from tools import notebooks

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def receipt():
    return json.loads(recipes.RECEIPT.read_text())


@pytest.fixture(scope="module")
def runs(receipt):
    return {(run["name"], run["seed"]): run for run in receipt["runs"]}


@pytest.fixture(scope="module")
def printed():
    return notebooks.printed(notebooks.read(ROOT / "notebooks" / "09_train_with_less.ipynb"))


def accuracies(receipt, name):
    return [run["test_accuracy"] for run in receipt["runs"] if run["name"] == name]


def naive_accuracies(receipt):
    """Of three seeds; the further two leave the padding out, which is masked."""
    return accuracies(receipt, "naive") + accuracies(receipt, "padded to the batch")


def test_every_energy_is_computed_from_its_raw_parts(receipt):
    for run in receipt["runs"]:
        again = energy.Measurement.from_raw(run["cost"])
        assert json.loads(json.dumps(again.results())) == run["results"], run["name"]
        assert run["results"]["method"] in energy.METHODS
        assert not again.marked, f"{run['name']} ran beside other programs"


def test_the_runs_are_of_the_recipes_that_the_code_holds(receipt):
    for run in receipt["runs"]:
        assert run["settings"] == recipes.RECIPES[run["name"]], run["name"]


def test_the_target_is_the_naive_recipes_own(receipt):
    target = receipt["target"]
    assert target == recipes.find_target(receipt["runs"])
    for run in receipt["runs"]:
        assert run["to_target"] == recipes.to_target(run, target, receipt["settings"]["validation_rows"])


def ends(receipt, name):
    """Cost to the target of each of the recipe's runs; there are three, and none misses."""
    found = [run["to_target"] for run in receipt["runs"] if run["name"] == name]
    assert len(found) == 3 and None not in found
    return found


def test_the_frugal_recipe_needs_a_twentieth_of_naive_as_written(receipt, runs):
    naive, frugal = runs["naive", 0], ends(receipt, "frugal")
    assert naive["cost"]["wall_s"] / statistics.mean(end["seconds"] for end in frugal) >= 20
    assert naive["results"]["energy_wh"] / statistics.mean(end["energy_wh"] for end in frugal) >= 20


def test_even_had_naive_stopped_at_the_target_a_twentieth_is_reached_at_a_price(receipt, runs):
    naive, clear = runs["naive", 0]["to_target"], ends(receipt, "clear ratings")
    for what in ("seconds", "energy_wh"):
        assert naive[what] / statistics.mean(end[what] for end in clear) >= 20
    price = statistics.mean(naive_accuracies(receipt)) - statistics.mean(accuracies(receipt, "clear ratings"))
    assert 0.01 < price < 0.03, "the text says that it costs more than a point"


def test_the_ratio_rests_on_no_guess_about_power(runs):
    pair = [energy.Measurement.from_raw(runs[name, 0]["cost"]) for name in ("naive", "frugal")]
    for cpu in (0.5, 1.0, 2.0):
        for ram in (0.0, 1.0):
            one, other = (run.under(cpu=cpu, ram=ram).energy_wh for run in pair)
            assert one / other >= 20


def test_the_frugal_recipe_is_as_accurate(receipt):
    naive, frugal = naive_accuracies(receipt), accuracies(receipt, "frugal")
    assert len(naive) == len(frugal) == 3
    assert statistics.mean(frugal) >= statistics.mean(naive) - 0.005


def test_what_disappointed_is_kept(runs):
    lora, plain = runs["LoRA", 0], runs["embeddings frozen", 0]
    assert lora["trained_weights"] < 0.02 * runs["naive", 0]["trained_weights"]
    assert lora["results"]["energy_wh"] > 0.5 * plain["results"]["energy_wh"], (
        "fewer weights, not less energy"
    )
    assert runs["4 layers frozen", 0]["test_accuracy"] < plain["test_accuracy"]


def test_padding_costs_most_of_the_naive_step(printed):
    for name, most in (("padded to the batch", 0.7), ("batches of like length", 0.5)):
        ratio = float(re.search(rf"^{name} +([\d.]+) \(", printed, re.MULTILINE)[1])
        assert ratio < most, name


def test_lora_saves_less_than_its_weights_promise(printed):
    share = float(re.search(r"weights trained, ([\d.]+)%", printed)[1])
    ratio = float(re.search(r"^LoRA +([\d.]+) \(", printed, re.MULTILINE)[1])
    assert share < 2 and ratio > 0.25


def test_without_the_instructions_bf16_is_not_recommended(printed):
    fp32, bf16 = map(float, re.search(r"fp32 ([\d.e+]+) GFLOP/s, bf16 ([\d.e+]+) GFLOP/s", printed).groups())
    if bf16 < fp32:
        assert "No bf16 instructions here" in printed and "use it" not in printed
    else:
        assert "No bf16 instructions here" not in printed


def test_less_memory_has_the_same_gradient_and_costs_energy(printed):
    kept = dict(re.findall(r"^(.+?) +keeps +([\d.]+) MB", printed, re.MULTILINE))
    kept = {name: float(value) for name, value in kept.items()}
    assert kept["accumulated from 4 parts"] < 0.3 * kept["in one piece"]
    assert kept["checkpointed"] < 0.3 * kept["in one piece"]
    assert float(re.search(r"checkpointed / usual = ([\d.]+)", printed)[1]) > 1


def test_the_small_race_shows_the_ratio(printed):
    ratio = float(re.search(r"^naive / frugal: .*?([\d.]+) times the energy", printed, re.MULTILINE)[1])
    assert ratio > 4
