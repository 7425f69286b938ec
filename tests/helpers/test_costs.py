"""Costs and footprints: the arithmetic, its limits, and the published numbers behind it."""

import math
import re
import statistics
from datetime import datetime, timedelta

import pytest

from helpers import assets, costs, energy, facts
from helpers.costs import CostError, labels_needed

HOURS = [grams for _, grams in costs.grid_forecast()]
BASES = {"measured", "modelled", "vendor-stated", "stated", "counted", "survey", "projected", "derived"}
A100 = {"peak_flop_per_s": 312e12, "power_w": 400}
BEST = (costs.best_start, costs.best_hours)
VALUE = {name: fact.value for name, fact in facts.load().items()}


def footprint(changes):
    return costs.footprint(**{"parameters": 1e9, "tokens": 1e10, **A100} | changes)


def test_doubling_an_input_doubles_the_energy_or_halves_it_and_place_changes_carbon_alone():
    inputs = {"parameters": 1e9, "tokens": 1e10, "mfu": costs.DEFAULT_MFU, "pue": 1, **A100}
    once = footprint({})
    for name, value in inputs.items():
        twice, factor = footprint({name: 2 * value}), 0.5 if name in ("peak_flop_per_s", "mfu") else 2
        hours = 1 if name in ("power_w", "pue") else factor
        assert twice.energy_kwh == pytest.approx(factor * once.energy_kwh), name
        assert twice.co2e_kg == pytest.approx(factor * once.co2e_kg), name
        assert twice.device_hours == pytest.approx(hours * once.device_hours), name
    here, there = (footprint({"country": country}) for country in ("POL", "SWE"))
    assert here.energy_kwh == there.energy_kwh and here.co2e_kg > 5 * there.co2e_kg


def test_what_is_missing_or_out_of_its_range_is_refused_and_so_is_a_job_that_does_not_fit():
    for compute, *given, message in (
        (footprint, {"tokens": -1}, "tokens is -1: expected a number from 0"),
        (footprint, {"parameters": None}, "parameters is None: .* Unknown is not 0"),
        (footprint, {"power_w": "400"}, "power_w is '400': expected a number"),
        (footprint, {"peak_flop_per_s": 0}, "peak_flop_per_s is 0: expected a number above 0"),
        (footprint, {"mfu": 33}, "mfu is 33: expected a number above 0, at most 1"),
        (footprint, {"pue": 0.9}, "pue is 0.9: expected a number from 1"),
        (costs.break_even, -1, 2, 1, "investment is -1"),
        (labels_needed, [100, 1_000], [0.6, 0.7], 0.71, "ends at 0.700 with 1,000 labels: 0.71 is not on it"),
        (labels_needed, [100, 1_000], [0.6, 0.7], 71, "target is 71: expected a number from 0 to 1"),
        (labels_needed, [1_000, 100], [0.6, 0.7], 0.65, "each larger than the one before"),
        (labels_needed, [100], [0.6, 0.7], 0.65, "1 rows and 2 accuracies"),
        (labels_needed, [], [], 0.65, "0 rows"),
        (labels_needed, [100], [60], 0.65, "accuracies is 60"),
        *((best, HOURS, 0, 24, "duration_h is 0: expected a whole number from 1") for best in BEST),
        *((best, HOURS, 49, None, "A job of 49 h does not end within 48 h") for best in BEST),
        *((best, HOURS, 1, 72, "deadline_h is 72: expected a whole number from 0 to 48") for best in BEST),
    ):
        with pytest.raises(CostError, match=message):
            compute(*given)
    with pytest.raises(energy.EnergyError, match="no country 'ZZZ'"):
        footprint({"country": "ZZZ"})


def test_published_energies_are_met_within_a_factor_of_two_berts_by_the_larger_bert():
    ratios = {run["name"]: run["ratio"] for run in costs.published_runs()}
    held = ("GPT-3", "T5-11B", "BLOOM", "Llama 2", "Llama 3", "Llama 3.1", "DeepSeek-V3")
    assert {name: 0.5 < ratios[name] < 2 for name in held} == dict.fromkeys(held, True)
    assert ratios["BERT-base"] < 0.5, "the miss that “The whole bill” is about"
    for name, ratio in {"Llama 3": 0.63, "Llama 3.1": 0.76, "DeepSeek-V3": 0.89}.items():
        assert ratios[name] == pytest.approx(ratio, abs=0.005), "with the efficiency that was published"
    size, tokens, energy_kwh = (VALUE[f"bert_{name}"] for name in ("large_parameters", "tokens", "energy"))
    card = {"peak_flop_per_s": VALUE["v100_peak"], "power_w": VALUE["v100_power"], "pue": VALUE["bert_pue"]}
    assert 0.5 < costs.footprint(size, tokens, **card).energy_kwh / energy_kwh < 2


def test_break_even_is_a_whole_number_of_uses_or_never():
    assert costs.break_even(101, 2, 1) == 101
    assert costs.break_even(1.5, 2, 1) == 2, "a part of a use is a use"
    assert costs.break_even(0, 1, 1) == 0
    assert costs.break_even(1, 1, 1) == costs.break_even(1, 1, 2) == math.inf


def test_labels_are_read_at_and_between_the_points():
    rows, accuracies = [100, 1_000, 7_000], [0.6, 0.8, 0.9]
    for count, accuracy in zip(rows, accuracies, strict=True):
        assert labels_needed(rows, accuracies, accuracy) == pytest.approx(count)
    between = [labels_needed(rows, accuracies, target) for target in (0.62, 0.7, 0.78, 0.85)]
    assert between == sorted(between) and between[0] > 100 and between[-1] < 7_000
    assert labels_needed(rows, accuracies, 0.5) == 100
    dip = labels_needed([10, 100, 1_000, 10_000], [0.5, 0.7, 0.65, 0.8], 0.7)
    assert dip == pytest.approx(100), "from the first time"


@pytest.mark.parametrize("duration_h", [1, 3, 12, 20])
@pytest.mark.parametrize("deadline_h", [20, 24, 33, 48])
def test_the_best_hours_are_found_by_trying_all_and_pausing_does_no_worse(duration_h, deadline_h):
    start, paused = (best(HOURS, duration_h, deadline_h) for best in BEST)
    means = [statistics.mean(HOURS[at : at + duration_h]) for at in range(deadline_h - duration_h + 1)]
    assert start.intensity_g_per_kwh == pytest.approx(min(means))
    assert start.hours == tuple(range(start.hour, start.hour + duration_h))
    cheapest = statistics.mean(sorted(HOURS[:deadline_h])[:duration_h])
    assert paused.intensity_g_per_kwh == pytest.approx(cheapest) and cheapest <= min(means)
    assert len(set(paused.hours)) == duration_h and paused.hours == tuple(sorted(paused.hours))
    for plan in (start, paused):
        assert min(plan.hours) >= 0 and max(plan.hours) < deadline_h
        assert plan.saving == pytest.approx(1 - plan.intensity_g_per_kwh / means[0])


@pytest.mark.parametrize("best", BEST)
def test_with_no_time_to_spare_nothing_is_saved(best):
    assert best([300, 100, 200], 3) == costs.Schedule((0, 1, 2), 200, 0)
    assert best([100, 100, 100], 1).hour == 0  # of equal hours the first
    assert best([0, 0], 1).saving == 0


def test_the_grid_forecast_is_two_days_hour_by_hour():
    hours, first = costs.grid_forecast(), datetime(2026, 10, 3, 20)
    expected = [f"{first + timedelta(hours=hour):%Y-%m-%dT%H:%MZ}" for hour in range(48)]
    assert [hour for hour, _ in hours] == expected and all(0 < value < 400 for _, value in hours)


def test_every_fact_has_its_source_and_its_basis():
    keys = re.findall(r"^@\w+\{(\w+),", (assets.ROOT / "references.bib").read_text(), re.MULTILINE)
    assert keys == sorted(set(keys)), "a key stands twice, or out of order"
    lines = (assets.DATA / "facts.csv").read_text(encoding="utf-8").splitlines()
    assert len(facts.load()) == len(lines) - 1, "an id stands twice"
    for fact in facts.load().values():
        assert fact.source in keys, fact
        assert fact.basis in BASES and fact.seen in ("P", "A", "D"), fact
        assert fact.unit and fact.what and fact.where, fact
        assert math.isfinite(fact.value) and 2010 < fact.year < 2030, fact


def test_derived_facts_and_the_default_efficiency_are_what_they_are_derived_from():
    for model, kwh in {"llama3": 1, "llama31": 1, "deepseekv3": 1_000}.items():
        derived = VALUE[f"{model}_hours"] * VALUE["h100_power"] / 1_000
        assert VALUE[f"{model}_energy"] * kwh == pytest.approx(derived, rel=0.005)
    hours_at_350_w = 1_038_336  # of the model of 34 billion, in the same table
    derived = VALUE["llama2_hours"] * VALUE["a100_power"] - hours_at_350_w * 50
    assert VALUE["llama2_energy"] == pytest.approx(derived / 1_000)
    assert VALUE["bloom_energy"] == pytest.approx(VALUE["bloom_hours"] * 0.4)
    assert VALUE["bloom_energy"] / VALUE["bloom_project_energy"] == pytest.approx(0.37, abs=0.005)
    assert VALUE["palm_hours"] == 6_144 * 1_200 + 3_072 * 336
    derived = VALUE["palm_hours"] * VALUE["palm_power"] * VALUE["palm_pue"] / 1e6
    assert VALUE["palm_energy"] == pytest.approx(derived, rel=0.001)
    hidden = VALUE["llama2_carbon"] * 1e6 / VALUE["llama2_energy"] / VALUE["llama_intensity"]
    assert hidden == pytest.approx(VALUE["llama_pue"], abs=0.001), "a PUE that the card doesn't give"
    assert VALUE["query_classification"] / VALUE["query_distilbert"] == pytest.approx(9, abs=0.5)
    parts = VALUE["bloom_carbon_dynamic"] + VALUE["bloom_carbon_idle"] + VALUE["bloom_carbon_embodied"]
    assert VALUE["bloom_carbon_all"] == pytest.approx(parts)
    assert VALUE["llama2_parameters"] == (7 + 13 + 34 + 70) * 1e9
    shares = [value for name, value in VALUE.items() if name.startswith("mfu_")]
    assert len(shares) == 4 and statistics.mean(shares) == pytest.approx(costs.DEFAULT_MFU, abs=0.005)
    assert VALUE["gpt3_flop"] == pytest.approx(6 * VALUE["gpt3_parameters"] * VALUE["gpt3_tokens"], rel=0.01)
    parts = [VALUE[f"prompt_{part}"] for part in ("accelerators", "host", "idle", "building")]
    assert sum(parts) == pytest.approx(VALUE["prompt_assistant"])
    assert VALUE["node_making_high"] == 5_700 + 8 * 273
    for name, pounds in {"average": 953.7, "marginal": 1_562.4}.items():
        assert VALUE[f"us_{name}_2019"] == pytest.approx(pounds * 0.45359237, abs=0.1)
