"""Each figure carries its method, what is unknown is never 0, and measuring never stops the work."""

import dataclasses
import inspect
import json
import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import Mock

import psutil
import pytest
from codecarbon import lock
from codecarbon.core import hardware_cache
from codecarbon.emissions_tracker import BaseEmissionsTracker, OfflineEmissionsTracker

from helpers import energy
from helpers.energy import meter, sources, tracker
from tests.shared import python

BURN = "import time; end = time.process_time() + 0.7\nwhile time.process_time() < end: pass"


def busy(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def measurement(*parts, label="x", wall_s=1.0, foreign=0.0, **changes):
    """Of parts such as ("CPU", 1.0, "measured")."""
    components = tuple(energy.Component(name, wh, method, "a source", 8.0) for name, wh, method in parts)
    return energy.Measurement(label, wall_s, 1.0, components, "USA", 400.0, "a table", foreign, **changes)


@pytest.fixture(autouse=True)
def nothing_runs():
    yield
    assert meter._running == []


def test_a_busy_second_and_what_of_it_is_not_the_idle_machines():
    before = energy.idle(0.6)
    with energy.measure("busy", country="usa") as meter:
        for _ in range(3):
            busy(0.4)
            meter.count(samples=32, tokens=800)
    result, after = meter.result, energy.idle(0.6)
    assert 1.2 <= result.wall_s < 10 and 0 < result.cpu_s < 10
    assert result.energy_wh == pytest.approx(sum(part.energy_wh for part in result.components)) != 0
    assert result.method == max((part.method for part in result.components), key=energy.METHODS.index)
    assert result.country == "USA" and "2023" in result.intensity_source
    assert result.co2e_g == pytest.approx(result.energy_wh / 1_000 * result.intensity_g_per_kwh)
    assert result.work == {"samples": 96, "tokens": 2_400} and "2,400" in result._repr_html_()
    assert json.loads(json.dumps(result.results()))["energy_wh"] == result.energy_wh
    net, mean_w = result.minus_idle(before, after), (before.power_w + after.power_w) / 2
    assert net.net_wh == pytest.approx(result.energy_wh - mean_w * result.wall_s / 3_600)
    assert net.energy_wh == result.energy_wh and result.net_wh is None, "the gross figure stays"
    assert before.power_w > 0 and "idle:" in str(before) and "net of idle" in str(net)


FAILED = "CodeCarbon failed: OSError: no sensor today"
CODECARBON = "codecarbon.OfflineEmissionsTracker."
UNREAD = [  # since when, what, the reason that is given, and what is known in spite of it
    ("start", "codecarbon.emissions_tracker.warn_on_multi_rank_double_counting", FAILED, "cpu load"),
    ("start", f"{CODECARBON}_ensure_hardware_ready", FAILED, "cpu load"),
    ("start", "threading.Thread.start", FAILED, "cpu load"),  # the system has no more threads
    ("start", "psutil.virtual_memory", "unknown (", "cpu load"),
    ("start", "codecarbon.input.DataSource.get_global_energy_mix_data", "(OSError", "energy cpu load"),
    ("start later", f"{CODECARBON}_measure_power_and_energy", FAILED, "cpu load"),
    ("start later", "psutil.cpu_times", "load of other processes cannot be read here (OSErr", "cpu"),
    ("start later", "psutil.PROCFS_PATH", "load of other processes cannot be read here (TypeErr", "cpu"),
    ("start", "psutil.cpu_count", "the number of cores cannot be read here (OSErr", "cpu"),
    ("later", "psutil.cpu_count", "the number of cores cannot be read here (OSErr", "energy cpu"),
    ("start later", "psutil.Process.children", "it started cannot be read here (OSErr", "energy cpu"),
    ("start later", "os.times", "the CPU time of this process cannot be read here (OSErr", "energy"),
]
UNREAD = [(since, *row) for times, *row in UNREAD for since in times.split()]


@pytest.mark.parametrize(("since", "name", "reason", "known"), UNREAD)
def test_what_cannot_be_read_is_unknown_and_stops_nothing(monkeypatch, tmp_path, since, name, reason, known):
    (tmp_path / "stat").touch()  # all that there is in this /proc
    value = str(tmp_path) if name.endswith("PATH") else Mock(side_effect=OSError("no sensor today"))
    monkeypatch.setattr(sources, "MIN_SECONDS", 0.01)
    if since == "start":
        monkeypatch.setattr(name, value)
    with pytest.raises(ZeroDivisionError), energy.measure("failing", country="USA") as meter:
        monkeypatch.setattr(name, value)
        time.sleep(0.02)
        1 / 0  # noqa: B018
    found = meter.result
    assert reason in f"{found} {found.intensity_source}"
    figures = {"energy": found.energy_wh, "cpu": found.cpu_s, "load": found.foreign_load}
    assert [name for name, value in figures.items() if value is not None] == known.split()
    assert energy.Measurement.from_raw(json.loads(json.dumps(found.raw()))) == found and found._repr_html_()


GONE = [(sys.modules, "codecarbon", None), (tracker.PINNED, "codecarbon", None)]
GONE += [(tracker.PINNED, f"{CODECARBON}_measure_power_and_energy", Mock(side_effect=SystemExit))]


@pytest.mark.parametrize(("where", "name", "value"), GONE)
def test_a_codecarbon_that_is_absent_or_another_stops_nothing(monkeypatch, where, name, value):
    monkeypatch.setitem(where, name, value)
    with pytest.raises(ZeroDivisionError), energy.measure("without it", country="USA") as meter:
        1 / 0  # noqa: B018
    assert "machine unknown (CodeCarbon failed: " in str(meter.result)


@pytest.mark.parametrize(("slow", "reason"), [(True, "the readings are slow"), (False, "more than 0.3 s")])
def test_a_slow_sensor_holds_no_block_up_and_is_not_charged_to_it(monkeypatch, slow, reason):
    read, over = OfflineEmissionsTracker._measure_power_and_energy, threading.Event()

    def sluggish(codecarbon):
        in_thread = threading.current_thread() is not threading.main_thread()
        over.wait(0.25 if slow else 60 if in_thread else 0)
        read(codecarbon)

    monkeypatch.setattr(f"{CODECARBON}_measure_power_and_energy", sluggish)
    monkeypatch.setattr(tracker, "PATIENCE_S", 0.3)
    monkeypatch.setattr(tracker, "EVERY_S", 10.0 if slow else 0.01)
    with energy.measure("slow", country="USA") as meter:
        time.sleep(0.6)
    over.set()
    meter._reader._thread.join()
    assert meter.result.energy_wh is None and reason in str(meter.result)


def test_a_thread_that_ends_is_seen(monkeypatch):
    monkeypatch.setattr(tracker.Reader, "_watch", lambda self: None)
    with energy.measure("half dead", country="USA") as meter:
        meter._reader._thread.join(5)
    assert "the thread that reads the machine has ended" in str(meter.result)


@pytest.fixture
def look(monkeypatch, tmp_path):
    """What the tracker is set to and which parts it finds, looked at anew."""

    def at():
        hardware_cache.clear_cache()
        reader = tracker.Reader()
        with reader._caught():
            found = reader._tracker._conf, list(reader._parts())
        reader.stop()
        assert reader.failure is None
        return found

    for name in ("home", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    yield at
    hardware_cache.clear_cache()


@pytest.mark.parametrize("value", ["7", "true", "process"])
def test_nothing_around_the_tracker_sets_it_or_bends_a_figure(look, monkeypatch, tmp_path, value):
    """Every parameter that CodeCarbon has, those of a later version too, as a variable and in a file."""
    plain, kinds = look(), (BaseEmissionsTracker, OfflineEmissionsTracker)
    keys = {key for kind in kinds for key in inspect.signature(kind.__init__).parameters}
    assert {"pue", "force_ram_power", "country_iso_code"} <= keys
    text = "[codecarbon]\n" + "".join(f"{key} = {value}\n" for key in keys)
    (tmp_path / "here" / ".codecarbon.config").write_text(text)
    bad = b"[codecarbon]\noutput_dir = nowhere\n", b"output_dir = x\n", b"[codecarbon]\noutput_dir = %\n"
    for text in (*bad, b"\xef\xbb\xbf[codecarbon]\npue = 2\n", b"\xff\xfe[\x00"):
        (tmp_path / "home" / ".codecarbon.config").write_bytes(text)
        assert look() == plain, text
    for key in keys:
        monkeypatch.setenv(f"CODECARBON_{key.upper()}", value)
    assert look() == plain
    # A Slurm job that has a share of the machine, `lscpu` in another language, no path to programs:
    monkeypatch.setattr("codecarbon.core.util.SLURM_JOB_ID", "1")
    monkeypatch.setattr("codecarbon.external.ram.SLURM_JOB_ID", "1")
    monkeypatch.setattr("codecarbon.emissions_tracker.count_physical_cpus", lambda: 64)
    monkeypatch.setenv("PATH", "")
    assert look() == plain


def test_neither_a_lock_left_behind_nor_a_clock_that_jumps_changes_anything(tmp_path, monkeypatch):
    """A process was killed; daylight saving, or a laptop that asks the network for the time."""
    stale = tmp_path / ".codecarbon.lock"
    stale.touch()
    monkeypatch.setattr(lock, "LOCKFILE", str(stale))
    real, jump = time.time, 0.0
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    with energy.measure("after a crash", country="USA") as meter:
        busy(0.4)
        jump = -3_600.0
        busy(0.4)
        jump = 86_400.0
    assert 0.8 <= meter.result.wall_s < 10
    assert 0.1 < meter.result.energy_wh * 3_600 / meter.result.wall_s < 2_000
    assert stale.exists(), "the lock belongs to someone else"


def test_with_an_unknown_part_all_is_unknown_and_each_method_has_its_range():
    result = measurement(("CPU", 1.0, "measured"), ("RAM", None, None))
    assert result.energy_wh is result.method is result.co2e_g is result.low_wh is None
    for method, ends in {"measured": (9.5, 10.5), "modelled": (5.0, 20.0), "assumed": (0.0, 20.0)}.items():
        result = measurement(("CPU", 10.0, method))
        assert (result.low_wh, result.high_wh) == result.components[0].range_wh() == ends


def test_places_and_what_they_add():
    plain = measurement(("CPU", 2.0, "measured"))
    shared = dataclasses.replace(plain, pue=1.5)
    assert (shared.energy_wh, shared.co2e_g) == (plain.energy_wh, pytest.approx(1.5 * plain.co2e_g))
    assert "PUE 1.5" in shared._repr_html_() and "PUE" not in plain._repr_html_()
    for country, hint in {"Germany": "Did you mean DEU", "XXX": "three-letter", "": "three-letter"}.items():
        with pytest.raises(energy.EnergyError, match=hint):
            energy.measure("x", country=country)
    with pytest.raises(energy.EnergyError, match=r"pue is 0.9: expected a number from 1"):
        energy.measure("x", country="USA", pue=0.9)
    with pytest.raises(TypeError, match="country"):
        energy.measure("x")


def test_blocks_may_nest_and_the_breakdown_sums_to_the_total():
    with energy.measure("outer", country="USA") as outer:
        busy(0.6)
        with energy.measure("inner", country="USA"):
            busy(0.6)
            with energy.measure("innermost", country="DEU") as innermost:
                busy(0.6)
        with energy.measure("inner", country="USA"):
            time.sleep(0.6)
        with energy.measure("short", country="USA") as short:
            pass
    result, brief = outer.result, short.result
    assert [phase.label for phase in result.phases] == ["inner", "inner", "short"]
    assert [phase.label for phase in result.phases[0].phases] == ["innermost"]
    assert innermost.result.country == "DEU"
    rows = {label: figures for label, *figures in result.breakdown()}
    assert list(rows) == ["inner", "short", "other"]
    assert rows["short"][1] is brief.energy_wh is brief.method is brief.co2e_g is None, "and not 0"
    assert "too short to tell" in str(brief) and "unknown" in brief._repr_html_()
    total = sum(energy_wh for _, energy_wh in rows.values() if energy_wh is not None)
    assert total == pytest.approx(result.energy_wh, rel=0.01)
    assert sum(seconds for seconds, _ in rows.values()) == pytest.approx(result.wall_s, rel=0.01)
    assert rows["inner"][1] > rows["other"][1] > 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_starts_with_no_meter():
    with energy.measure("parent", country="USA"):
        child = os.fork()
        if child == 0:
            os._exit(0 if not meter._running else 1)
        assert os.waitpid(child, 0)[1] == 0


def test_idle_readings_that_are_unknown_or_differ_are_noted():
    def reading(energy_wh, method="measured", foreign=0.0):
        return energy.Idle(measurement(("CPU", energy_wh, method), wall_s=3_600.0, foreign=foreign))

    result = measurement(("CPU", 5.0, "measured"), wall_s=360.0)
    assert result.minus_idle(reading(10.0), reading(11.0)).notes == ()
    assert "10.0 W and 20.0 W" in str(result.minus_idle(reading(10.0), reading(20.0)))
    assert "too low" in str(result.minus_idle(reading(10.0, foreign=0.3)))
    for readings in ([reading(None, None)], [reading(None, None), reading(10.0)], []):
        unknown = result.minus_idle(*readings)
        assert unknown.net_wh is None and "net energy unknown" in str(unknown)
    with pytest.raises(energy.EnergyError, match=r"expected a number from 0.5"):
        energy.idle(0)


def test_blocks_may_not_overlap_nor_two_threads_and_a_meter_serves_once():
    first = energy.start("first", country="USA")
    with pytest.raises(energy.EnergyError, match="has not stopped yet"):
        _ = first.result
    refused = pytest.raises(energy.EnergyError, match="'first' is being measured in another thread")
    with ThreadPoolExecutor(1) as pool, refused:
        pool.submit(energy.start, "other", country="USA").result()
    second = energy.start("second", country="USA")
    with pytest.raises(energy.EnergyError, match=r"'first' cannot stop while 'second'.* Stop the inner one"):
        first.stop()
    second.stop()
    first.stop()
    with pytest.raises(energy.EnergyError, match="'first' is not running"):
        first.stop()
    with pytest.raises(energy.EnergyError, match="was used before"), first:
        pass


def test_starting_again_replaces_and_a_block_leaves_none_running():
    """Running a notebook's first cell twice must not leave two meters behind."""
    first = energy.start("notebook", country="USA")
    energy.start("part", country="USA")
    with pytest.raises(energy.EnergyError, match="no country"):
        energy.start("notebook", country="XXX")
    assert meter._running[0] is first, "a start that fails replaces nothing"
    second = energy.start("notebook", country="USA")
    assert meter._running == [second]
    second.stop()
    with pytest.raises(energy.EnergyError, match="is not running"):
        first.stop()
    with pytest.raises(energy.EnergyError, match="'outer' cannot stop while 'inner'"):  # noqa: SIM117
        with energy.measure("outer", country="USA"):
            energy.start("inner", country="USA")


def test_the_error_of_a_block_passes_whatever_the_meter_thinks_of_it():
    left_running = lambda: energy.start("inner", country="USA")  # noqa: E731
    started_anew = lambda: energy.start("block", country="USA").stop()  # noqa: E731
    for meanwhile in (left_running, started_anew, bool):
        with pytest.raises(ZeroDivisionError), energy.measure("block", country="USA") as meter:
            meanwhile()
            1 / 0  # noqa: B018
    assert meter.result.wall_s > 0


def test_children_count_and_grandchildren_while_their_parent_lives():
    """A child that has ended before the block does is not lost, nor what a shell that stays has run."""
    with energy.measure("child", country="USA") as meter:
        python("-c", BURN)
    assert meter.result.cpu_s >= 0.7
    command = [sys.executable, "-c", BURN]
    script = f"import subprocess; subprocess.run({command}); print(1, flush=True); input()"
    with energy.measure("grandchild", country="USA") as meter:
        child = subprocess.Popen([*command[:2], script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        child.stdout.readline()
    child.communicate(b"\n")
    assert meter.result.cpu_s >= 0.7


def test_a_machine_that_shows_less_than_this_process_used_hides_the_others(monkeypatch):
    """As where a sandbox fills /proc/stat with zeros; that nobody else works there would be a claim."""
    monkeypatch.setitem(sources.CPU_READINGS, "load of other processes", lambda: 0.0)
    with energy.measure("in a sandbox", country="USA") as meter:
        exec(BURN)
    assert meter.result.foreign_load is None
    assert "load of other processes cannot be read here" in str(meter.result)


@pytest.mark.parametrize(("share", "disturbed"), [(0.05, False), (0.4, True)])
def test_foreign_load_is_reported(monkeypatch, share, disturbed):
    own = sources.CPU_READINGS["CPU time of this process"]
    load = lambda: share * psutil.cpu_count() * time.perf_counter() + own()  # noqa: E731
    monkeypatch.setitem(sources.CPU_READINGS, "load of other processes", load)
    with energy.measure("beside a neighbor", country="USA") as meter:
        time.sleep(1)
    assert meter.result.foreign_load == pytest.approx(share, abs=0.05)
    assert meter.result.disturbed == disturbed == ("other processes used" in str(meter.result))


def test_what_a_measurement_prints_with_three_digits_and_no_exponent():
    shown = {0.0233: "0.0233", 123.4: "123", 0: "0", 0.9996: "1.00", 99.96: "100", -0.5: "-0.500"}
    assert {value: energy.significant_digits(value) for value in shown} == shown
    parts = ("CPU", 1.0, "modelled"), ("RAM", 2.0, "assumed")
    inner = measurement(parts[0], label="load", wall_s=0.5)
    result = measurement(*parts, label="run", wall_s=10.0, idle_w=360.0, notes=("a",), phases=(inner,))
    line = "run: 10.0 s, 1.0 CPU s, 3.00 Wh assumed (CPU 1.00 modelled, RAM 2.00 assumed; 0.500 to 6.00), "
    line += "net of idle 2.00 Wh, 1.20 g CO2e (USA). Note: a."
    assert str(result) == repr(result) == line
    idle = "idle: 1,080 W assumed (CPU 360 modelled, RAM 720 assumed), over 10.0 s."
    assert str(energy.Idle(result)) == idle
    cells = re.findall("<td>(.*?)</td>", result._repr_html_())
    names = ["time", "CPU", "RAM", "total", "net of idle", "carbon", "· load", "· other", "note"]
    values = ["10.0 s on the clock, 1.0 s of CPU", "1.00 Wh", "2.00 Wh", "3.00 Wh", "2.00 Wh", "1.20 g CO2e"]
    assert cells[::5] == names and cells[1::5] == [*values, "0.5 s, 1.00 Wh", "9.5 s, 2.00 Wh", "a"]
    ranges = ["", "0.500 to 2.00", "0 to 4.00", "0.500 to 6.00", "", "0.200 to 2.40", "", "", ""]
    assert cells[2::5] == ranges and cells[3::5] == ["clock", "modelled", *["assumed"] * 6, ""]
