"""Each figure carries its method, and what is unknown is never 0."""

import json
import subprocess
import sys
import threading
import time

import pytest

from helpers import energy


def busy(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


@pytest.fixture(autouse=True)
def nothing_runs():
    yield
    assert energy._running == []


def test_a_busy_second():
    with energy.measure("busy", country="usa") as meter:
        busy(1.2)
    result = meter.result
    assert 1.2 <= result.wall_s < 10
    assert 0.5 < result.cpu_s < 10
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


def test_a_tracker_that_gives_nothing_is_unknown(monkeypatch):
    meter = energy.measure("lost", country="USA")
    with meter:
        busy(0.6)
        meter._tracker.stop = lambda: None
        scheduler, monitor = meter._tracker._scheduler, meter._tracker._scheduler_monitor_power
    scheduler.stop()
    monitor.stop()
    assert meter.result.energy_wh is None
    assert "CodeCarbon returned no figure" in str(meter.result)


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


def test_blocks_may_nest():
    with energy.measure("outer", country="USA") as outer:
        busy(0.6)
        with energy.measure("inner", country="USA") as inner:
            busy(0.6)
    assert 0 < inner.result.energy_wh < outer.result.energy_wh


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
    assert energy._running == [second]
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


def test_foreign_load_is_reported(monkeypatch):
    """Half of the machine's time went to others: say so beside the figure."""
    import psutil

    readings = iter([100.0, 100.0 + 0.5 * psutil.cpu_count()])
    monkeypatch.setattr(energy, "_busy_cpu_seconds", lambda: next(readings))
    with energy.measure("beside a neighbor", country="USA") as meter:
        time.sleep(1)
    assert 0.3 < meter.result.foreign_load <= 0.5
    assert "other processes used" in str(meter.result)


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
    assert energy._digits(value) == shown
