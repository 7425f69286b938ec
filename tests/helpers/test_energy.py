"""Each figure carries its method, and what is unknown is never 0."""

import dataclasses
import json
import subprocess
import sys
import threading
import time

import pytest

from helpers import energy
from helpers.energy import meter as meter_module
from helpers.energy import sources


def busy(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


@pytest.fixture(autouse=True)
def nothing_runs():
    yield
    assert meter_module._running == []


def test_a_busy_second():
    with energy.measure("busy", country="usa") as meter:
        busy(1.2)
    result = meter.result
    assert 1.2 <= result.wall_s < 10
    assert 0 < result.cpu_s < 10
    assert result.energy_wh > 0
    assert result.energy_wh == pytest.approx(sum(part.energy_wh for part in result.components))
    assert result.method == max((part.method for part in result.components), key=energy.METHODS.index)
    assert result.country == "USA"
    assert result.co2e_g == pytest.approx(result.energy_wh / 1_000 * result.intensity_g_per_kwh)
    assert "2023" in result.intensity_source
    assert str(result.method) in str(result) and "USA" in str(result)
    assert "<table>" in result._repr_html_()
    assert json.loads(json.dumps(result.to_dict()))["energy_wh"] == result.energy_wh


def test_too_short_is_unknown_and_not_zero():
    with energy.measure("nothing", country="USA") as meter:
        pass
    assert meter.result.energy_wh is None
    assert meter.result.method is None
    assert meter.result.co2e_g is None
    assert "too short to tell" in str(meter.result)
    assert "unknown" in meter.result._repr_html_()


def test_a_tracker_that_did_not_start_is_unknown(monkeypatch):
    """What a locked tracker does: it says nothing and gives nothing."""
    import codecarbon

    monkeypatch.setattr(codecarbon.OfflineEmissionsTracker, "start", lambda self: None)
    with energy.measure("lost", country="USA") as meter:
        busy(0.6)
    assert meter.result.wall_s >= 0.6
    assert meter.result.energy_wh is None
    assert "CodeCarbon did not start" in str(meter.result)


@pytest.mark.parametrize("name", ["start", "_measure_power_and_energy"])
def test_a_tracker_that_fails_is_unknown_and_the_work_goes_on(monkeypatch, name):
    import codecarbon

    def broken(self):
        raise OSError("no sensor today")

    monkeypatch.setattr(codecarbon.OfflineEmissionsTracker, name, broken)
    done = False
    with energy.measure("broken", country="USA") as meter:
        done = True
    assert done and meter.result.energy_wh is None and meter.result.co2e_g is None
    assert "OSError: no sensor today" in str(meter.result)


def test_a_lock_that_a_killed_process_left_behind_forbids_nothing(tmp_path, monkeypatch):
    from codecarbon import lock

    stale = tmp_path / ".codecarbon.lock"
    stale.touch()
    monkeypatch.setattr(lock, "LOCKFILE", str(stale))
    with energy.measure("after a crash", country="USA") as meter:
        busy(0.6)
    assert meter.result.energy_wh > 0
    assert stale.exists(), "it belongs to someone else"


def test_a_clock_that_jumps_changes_nothing(monkeypatch):
    """Daylight saving, or a laptop that asks the network for the time."""
    real, jump = time.time, 0.0
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    with energy.measure("jump", country="USA") as meter:
        busy(0.4)
        jump = -3_600.0
        busy(0.4)
        jump = 86_400.0
    assert 0.8 <= meter.result.wall_s < 10
    watts = meter.result.energy_wh * 3_600 / meter.result.wall_s
    assert 0.1 < watts < 2_000


def test_a_total_is_none_as_soon_as_a_part_is():
    parts = (
        energy.Component("CPU", 1.0, "measured", "RAPL counter"),
        energy.Component("RAM", None, None, "no counter"),
    )
    result = energy.Measurement("x", 1.0, 1.0, parts, "USA", 369.0, "table", 0.0)
    assert result.energy_wh is None and result.method is None and result.co2e_g is None


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        (("measured", "measured"), "measured"),
        (("measured", "modelled"), "modelled"),
        (("assumed", "measured", "modelled"), "assumed"),
    ],
)
def test_a_total_is_as_good_as_its_weakest_part(methods, expected):
    parts = tuple(energy.Component(f"part {place}", 1.0, method, "") for place, method in enumerate(methods))
    assert energy.Measurement("x", 1.0, 1.0, parts, "USA", 369.0, "", 0.0).method == expected


@pytest.mark.parametrize(
    ("country", "hint"), [("Germany", "Did you mean DEU"), ("XXX", "three-letter"), ("", "three-letter")]
)
def test_unknown_country(country, hint):
    with pytest.raises(energy.EnergyError, match=hint):
        energy.measure("x", country=country)


def test_no_country_is_an_error():
    with pytest.raises(TypeError, match="country"):
        energy.measure("x")


def test_blocks_may_nest_and_the_breakdown_sums_to_the_total():
    with energy.measure("outer", country="USA") as outer:
        busy(0.6)
        with outer.phase("inner"):
            busy(0.6)
            with energy.measure("innermost", country="DEU") as innermost:
                busy(0.6)
        with outer.phase("inner"):
            time.sleep(0.6)
        with outer.phase("short"):
            pass
    result = outer.result
    assert [phase.label for phase in result.phases] == ["inner", "inner", "short"]
    assert [phase.label for phase in result.phases[0].phases] == ["innermost"]
    assert innermost.result.country == "DEU"
    rows = {label: (seconds, energy_wh) for label, seconds, energy_wh in result.breakdown()}
    assert list(rows) == ["inner", "short", "other"]
    assert rows["short"][1] is None, "too short to tell is not 0"
    total = sum(energy_wh for _, energy_wh in rows.values() if energy_wh is not None)
    assert total == pytest.approx(result.energy_wh, rel=0.01)
    assert sum(seconds for seconds, _ in rows.values()) == pytest.approx(result.wall_s, rel=0.01)
    assert rows["inner"][1] > rows["other"][1] > 0
    assert "other" in result._repr_html_()


def test_two_at_once_are_not_charged_twice():
    """The inner block is part of the outer one, not a second machine."""
    with energy.measure("outer", country="USA") as outer, outer.phase("inner") as inner:
        busy(0.8)
    assert inner.result.energy_wh == pytest.approx(outer.result.energy_wh, rel=0.1)


def test_a_forked_child_starts_with_no_meter():
    import os

    if not hasattr(os, "fork"):
        pytest.skip("this system does not fork")
    with energy.measure("parent", country="USA"):
        child = os.fork()
        if child == 0:
            os._exit(0 if not meter_module._running else 1)
        assert os.waitpid(child, 0)[1] == 0


def test_work_is_counted():
    with energy.measure("batches", country="USA") as meter:
        for _ in range(3):
            meter.count(samples=32, tokens=800)
        busy(0.6)
    assert meter.result.work == {"samples": 96, "tokens": 2_400}
    assert "2,400" in meter.result._repr_html_()


def test_pue_counts_in_the_carbon_alone():
    parts = (energy.Component("CPU", 2.0, "measured", "RAPL counter"),)
    plain = energy.Measurement("x", 1.0, 1.0, parts, "USA", 400.0, "table", 0.0)
    shared = dataclasses.replace(plain, pue=1.5)
    assert shared.energy_wh == plain.energy_wh
    assert shared.co2e_g == pytest.approx(1.5 * plain.co2e_g)
    assert "PUE 1.5" in shared._repr_html_() and "PUE" not in plain._repr_html_()
    with pytest.raises(energy.EnergyError, match="expected a number from 1"):
        energy.measure("x", country="USA", pue=0.9)


def test_each_method_has_its_range():
    for method in energy.METHODS:
        part = energy.Component("CPU", 10.0, method, "")
        low_wh, high_wh = part.range_wh()
        assert low_wh <= 10.0 <= high_wh
    assert energy.Component("CPU", 10.0, "modelled", "").range_wh() == (5.0, 20.0)
    assert energy.Component("RAM", 10.0, "assumed", "").range_wh()[0] == 0


def test_idle_is_taken_off():
    before, after = energy.idle(0.6), energy.idle(0.6)
    assert before.power_w > 0 and "idle:" in str(before)
    with energy.measure("busy", country="USA") as meter:
        busy(0.8)
    result = meter.result.minus_idle(before, after)
    assert result.energy_wh == meter.result.energy_wh, "the gross figure stays"
    mean_w = (before.power_w + after.power_w) / 2
    assert result.net_wh == pytest.approx(result.energy_wh - mean_w * result.wall_s / 3_600)
    assert meter.result.net_wh is None and "net of idle" in str(result)


def test_an_idle_reading_that_is_unknown_leaves_the_net_unknown():
    parts = (energy.Component("CPU", None, None, "no counter"),)
    unknown = energy.Idle(energy.Measurement("idle", 1.0, 0.0, parts, "USA", 369.0, "", 0.0))
    known = (energy.Component("CPU", 1.0, "measured", ""),)
    result = energy.Measurement("x", 1.0, 1.0, known, "USA", 369.0, "", 0.0).minus_idle(unknown)
    assert unknown.power_w is None and result.net_wh is None
    assert "net energy unknown" in str(result)
    with pytest.raises(energy.EnergyError, match="expected a number from 0.5"):
        energy.idle(0)


def test_idle_readings_that_differ_are_noted():
    def reading(energy_wh, foreign_load=0.0):
        parts = (energy.Component("CPU", energy_wh, "measured", ""),)
        return energy.Idle(energy.Measurement("idle", 3_600.0, 0.0, parts, "USA", 369.0, "", foreign_load))

    parts = (energy.Component("CPU", 5.0, "measured", ""),)
    result = energy.Measurement("x", 360.0, 1.0, parts, "USA", 369.0, "", 0.0)
    assert result.minus_idle(reading(10.0), reading(11.0)).notes == ()
    assert "10.0 W and 20.0 W" in str(result.minus_idle(reading(10.0), reading(20.0)))
    assert "too low" in str(result.minus_idle(reading(10.0, foreign_load=0.3)))


def test_it_comes_back_from_its_raw_values():
    with energy.measure("outer", country="USA") as outer:
        with outer.phase("inner"):
            busy(0.6)
        outer.count(samples=3)
    raw = json.loads(json.dumps(outer.result.raw()))
    again = energy.Measurement.from_raw(raw)
    assert again == outer.result
    assert again.results() == outer.result.results()


def test_blocks_may_not_overlap():
    first = energy.start("first", country="USA")
    second = energy.start("second", country="USA")
    with pytest.raises(
        energy.EnergyError, match=r"'first' cannot stop while 'second'.* Stop the inner one first"
    ):
        first.stop()
    second.stop()
    first.stop()
    with pytest.raises(energy.EnergyError, match="'first' is not running"):
        first.stop()


def test_two_threads_may_not_measure_at_once():
    caught = []

    def other():
        try:
            energy.start("other", country="USA")
        except energy.EnergyError as error:
            caught.append(str(error))

    with energy.measure("mine", country="USA"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(caught) == 1 and "'mine' is being measured in another thread" in caught[0]


def test_starting_again_replaces():
    """Running a notebook's first cell twice must not leave two meters behind."""
    first = energy.start("notebook", country="USA")
    energy.start("part", country="USA")
    second = energy.start("notebook", country="USA")
    assert meter_module._running == [second]
    second.stop()
    with pytest.raises(energy.EnergyError, match="is not running"):
        first.stop()


def test_a_meter_serves_once():
    meter = energy.measure("once", country="USA")
    with pytest.raises(energy.EnergyError, match="has not stopped yet"):
        _ = meter.result
    with meter:
        pass
    with pytest.raises(energy.EnergyError, match="was used before"), meter:
        pass


def test_an_error_in_the_block_passes_and_the_meter_stops():
    meter = energy.measure("broken", country="USA")
    with pytest.raises(ZeroDivisionError), meter:
        1 / 0  # noqa: B018
    assert meter.result.wall_s > 0


def test_children_count():
    """A child process that has ended before the block does is not lost."""
    with energy.measure("child", country="USA") as meter:
        code = "import time; end = time.process_time() + 0.7\nwhile time.process_time() < end: pass"
        subprocess.run([sys.executable, "-c", code], check=True)
    assert meter.result.cpu_s >= 0.7


def test_grandchildren_count_while_their_parent_lives():
    """A shell that stays keeps the CPU seconds of the programs that it has run."""
    burn = "import time; end = time.process_time() + 0.7\nwhile time.process_time() < end: pass"
    script = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}]); "
        "print('done', flush=True); input()"
    )
    with energy.measure("grandchild", country="USA") as meter:
        child = subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        child.stdout.readline()
    child.communicate("\n")
    assert meter.result.cpu_s >= 0.7


def test_foreign_load_is_reported(monkeypatch):
    """Half of the machine's time went to others: say so beside the figure."""
    import psutil

    readings = iter([100.0, 100.0 + 0.5 * psutil.cpu_count()])
    monkeypatch.setattr(sources, "busy_cpu_seconds", lambda: next(readings))
    with energy.measure("beside a neighbor", country="USA") as meter:
        time.sleep(1)
    assert 0.3 < meter.result.foreign_load <= 0.5
    assert "other processes used" in str(meter.result)
    assert meter.result.disturbed


def test_no_file_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with energy.measure("tidy", country="USA"):
        busy(0.6)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.00093, "0.000930"),
        (0.0233, "0.0233"),
        (1.5, "1.50"),
        (123.4, "123"),
        (12_345.6, "12,346"),
        (0, "0"),
    ],
)
def test_figures_have_three_digits_and_no_exponent(value, shown):
    assert energy.significant_digits(value) == shown
