"""A verdict is only given where it holds, a figure stands beside what it bought, each machine counts once."""

import asyncio
import io
import json
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import replace
from multiprocessing import Process

import numpy as np
import psutil
import pytest
from torch.futures import Future as TorchFuture

from helpers import energy
from helpers.energy import machines, meter


def run(cpu, ram, *, method="modelled", load=0.0, calls=1, wall_s=10.0, most_w=None):
    ram_method = "measured" if method == "measured" else "assumed"
    parts = energy.Component("CPU", cpu, method, "", most_w), energy.Component("RAM", ram, ram_method, "")
    return energy.Measurement("x", wall_s, 1.0, parts, "USA", 369.0, "", load, work={"calls": calls})


def five(cpu, ram, **options):
    return (run(cpu, ram, **options),) * 5


def test_candidates_take_turns_and_a_window_repeats_the_call_and_counts():
    order = []
    candidates = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    runs = energy.repeat(candidates, 3, 1, country="USA")
    assert order == ["a", "b"] * 4 and [len(each) for each in runs.values()] == [3, 3], "one warms up"
    runs = energy.repeat({"a": lambda: time.sleep(0.01)}, 1, 0, country="USA", window_s=0.6)
    assert 10 <= runs["a"][0].work["calls"] <= 60 and runs["a"][0].wall_s >= 0.6
    for candidates, times in (({}, 5), ({"a": time.sleep}, 0)):
        with pytest.raises(energy.EnergyError, match=r"expected a .*number from 1"):
            energy.repeat(candidates, times, country="USA")


async def async_generator(*_):
    yield 1


LAZY = lambda *_: (n for n in [1]), lambda *_: Future(), lambda *_: map(abs, [1]), async_generator
LAZY += lambda *_: [1, Future()], lambda *_: {"a": map(abs, [1])}, lambda *_: threading.Thread()
LAZY += (lambda *_: asyncio.sleep(0), lambda *_: {Future()}, lambda *_: deque([async_generator()]))
LAZY += tuple(lambda *_, promise=promise: promise for promise in (psutil.Process(), Process(), TorchFuture()))


@pytest.mark.filterwarnings("ignore:coroutine")
@pytest.mark.parametrize("work", LAZY)
def test_what_returns_at_once_is_not_measured(work):
    for measure in (
        lambda: energy.repeat({"lazy": work}, 1, country="USA"),
        lambda: energy.repeat({"lazy": work}, 1, 0, country="USA"),
        lambda: energy.per_1000("lazy", work, [1], country="USA"),
        lambda: energy.on_this_machine("lazy", work, country="USA"),
    ):
        with pytest.raises(energy.EnergyError, match=r"'lazy' returned a \w+ at once.*list\(...\) around"):
            measure()
    assert meter._running == []
    assert meter.finished("file", file := io.StringIO("a file's lines are there already")) is file


def test_a_verdict_says_what_holds_of_time_and_what_of_energy_and_names_a_winner_where_the_ranking_holds():
    quick, slow = {"wall_s": 5, "method": "measured"}, {"wall_s": 10, "method": "measured"}
    for first, second, verdict, reason in (
        (five(1, 1), five(2, 2), "time undecided, a less energy", "it holds for every guess"),
        (five(1, 1), five(1, 1), "undecided", "the interval of the energy ratio holds 1"),
        (tuple(run(wh, wh) for wh in (0.9, 1.05, 0.92, 0.94, 1.02)), five(1, 1), "undecided", "holds 1"),
        (five(1, 1)[:4], five(2, 2)[:4], "undecided", "4 rounds are too few"),
        # A is quick and hot, B slow and cool: which uses less depends on what the RAM is said to use,
        (five(2, 1), five(1.5, 2), "undecided", "cubic in the load, 0.5 x as high, and 0 x the RAM's"),
        (five(2, 1, wall_s=5), five(1.5, 2), "a takes less time, energy undecided", "does not hold"),
        # or on how the CPU's power is said to grow with its load.
        (five(1, 1, most_w=3_600), five(2, 2, most_w=3_600), "undecided", "flat in the load"),
        (five(2, 1, **slow), five(1.5, 2, **slow), "time undecided, a less energy", "read off a counter"),
        (five(1, 1, **quick), five(2, 2, **slow), "a takes less time and less energy", "read off a counter"),
        (five(2, 2, **quick), five(1, 1, **slow), "a takes less time, b less energy", "read off a counter"),
        (five(10, 10, calls=10), five(2, 2), "a takes less time and less energy", "it holds for every guess"),
        (five(1, 1, load=0.4), five(2, 2), "undecided", "the rounds without them do not say the same"),
        ((run(1, 1, load=0.4), *five(1, 1)[1:]), five(2, 2), "time undecided, a less energy", "every guess"),
    ):
        result = energy.compare({"a": first, "b": second})
        assert result.verdict == verdict and reason in result.reason
        assert result.disturbed == tuple(i + 1 for i, run in enumerate(first) if run.foreign_load)
        assert str(result).endswith(f"; {result.reason}.") != bool(result.disturbed)
        turned = energy.compare({"b": second, "a": first})
        assert turned.verdict == verdict and turned.energy.mean == pytest.approx(1 / result.energy.mean)


def test_of_two_equal_works_five_percent_at_most_are_told_apart():
    draw, told = np.random.default_rng(8), []
    for _ in range(1_000):
        rounds = [[run(wh, wh, wall_s=10 * wh) for wh in np.exp(draw.normal(0, 0.05, 5))] for _ in "ab"]
        found = energy.compare(dict(zip("ab", rounds, strict=True)))
        told.append([found.faster is not None, found.winner is not None])
    time, wh = np.mean(told, axis=0)
    assert 0.03 < time < 0.07 and 0 < wh <= time, "what every guess must give is given less often"


def test_disturbed_rounds_are_named():
    second = five(2, 2)
    assert "rounds 1, 2, 3, 4 and 5 of 5" in str(energy.compare({"a": five(1, 1, load=0.4), "b": second}))
    one = energy.compare({"a": (run(1, 1, load=0.4), *five(1, 1)[1:]), "b": second})
    assert str(one).endswith("beside round 1 of 5."), "the number of a round, not of rounds"
    assert "<td>disturbed</td><td>round 1 of 5</td>" in one._repr_html_()


def test_what_does_not_compare_and_predictions_that_do_not_pair_up_are_refused():
    for runs, message in (
        ({}, "got nothing: expected two candidates with as many rounds"),
        ({"a": five(1, 1)[:1], "b": five(1, 1)[:1]}, "'a' with 1, 'b' with 1: .* two or more"),
        ({"a": five(1, 1), "b": five(1, 1)[1:]}, "'a' with 5, 'b' with 4: expected two candidates"),
        ({"a": five(1, 1), "b": five(1, 1, method="measured")}, "different ways"),
        ({"a": five(None, 1), "b": five(1, 1)}, "unknown energy, which is not 0"),
    ):
        with pytest.raises(energy.EnergyError, match=message):
            energy.compare(runs)
    unpaired = ([1, 2], [1], "2 inputs but 1 labels"), ([1, 2, 3], None, "1 answers to 3 inputs")
    for inputs, labels, message in (([], None, "from 1"), *unpaired):
        with pytest.raises(energy.EnergyError, match=message):
            energy.per_1000("x", lambda batch: [1], inputs, labels, country="USA", batch_size=8)


def test_what_a_comparison_says_and_prints():
    first = [run(n, n, wall_s=10 * n) for n in (1.0, 1.02, 0.99, 1.01, 0.98)]
    result = energy.compare({"a": first, "b": five(2, 2, wall_s=20)})
    assert result.time.rounds == pytest.approx([0.5, 0.51, 0.495, 0.505, 0.49])
    assert result.energies_wh == {"a": (2.0, 1.96, 2.04), "b": (4.0, 4.0, 4.0)}
    assert result.seconds == {"a": (10.0, 9.8, 10.2), "b": (20.0, 20.0, 20.0)}
    assert result.p_sign == 0.0625, "of five rounds that agree; the interval is what judges"
    assert str(result) == (
        "a takes less time and less energy: a / b = 0.500 (0.490 to 0.510) in time, "
        "0.500 (0.490 to 0.510) in energy (assumed), 95 % intervals of 5 rounds; it holds for every guess at "
        "the CPU's power, with and without the RAM's constant; both drew the same power within 3 %, so it is "
        "a verdict of time."
    )
    page = result._repr_html_()
    assert "<td>a</td><td>10.0 s (9.80 to 10.2)</td><td>2.00 Wh (1.96 to 2.04)</td>" in page
    assert "<td>a / b</td><td>0.500 (0.490 to 0.510)</td><td>0.500 (0.490 to 0.510)</td>" in page


@pytest.mark.parametrize(("load", "energy_wh"), [(0.0, 1.0), (0.5, 2.125), (1.0, 10.0)])
def test_a_modelled_power_is_bent_as_another_curve_of_the_same_maximum(load, energy_wh):
    """Of 3.6 kW at most, for 10 s, which is 10 Wh; CodeCarbon's curve is cubic."""
    modelled = run(energy_wh, 1.0, most_w=3_600)
    assert modelled.rescaled(curve="cubic").energy_wh == pytest.approx(energy_wh + 1)
    assert modelled.rescaled(curve="linear").energy_wh == pytest.approx(1 + 9 * load + 1)
    assert modelled.rescaled(curve="flat", cpu=2, ram=0).energy_wh == pytest.approx(20)
    counted, unknown = run(2.0, 1.0, most_w=3_600, method="measured"), run(2.0, 1.0)
    assert counted.rescaled(curve="flat", cpu=2, ram=0) == counted, "a counter is no guess"
    assert unknown.rescaled(curve="flat") == unknown, "of what is not known none is made"


def test_joules_for_1000_predictions():
    def predict(batch):
        time.sleep(0.01)
        return [value % 2 for value in batch]

    settings = {"country": "USA", "batch_size": 4, "tokens": 27.3, "window_s": 0.8}
    result = energy.per_1000("parity", predict, list(range(10)), [0] * 10, **settings)
    assert "batches of 4 x 27 tokens" in str(result) and result.count == result.cost.work["predictions"]
    passes, more = divmod(len(result.latencies_s), 3)
    assert result.count == 10 * passes + 4 * more, "batches of 4, 4 and 2"
    assert result.joules == pytest.approx(result.cost.energy_wh * 3_600 / result.count * 1_000)
    assert result.accuracy == 0.5 and 0.01 <= result.results()["p50_s"] <= result.results()["p90_s"]
    assert result.short and "10 s are asked for" in str(result)
    result = energy.per_1000("one", lambda batch: [1], [1], country="USA", window_s=0.0)
    assert result.joules is result.accuracy is None and "energy unknown" in str(result), "too short to tell"


def training(*qualities):
    for quality in qualities:
        time.sleep(0.2)
        yield quality


def test_training_stops_at_its_target_and_a_miss_is_shown_as_a_miss():
    result = energy.to_target("good", training(0.5, 0.7, 0.9, 0.95), 0.8, country="USA")
    assert result.reached and len(result.curve) == 3 and result.energy_wh == result.cost.energy_wh > 0
    assert str(result).startswith("reached 80.0% after 3 rounds")
    # Of a miss, what it used is known; what it would take to get there is not.
    result = energy.to_target("bad", training(0.5, 0.7, 0.6), 0.8, country="USA")
    assert not result.reached and result.energy_wh is None and result.cost.energy_wh > 0
    assert str(result).startswith("missed 80.0%: 70.0% at best in 3 rounds")
    assert not energy.to_target("none", iter(()), 0.8, country="USA").reached


def reading(machine="a", started=1_000.0, *, label="run", cpu_wh=2.0, method="modelled", country="USA"):
    more = {"label": label, "country": country, "work": {"samples": 10}, "idle_w": 5.0}
    return energy.Reading(machine, started, replace(run(cpu_wh, 1.0, method=method, wall_s=60.0), **more))


def test_two_machines_add_up_and_so_does_one_after_the_other():
    two = [reading("a"), reading("b", 1_030.0, cpu_wh=3.0)]
    total = energy.across(two)
    assert total.energy_wh == energy.across(two[::-1]).energy_wh == pytest.approx(2 + 1 + 3 + 1)
    assert total.cpu_s == 2 and total.work == {"samples": 20}
    assert total.wall_s == 90, "from the first start to the last end"
    assert total.label == "2 readings of 2 machines" and total.co2e_g == pytest.approx(7 / 1_000 * 369)
    assert total.rescaled(cpu=2, ram=0).energy_wh == 10 and total.net_wh is None
    # A run that was killed, and the one that went on: the lost steps are paid for too.
    total = energy.across([reading("a", 1_100.0, label="resumed"), reading("a", 1_000.0, label="killed")])
    assert (total.energy_wh, total.wall_s, total.label) == (6, 160, "2 readings of 1 machine")


def test_a_sum_is_as_good_as_its_weakest_part_and_unknown_stays_unknown():
    total = energy.across([reading("a", method="measured"), reading("b", method="modelled")])
    assert [part.method for part in total.components] == ["modelled", "assumed"]
    total = energy.across([reading("a"), reading("b", cpu_wh=None)])
    assert total.energy_wh is total.method is None and total.components[1].energy_wh == 2
    unread = replace(reading("b").cost, cpu_s=None, foreign_load=None)
    total = energy.across([reading("a"), energy.Reading("b", 1_000.0, unread)])
    assert total.cpu_s is total.foreign_load is None and not total.disturbed


def test_what_does_not_add_up_is_refused():
    for readings, message in (
        ([], "no reading"),
        ([reading("a", 1_000.0), reading("b"), reading("a", 1_059.0)], "would count twice"),
        ([reading("a"), reading("b", country="FRA")], r"FRA with PUE 1 and USA with PUE 1.*Sum each place"),
    ):
        with pytest.raises(energy.EnergyError, match=message):
            energy.across(readings)


def test_the_work_is_done_once_and_its_reading_survives_its_file(monkeypatch, tmp_path):
    calls = []
    seen = energy.on_this_machine("work", lambda: calls.append(1), country="USA")
    assert calls == [1] and seen.machine == energy.machine_id() != "" and seen.cost.label == "work"
    for each in (seen, reading()):
        assert energy.Reading.from_raw(json.loads(json.dumps(each.raw()))) == each
    monkeypatch.setattr(machines, "BOOT", tmp_path / "none")
    assert energy.machine_id() == machines.platform.node()
