"""Meters of the whole machine: what they say, how far off that may be, and what they cannot say."""

import itertools
import json
import plistlib
import random
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from helpers import energy, receipts
from helpers.energy import wall

T0 = 1_764_000_000  # 2025-11-24T16:00:00Z


def block(begin=100.0, seconds=60.0, **more):
    """A block that began so many seconds after `T0`, by CodeCarbon of unknown energy."""
    part = energy.Component("CPU", None, None, "no counter")
    run = energy.Measurement("train", seconds, 1.0, (part,), "USA", 400.0, "a table", 0.0)
    return replace(run, **{"started": T0 + begin} | more)


def read(folder, lines, encoding="utf-8", **settings):
    (folder / "plug.csv").write_text("\n".join(lines), encoding=encoding)
    return energy.from_csv(folder / "plug.csv", **settings)


def recorded(power, every, rising, skip=()):
    """What a meter shows of this power, a function of the seconds since `T0`, until 400."""
    fine = [0.0, *itertools.accumulate(power(tenth / 10) / 36_000 for tenth in range(4_000))]
    times = [every * n for n in range(int(400 / every)) if every * n not in skip]
    values = [(fine[int(at * 10)] if rising else power(at)) // 0.01 * 0.01 for at in times]
    return energy.MeterLog("plug", tuple(T0 + at for at in times), tuple(values), rising, 0.01, every)


@pytest.mark.parametrize("rising", [False, True])
@pytest.mark.parametrize("every", [0.5, 3, 20])
def test_a_constant_power_gives_its_energy_whatever_the_sampling(rising, every):
    log = recorded(lambda at: 90.0, every, rising)
    seen = log.energy_of(block(100, 120))
    assert seen.energy_wh == pytest.approx(3, abs=0.01) and seen.low_wh <= 3 <= seen.high_wh
    if every != 3:  # then a counter was read at both ends
        width_wh = 0.01 if rising else 0.01 * 120 / 3_600
        assert seen.high_wh - seen.low_wh == pytest.approx(2 * width_wh), "a step, up and down"
    assert seen.method == "measured" and seen.co2e_g == pytest.approx(1.2, abs=0.01)
    halves = log.energy_of(block(100, 61.3)), log.energy_of(block(161.3, 58.7))
    assert sum(half.energy_wh for half in halves) == pytest.approx(seen.energy_wh)


@pytest.mark.parametrize("rising", [False, True])
def test_the_range_holds_the_energy_of_a_power_that_jumps(rising):
    draw, held = random.Random(0), 0
    for _ in range(60):
        levels, begin = [draw.choice((40, 60, 140)) for _ in range(400)], draw.uniform(20, 60)
        truth = sum(levels[int(begin + n / 10)] for n in range(3_000)) / 36_000
        seen = recorded(lambda at, levels=levels: levels[int(at)], 2, rising).energy_of(block(begin, 300))
        held += seen.low_wh - 0.005 <= truth <= seen.high_wh + 0.005
    assert held == 60 if rising else held >= 55, "a counter's bounds are sure, two standard errors are not"


def test_a_gap_makes_a_counters_range_wider():
    seen = recorded(lambda at: 90.0, 5, True).energy_of(block())
    without = recorded(lambda at: 90.0, 5, True, skip=range(95, 130)).energy_of(block())
    assert without.low_wh < seen.low_wh <= 1.5 <= seen.high_wh < without.high_wh
    assert recorded(lambda at: 90.0, 5, True).energy_of(block(99.5, 1)).low_wh == 0
    assert "with no reading for 40 s" in without.components[0].source and "W, a block of" in str(without)


def test_clock_phases_idle_power_and_receipts(tmp_path):
    lines = ["time,W", *(f"{T0 + at},{100 if 100 <= at < 160 else 40}" for at in range(300))]
    log, ahead = (read(tmp_path, lines, offset_s=offset) for offset in (0, 25))
    assert log.energy_of(block(100)).results() == ahead.energy_of(block(75)).results()
    jump = log.energy_of(block(99.5, 4))
    assert jump.low_wh < 0.9 * jump.energy_wh and not jump.notes, "which a longer block need not cure"
    phases = block(100, 30, label="a"), block(130, 0.5, label="b")
    net = log.energy_of(block(100, 59, phases=phases), *(energy.Idle(block(at)) for at in (20, 200)))
    assert net.idle_w == pytest.approx(40) and net.net_wh == pytest.approx(59 / 60, abs=0.02)
    parts = [wh for *_, wh in net.breakdown()]
    assert parts == [pytest.approx(30 / 36), None, pytest.approx(29 / 36, abs=0.01)]
    made = receipts.make("how much?", {"run": net}, made_by="a test")
    assert receipts.replay(made).ok and made["method"]["wall"].startswith("measured: plug.csv")
    raw = json.loads(json.dumps(net.raw()))
    assert energy.Measurement.from_raw(raw) == net
    twice = energy.across([energy.Reading(name, T0, net) for name in "ab"])
    assert twice.low_wh == pytest.approx(2 * net.low_wh) and twice.started == T0
    del raw["started"], raw["components"][0]["low_wh"], raw["components"][0]["high_wh"]
    old = energy.Measurement.from_raw(raw)
    assert old.low_wh == pytest.approx(0.95 * old.energy_wh), "an older receipt is read as it was"
    with pytest.raises(energy.EnergyError, match="does not say when it began"):
        log.energy_of(old)
    with energy.measure("now", country="USA") as meter:
        pass
    assert abs(meter.result.started - time.time()) < 30


def test_files_as_meters_write_them(tmp_path):
    home = {"unit": "W", "value": "state", "zone": "America/New_York", "step": 5.0}
    for head, row, settings, step in (  # the row by its minute
        ("time,W", "2025-11-24T16:{0:02}:00Z,90.0", {}, 1),
        ("start_utc,Power (kW)", "2025-11-24T16:{0:02}:00,0.090", {}, 10),
        ("Wärme;Datum;power_w", "x;2025-11-24T17:{0:02}:00+01:00;90,05", {"encoding": "cp1252"}, 0.01),
        ("Zeit\tW", "{1},5\t90", {"encoding": "utf-16"}, 1),
        ("Zeitstempel\tWh", "{1}.0\t{2}", {}, 0.1),
        ("time,total [kWh],W", "{1},{3:.4f},7", {"value": "total [kWh]"}, 0.1),
        ("last_changed,state", "2025-11-24 11:{0:02}:00,90", home, 5),
    ):
        rows = [row.format(n, T0 + 60 * n, 1.5 * n, 0.0015 * n) for n in range(30)]
        log = read(tmp_path, [head, *rows], **settings)
        assert log.energy_of(block(120, 600)).energy_wh == pytest.approx(15, rel=1e-3), head
        assert log.step == pytest.approx(step) and ("decimal comma" in log.notes) == ("90,05" in row)


def test_files_that_say_no_power_are_refused(tmp_path):
    def intervals(*values):  # in a minute each, six times over
        return "|".join(["time,kWh", *(f"{T0 + 60 * n},{x}" for n, x in enumerate(values * 6))])

    one, after = "time,W|1764000000,", "time,W|1764000000,5|"
    for text, settings, message in (
        ("W|5", {}, "0 columns that look like a time: give time=, one of W"),
        ("time,W,kWh|1764000000,5,1", {}, "2 columns that look like a value: give value=, one of time, W"),
        (after, {"value": "power"}, "no column 'power'"), (after, {}, "one reading"),
        ("time,x|1764000000,5", {"value": "x"}, "the unit of 'x' is not told: give unit="),
        ("time,W|2025-11-24 16:00,5", {}, "csv, line 2: '2025-11-24 16:00' with zone=None is no time"),
        ("time,W|2025-11-24 16:00,5", {"zone": "Middle Earth"}, "with zone='Middle Earth' is no time"),
        ("time,W|2025-10-26 02:30,5", {"zone": "Europe/Berlin"}, "twice or never in Europe/Berlin"),
        ("time,W||24.11.2025,5", {}, "line 3: '24.11.2025' with zone=None is no time"),
        ("time,W|1764000000000,5", {}, "or 10 digits since 1970"),
        ('time,W|"1764000000|",5|1764000000,6', {}, "line 4: '1764000000' is not after the time above it"),
        (one + "-5", {}, "line 2: '-5' is no number from 0, of 15 digits at most: is the plug turned around"),
        (one + "unavailable", {}, "'unavailable' is no number from 0, .*Leave out a row"),
        (one + "9" * 400, {}, r"'9+\.\.\.' is no number"), (one + "5." + "0" * 400, {}, "is no number"),
        (intervals(*[0.02] * 15, 0.03), {}, "'kWh' falls 5 times in 96 .* Expected a counter, which only"),
        (intervals(0, 5, 0), {}, "'kWh' falls 6 times in 18 readings: energy of each interval?"),
        (one + "nan", {}, "'nan' is no number"), (one, {}, "'' is no number"),
        ("time;W|1764000000;1.234,5", {}, "'1.234,5' is no number"),
        ("time;W|1764000000;1,234|1764000001;5.5", {}, "commas and points"),
        (after + "1764000001,5", {"step": 0}, "step is 0"),
    ):  # fmt: skip
        with pytest.raises(energy.EnergyError, match=message):
            read(tmp_path, text.split("|"), **settings)


def test_what_a_file_does_not_tell_is_unknown(tmp_path):
    for unit, value, begin, reason, note in (  # the value at a second, the block's begin, the file's note
        ("W", lambda _: 50, 241, "the block reaches 6 s beyond plug.csv: do zone", ""),
        ("W", lambda _: 50, -3_600, "the block reaches 3,600 s beyond plug.csv", ""),
        ("W", lambda s: "50" * (abs(s - 130) > 19), 100, "reading for 40", "1 x no reading, for up to 40 s"),
        ("W", lambda s: "" if s % 50 else 50, 101, "60 s need two at least", ""),
        ("W", lambda _: 0, 100, "shows none yet", ""),
        ("Wh", lambda s: s % 150, 100, "the counter of plug.csv went back", "counter went back in line 32"),
        ("Wh", lambda _: 7, 100, "shows none yet; 5 % takes more than 20 times as long", ""),
        ("W", lambda _: 850_000, 100, "says 850,000 W, more than 50,000 W: a wrong unit, or a reset?", ""),
        ("W", lambda s: 6e4 if s == 130 else 50, 100, "says 60,000 W, more than 50,000 W", ""),
        ("kWh", lambda s: 7 + 0.5 * (s > 130), 100, "says 288,000 W, more than 50,000 W", ""),
        ("kWh", lambda s: s // 150 * 1e5, 100, "more than 50,000 W: a wrong unit, or a reset?", ""),
    ):
        rows = [f"{T0 + s},{value(s)}" for s in range(0, 300, 5) if value(s) != ""]
        log = read(tmp_path, [f"time,{unit}", *rows])
        seen = log.energy_of(block(begin))
        assert seen.energy_wh is seen.low_wh is seen.method is None and reason in str(seen)
        assert len(log.notes) == bool(note) and note in "".join(log.notes)


def test_a_meter_read_by_hand():
    run = block(seconds=1_800, started=None, idle_w=5.0, phases=(block(),))
    seen = energy.by_hand(41.2, 41.25, 0.001, run)
    assert seen.net_wh is None and seen.phases == (), "what was not read with this meter"
    assert (seen.low_wh, seen.energy_wh, seen.high_wh) == pytest.approx((49, 50, 51)) and not seen.notes
    assert seen.method == "measured" and "by hand in steps of 1 Wh" in str(seen.components[0])
    assert "shows none yet" in str(energy.by_hand(41.2, 41.2, 0.001, block()))
    assert "0 W: a wrong unit, or a reset?" in str(energy.by_hand(0, 1e6, 0.001, block()))
    assert "is ±50 %: at 120 W, a block of 600 s has 5 %" in str(energy.by_hand(41.2, 41.202, 0.001, block()))
    for start, stop, step, message in (
        (2, 1.999, 0.001, "went back, 2 to 1.999 kWh: swapped, or was it reset"), (1, 2, 0, "step_kwh is 0"),
        (-1, 2, 0.1, "start_kwh is -1"), (1, None, 0.1, "stop_kwh is None"),
    ):  # fmt: skip
        with pytest.raises(energy.EnergyError, match=message):
            energy.by_hand(start, stop, step, block())


LINUX = {"BAT0/status": "Discharging", "BAT0/energy_now": 40_000_000}
TWO = LINUX | {"BAT1/status": "Not charging", "BAT1/energy_now": 20_000_000}
CHARGE = {"BAT1/status": "Discharging", "BAT1/charge_now": 3_000_000, "BAT1/voltage_now": 12_000_000}
UNPLUGGED = {"ExternalConnected": False, "IsCharging": False, "Voltage": 12_000}
MAC = UNPLUGGED | {"AppleRawCurrentCapacity": 3_000}
MAC_27 = UNPLUGGED | {"BatteryData": {"RemainingCapacity": 3_000}}


@pytest.fixture
def laptop(monkeypatch, tmp_path):
    """A reading of a battery at a time, off files or off what ioreg prints."""

    def read(at, found):
        mac, folder = found is None or "Voltage" in found, Path(tempfile.mkdtemp(dir=tmp_path))
        printed = plistlib.dumps([found]) if found else b""
        for name, value in {} if mac else found.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(f"{value}\n")
        monkeypatch.setattr("sys.platform", "darwin" if mac else "linux")
        monkeypatch.setattr(subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 0, printed))
        monkeypatch.setattr(wall, "POWER", folder)
        return replace(energy.battery(), at=T0 + at)

    return read


def test_a_battery_is_a_meter(laptop):
    for before, change, *expected in (  # the change after half an hour; low, Wh, high
        (LINUX, {"BAT0/energy_now": 32_000_000}, 7.643, 8, 8.274),
        (TWO, {"BAT0/energy_now": 32_000_000}, 7.633, 8, 8.284),
        (CHARGE, {"BAT1/charge_now": 2_300_000, "BAT1/voltage_now": 11_000_000}, 7.339, 8.05, 8.677),
        (MAC, {"AppleRawCurrentCapacity": 2_300, "Voltage": 11_000}, 7.339, 8.05, 8.677),
        (MAC_27, {"BatteryData": {"RemainingCapacity": 2_300}, "Voltage": 11_000}, 7.339, 8.05, 8.677),
    ):
        first, last, run = laptop(90, before), laptop(1_910, before | change), block(100, 1_800)
        seen = last.since(first, run)
        assert (seen.low_wh, seen.energy_wh, seen.high_wh) == pytest.approx(expected, rel=1e-3)
        assert seen.method == "measured" and seen.components[0].name == "battery"
        assert last.since(first, replace(run, started=None)).energy_wh == seen.energy_wh
        beside = [last.since(first, other) for other in (block(80, 1_800), block(100, 1_850))]
        for seen in (first.since(last, run), *beside):
            assert "not read just before and just after" in str(seen)


def test_a_battery_that_tells_nothing_is_unknown_and_stops_nothing(laptop):
    for before, change, reason in (
        (LINUX, {"BAT0/status": "Charging"}, "BAT* say Charging, expected Discharging: unplug it"),
        (LINUX, {"BAT0/status": "Full"}, "BAT* say Full"),
        (TWO, {"BAT1/status": "Charging"}, "say Discharging, Charging"),
        (LINUX, {"BAT0/energy_now": 40_010_000}, "a battery rose or was changed"),
        (LINUX, CHARGE, "a battery rose or was changed"), (LINUX, {}, "shows none yet"),
        (LINUX, {"BAT0/energy_now": 5_000_000}, "says 2,100 W, more than 1,000 W: a wrong unit, or a reset?"),
        (LINUX, {"BAT0/energy_now": ""}, "ValueError("), (CHARGE, {"BAT1/voltage_now": "?"}, "ValueError("),
        ({}, {}, "BAT* say nothing"), (None, None, "is none"), (MAC_27, {"BatteryData": {}}, "KeyError("),
        (MAC, {"ExternalConnected": True}, "is plugged in"), (MAC, {"IsCharging": True}, "is plugged in"),
    ):  # fmt: skip
        seen = laptop(161, before | change if change else before).since(laptop(99, before), block())
        assert seen.energy_wh is seen.low_wh is None and reason in str(seen)
