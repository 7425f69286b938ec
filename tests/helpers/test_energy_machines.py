"""Energy of several machines: each one counts once."""

import dataclasses
import json

import pytest

from helpers import energy
from helpers.energy import machines


def reading(machine="a", started=1_000.0, *, label="run", cpu_wh=2.0, method="modelled", country="USA"):
    cpu = energy.Component("CPU", cpu_wh, None if cpu_wh is None else method, "a model", 100.0)
    parts = cpu, energy.Component("RAM", 1.0, "assumed", "constant 20 W", 20.0)
    more = {"work": {"samples": 10}, "idle_w": 5.0}
    cost = energy.Measurement(label, 60.0, 50.0, parts, country, 400.0, "a table", 0.0, **more)
    return energy.Reading(machine, started, cost)


def test_two_machines_add_up_and_so_does_one_after_the_other():
    two = [reading("a"), reading("b", 1_030.0, cpu_wh=3.0)]
    total = energy.across(two)
    assert total.energy_wh == energy.across(two[::-1]).energy_wh == pytest.approx(2 + 1 + 3 + 1)
    assert total.cpu_s == 100 and total.work == {"samples": 20}
    assert total.wall_s == 90, "from the first start to the last end"
    assert total.label == "2 readings of 2 machines" and total.co2e_g == pytest.approx(7 / 1_000 * 400)
    assert total.rescaled(cpu=2, ram=0).energy_wh == 10 and total.net_wh is None
    # A run that was killed, and the one that went on: the lost steps are paid for too.
    total = energy.across([reading("a", 1_100.0, label="resumed"), reading("a", 1_000.0, label="killed")])
    assert (total.energy_wh, total.wall_s, total.label) == (6, 160, "2 readings of 1 machine")


def test_a_sum_is_as_good_as_its_weakest_part_and_unknown_stays_unknown():
    total = energy.across([reading("a", method="measured"), reading("b", method="modelled")])
    assert [part.method for part in total.components] == ["modelled", "assumed"]
    total = energy.across([reading("a"), reading("b", cpu_wh=None)])
    assert total.energy_wh is total.method is None and total.components[1].energy_wh == 2
    unread = dataclasses.replace(reading("b").cost, cpu_s=None, foreign_load=None)
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
