"""A verdict is only given where it holds, and a figure stands beside what it bought."""

import json
import random
import time

import pytest

from helpers import energy


def busy(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def run(label="x", cpu=1.0, ram=1.0, *, method="modelled", load=0.0, wall_s=10.0, calls=1):
    parts = (
        energy.Component("CPU", cpu, method, "TDP"),
        energy.Component("RAM", ram, "measured" if method == "measured" else "assumed", "constant"),
    )
    return energy.Measurement(label, wall_s, 1.0, parts, "USA", 369.0, "", load, work={"calls": calls})


def rounds(*pairs, **options):
    return tuple(run("x", cpu, ram, **options) for cpu, ram in pairs)


def test_candidates_take_turns():
    order = []
    runs = energy.repeat(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3, 1, country="USA"
    )
    assert order == ["a", "b", *["a", "b"] * 3]
    assert [len(each) for each in runs.values()] == [3, 3]


def test_a_window_repeats_the_call_and_counts():
    runs = energy.repeat({"a": lambda: busy(0.01)}, 1, 0, country="USA", window_s=0.6)
    assert 10 <= runs["a"][0].work["calls"] <= 60
    assert runs["a"][0].wall_s >= 0.6


def test_repeat_wants_something_to_repeat():
    for candidates, times in (({}, 5), ({"a": busy}, 0)):
        with pytest.raises(energy.EnergyError, match="expected a .*number from 1"):
            energy.repeat(candidates, times, country="USA")


def test_a_clear_difference_has_a_winner():
    noise = [1.0, 1.02, 0.99, 1.01, 0.98]
    runs = {
        "a": rounds(*[(1.0 * n, 1.0 * n) for n in noise]),
        "b": rounds(*[(2.0 * n, 2.0 * n) for n in noise]),
    }
    result = energy.compare(runs)
    assert result.winner == "a" and result.verdict == "a uses less"
    assert result.ratio == pytest.approx(0.5)
    low, high = result.interval
    assert low <= result.ratio <= high < 1
    assert result.medians_wh == {"a": pytest.approx(2.0), "b": pytest.approx(4.0)}
    turned = energy.compare({"b": runs["b"], "a": runs["a"]})
    assert turned.winner == "a" and turned.ratio == pytest.approx(2.0)


def test_the_same_work_twice_is_undecided():
    """A ratio of 1 lies in the interval of most comparisons of a thing with itself."""
    draw, decided = random.Random(1), 0
    for _ in range(40):
        noisy = {name: rounds(*[(draw.gauss(1, 0.05), 1.0) for _ in range(7)]) for name in "ab"}
        decided += energy.compare(noisy).winner is not None
    assert decided <= 6


def test_four_rounds_are_too_few():
    result = energy.compare({"a": rounds(*[(1, 1)] * 4), "b": rounds(*[(2, 2)] * 4)})
    assert result.winner is None and "too few" in result.reason


def test_a_ranking_that_the_constant_decides_is_undecided():
    """A is quick and hot, B slow and cool: which uses less depends on what the RAM is said to use."""
    runs = {"a": rounds(*[(2.0, 1.0)] * 5), "b": rounds(*[(1.5, 2.0)] * 5)}
    result = energy.compare(runs)
    assert result.ratio < 1 and result.winner is None
    assert "does not hold" in result.reason
    counted = {name: rounds(*[(r.components[0].energy_wh, r.components[1].energy_wh) for r in each],
                            method="measured") for name, each in runs.items()}  # fmt: skip
    assert energy.compare(counted).winner == "a", "where both parts are counted there is nothing to vary"


def test_rounds_beside_other_programs_are_marked_and_decide_nothing():
    quiet, disturbed = rounds(*[(1, 1)] * 5), rounds(*[(1, 1)] * 5, load=0.4)
    other = rounds(*[(2, 2)] * 5)
    assert energy.compare({"a": quiet, "b": other}).disturbed == ()
    result = energy.compare({"a": disturbed, "b": other})
    assert result.disturbed == (1, 2, 3, 4, 5) and result.winner is None
    assert "other programs" in result.reason and "rounds 1, 2, 3, 4 and 5 of 5" in str(result)
    one = energy.compare({"a": (disturbed[0], *quiet[1:]), "b": other})
    assert one.disturbed == (1,) and one.winner == "a", "the other four say the same"
    assert str(one).endswith("beside round 1 of 5."), "the number of a round, not of rounds"


def test_unknown_is_refused():
    unknown = energy.Measurement("x", 0.1, 0.1, (energy.Component("CPU", None, None, "too short"),),
                                 "USA", 369.0, "", 0.0)  # fmt: skip
    with pytest.raises(energy.EnergyError, match=r"unknown energy, which is not 0.*too short"):
        energy.compare({"a": (unknown,) * 5, "b": rounds(*[(1, 1)] * 5)})


def test_what_does_not_pair_up_is_refused():
    for runs in ({}, {"a": rounds((1, 1))}, {"a": rounds((1, 1)), "b": rounds((1, 1), (1, 1))}):
        with pytest.raises(energy.EnergyError, match="two candidates with as many rounds"):
            energy.compare(runs)
    with pytest.raises(energy.EnergyError, match="different ways"):
        energy.compare({"a": rounds(*[(1, 1)] * 5), "b": rounds(*[(1, 1)] * 5, method="measured")})


def test_energy_counts_by_the_call():
    runs = {"a": rounds(*[(10, 10)] * 5, calls=10), "b": rounds(*[(2, 2)] * 5, calls=1)}
    result = energy.compare(runs)
    assert result.medians_wh == {"a": 2.0, "b": 4.0} and result.winner == "a"


def test_a_comparison_comes_back_from_its_raw_values():
    result = energy.compare({"a": rounds(*[(1, 1)] * 5), "b": rounds(*[(2, 2)] * 5)})
    again = energy.Comparison.from_raw(json.loads(json.dumps(result.raw())))
    assert again.results() == result.results() and str(again) == str(result)
    assert "<table>" in result._repr_html_()


def test_real_work_three_times_as_long_uses_more():
    candidates = {"short": lambda: busy(0.01), "long": lambda: busy(0.03)}
    result = energy.compare(energy.repeat(candidates, country="USA", window_s=0.6))
    assert result.disturbed or (result.winner == "short" and result.ratio == pytest.approx(1 / 3, rel=0.3))


def test_joules_for_1000_predictions():
    def predict(batch):
        busy(0.01)
        return [value % 2 for value in batch]

    result = energy.per_1000(
        "parity", predict, list(range(10)), [0] * 10, country="USA", batch_size=4, tokens=27.3, window_s=0.8
    )
    assert "batches of 4 x 27 tokens" in str(result)
    assert result.count == result.cost.work["predictions"]
    assert result.count == pytest.approx(0.8 / 0.01 * 10 / 3, rel=0.3), "batches of 4, 4 and 2"
    assert result.joules == pytest.approx(result.cost.energy_wh * 3_600 / result.count * 1_000)
    assert result.accuracy == 0.5
    assert 0.01 <= result.results()["p50_s"] <= result.results()["p90_s"]
    assert result.short and "10 s are asked for" in str(result)
    assert energy.Predictions.from_raw(json.loads(json.dumps(result.raw()))) == result


def test_a_window_too_short_to_tell_is_unknown():
    result = energy.per_1000("one", lambda batch: [1], [1], country="USA", window_s=0.0)
    assert result.joules is None and result.accuracy is None
    assert "energy unknown" in str(result)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "expected a number from 1"),
        (([1, 2], [1]), "2 inputs but 1 labels"),
        (([1, 2, 3],), "gave 1 answers to 3 inputs"),
    ],
)
def test_predictions_that_do_not_pair_up_are_refused(arguments, message):
    with pytest.raises(energy.EnergyError, match=message):
        energy.per_1000("x", lambda batch: [1], *arguments, country="USA", batch_size=8)


def training(*qualities):
    for quality in qualities:
        busy(0.2)
        yield quality


def test_training_stops_at_its_target():
    result = energy.to_target("good", training(0.5, 0.7, 0.9, 0.95), 0.8, country="USA")
    assert result.reached and len(result.curve) == 3
    assert result.energy_wh == result.cost.energy_wh > 0
    assert str(result).startswith("reached 80.0% after 3 rounds")


def test_a_miss_is_shown_as_a_miss():
    """What it used is known; what it would take to get there is not."""
    result = energy.to_target("bad", training(0.5, 0.7, 0.6), 0.8, country="USA")
    assert not result.reached and result.energy_wh is None
    assert result.cost.energy_wh > 0
    assert str(result).startswith("missed 80.0%: 70.0% at best in 3 rounds")
    assert energy.Training.from_raw(json.loads(json.dumps(result.raw()))) == result
    assert not energy.to_target("none", iter(()), 0.8, country="USA").reached
