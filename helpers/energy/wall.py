"""Meters of the whole machine: a plug's or logger's file, one read by hand, a laptop's battery.

Each gives a measured block again, with one component, "wall" or "battery", for CodeCarbon's: all that the
machine drew, in a range from the meter's steps and times. What its maker states as accuracy comes on top.
"""

import plistlib
import re
import subprocess
import sys
import time as clock
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from helpers.energy.records import Component, EnergyError, Idle, Measurement
from helpers.tables import Table, listed, read_table, shown
from helpers.values import quantity, require_range

POWER = Path("/sys/class/power_supply")  # where Linux keeps its batteries
IOREG = ("ioreg", "-rn", "AppleSmartBattery", "-a")  # what tells macOS's, as XML
UNITS = {"w": 1.0, "kw": 1_000.0, "wh": 1.0, "kwh": 1_000.0}
TIME = r"(?<![a-z])(?:date|datum|time|zeit|utc|last_changed)"  # in a column's name, in small letters
VALUE = r"(?<![^\W\d_])k?wh?(?![^\W\d_])"  # a unit alone, without a letter beside it
GAP = 3  # times the usual interval: no reading for longer is a gap
GOAL = 0.05  # of a figure: a wider range gets a note
MOST_W = {"wall": 50_000.0, "battery": 1_000.0}  # no machine at a plug, and no laptop, draws more
LATE_S = 60.0  # by which a battery's gauge may be late: macOS asks it once a minute
STEP_WH, STEP_AH = 0.01, 0.001  # of such a gauge, by the Smart Battery Data Specification 1.1

Found = tuple[str, float | None, float, float]  # source, Wh, its low and high end; or why it is unknown, None
Packs = tuple[tuple[float, float], ...]  # of each battery the Wh left and 1; if it tells none, Ah and volts


@dataclass(frozen=True, repr=False)
class MeterLog:
    """What a meter recorded: W, or Wh so far if it is `rising`, at `times_s` since 1970. Made by `from_csv`.

    `step` is in W or Wh, `interval_s` the median time between two readings; `notes` tell of gaps and resets.
    """

    name: str
    times_s: tuple[float, ...]
    values: tuple[float, ...]
    rising: bool
    step: float
    interval_s: float
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        step = f"{self.step:.3g} {'Wh' if self.rising else 'W'}"
        return f"{self.name}, read every {self.interval_s:.3g} s in steps of {step}"

    def energy_of(self, run: Measurement, *idle: Idle) -> Measurement:
        r"""The block and its phases again, with the energy that the meter saw, lined up by the clock.

        Given readings of `energy.idle`, what they drew by the same meter is taken off in `net_wh`.

        A counter in steps of r Wh rose in the block by at most the difference of the readings just outside of
        it, plus r, and at least that of those just inside, less r. Power in steps of r W is joined by lines,
        over T s; the range is :math:`T r + \sqrt{2 \sum (\Delta P\,\Delta t)^2}` to both sides, over the
        intervals that the block touches: a step, and two standard errors of samples at equal distances (by
        successive differences: Wolter, "Introduction to Variance Estimation").

        Unknown, with the reason, is a block that reaches beyond the file, has a counter's reset, a gap in the
        power, or fewer than two readings of it. A `run` without its start raises `EnergyError`.
        """
        if run.started is None:
            raise EnergyError(f"{run.label!r} does not say when it began: measure it with this version.")
        found = _seen(run, "wall", self._read(run.started, run.started + run.wall_s), of_ends=self.rising)
        found = replace(found, phases=tuple(self.energy_of(phase) for phase in run.phases))
        return found.minus_idle(*(Idle(self.energy_of(each.reading)) for each in idle)) if idle else found

    def _read(self, begin: float, end: float) -> Found:
        if (out := max(self.times_s[0] - begin, end - self.times_s[-1])) > 0:
            return f"the block reaches {out:,.0f} s beyond {self.name}: do zone and offset_s fit?", None, 0, 0
        first, last = np.searchsorted(self.times_s, begin, "right") - 1, np.searchsorted(self.times_s, end)
        times, values = (np.array(each[first : last + 1]) for each in (self.times_s, self.values))
        gaps, rises, inside = np.diff(times), np.diff(values), (begin <= times) & (times <= end)
        gap = f", with no reading for {gaps.max():.0f} s" if gaps.max() > GAP * self.interval_s else ""
        source = f"{self}{gap}"
        grid = np.unique([begin, *times[inside], end])
        powers = (rises - self.step) * 3_600 / gaps if self.rising else values
        curve = np.interp(grid, times, values)
        if self.rising and (rises < 0).any():
            return f"the counter of {self.name} went back: a reset?", None, 0, 0
        if powers.max() > MOST_W["wall"]:  # even by the least that a step of the counter stands for
            return f"{self.name} {_too_much(powers.max(), 'wall')}", None, 0, 0
        if self.rising:
            low = np.ptp(values[inside]) - self.step if inside.any() else 0.0
            return source, curve[-1] - curve[0], low, values[-1] - values[0] + self.step
        if gap or inside.sum() < 2:
            return f"{source}; {end - begin:.3g} s need two at least, and no gap", None, 0, 0
        energy = np.trapezoid(curve, grid)
        half = (end - begin) * self.step + np.sqrt(2 * np.sum((rises * gaps) ** 2))
        return source, energy / 3_600, (energy - half) / 3_600, (energy + half) / 3_600


def from_csv(
    path: str | Path,
    zone: str | None = None,
    *,
    time: str | None = None,
    value: str | None = None,
    unit: str | None = None,
    step: float | None = None,
    offset_s: float = 0.0,
) -> MeterLog:
    r"""Read a CSV file of a plug or a logger: a column of times, and one of power or of a rising counter.

    Times are ISO 8601, in `zone` (such as "Europe/Berlin") or UTC (a column "..._utc") where they name none
    themselves, or seconds since 1970; a comma is a decimal comma. `time`, `value` and `unit` are the columns,
    and W, kW, Wh or kWh, where no names tell, such as "Date", "power_w" or "Total (kWh)". `step` is in the
    column's unit, one in the last digit that it uses if not given, `offset_s` how far its clock is ahead.

    Raises `EnergyError`, with the line, for a value that is no number from 0, and a time without a zone or
    not after the one before it; if the columns do not tell what they are, or `read_table` refuses it; and for
    the energy of each interval, which is no counter.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path, rows = Path(folder, "plug.csv"), (f"{1_764_000_000 + s};90,5" for s in range(60))
    ...     _ = path.write_text("\n".join(["time;power (W)", *rows]))
    ...     log = from_csv(path)
    >>> run = Measurement("train", 40.0, None, (), "USA", 369.0, "2023", None, started=1_764_000_010.0)
    >>> print(log.energy_of(run).components[0])
    wall 1.01 Wh measured (plug.csv, read every 1 s in steps of 0.1 W)
    """
    path, table = Path(path), read_table(path, EnergyError)
    time, value = _column(path, table, "time", TIME, time), _column(path, table, "value", VALUE, value)
    unit = (unit or "".join(re.findall(VALUE, value.lower())[:1])).lower()
    if unit not in UNITS:
        what = f"the unit of {value!r} is {unit or 'not told'}"
        raise EnergyError(f"{path.name}: {what}: give unit=, one of W, kW, Wh or kWh.")
    zone, rising = zone or ("UTC" if "utc" in time.lower() else None), unit.endswith("h")
    times, values = list[float](), list[float]()
    for line, when, text in zip(table.lines, table.columns[time], table.columns[value], strict=True):
        try:
            times.append(_seconds(when.strip(), zone) - offset_s)
            values.append(_number(text.strip()) * UNITS[unit])
            if len(times) > 1 and times[-1] <= times[-2]:
                raise ValueError(f"{shown(when)} is not after the time above it: sort, and keep one of each")
        except ValueError as why:
            raise EnergyError(f"{path.name}, line {line}: {why}.") from None
    if len(times) < 2:
        raise EnergyError(f"{path.name} has one reading: expected two at least, around a block.")
    if "," in (text := " ".join(table.columns[value])) and "." in text:
        raise EnergyError(f"{path.name} has commas and points in {value!r}: expected one, as a decimal mark.")
    digits = max(map(len, re.findall(r"[.,](\d*[^\D0])", text)), default=0)
    step = 10.0**-digits if step is None else step
    require_range("step", step, 0, above=True, error=EnergyError)
    rises = np.diff(values)
    falls = np.flatnonzero(rising & (rises < 0))
    resets = np.array(values)[falls + 1] <= rises.max()  # then no more was counted anew than in one interval
    if len(falls) > max(2, len(values) / 10) or sum(~resets) > 2:
        what = f"{value!r} falls {len(falls)} times in {len(values):,} readings: energy of each interval?"
        raise EnergyError(f"{path.name}: {what} Expected a counter, which only rises: add them up for one.")
    notes = table.notes + [f"the counter went back in line {table.lines[n + 1]}: a reset?" for n in falls]
    notes += ["decimal comma"] if "," in text else []
    usual = float(np.median(between := np.diff(times)))
    if (gaps := between[between > GAP * usual]).size:
        notes.append(f"{gaps.size} x no reading, for up to {gaps.max():,.0f} s")
    return MeterLog(path.name, tuple(times), tuple(values), rising, step * UNITS[unit], usual, tuple(notes))


def by_hand(start_kwh: float, stop_kwh: float, step_kwh: float, run: Measurement) -> Measurement:
    """The block again, with its energy off a meter that was read just before and just after it.

    It may be off by a step of its last digit; a note says what 5 % takes. Going back raises `EnergyError`.

    Examples
    --------
    >>> run = Measurement("train", 600.0, None, (), "USA", 369.0, "2023", None)
    >>> by_hand(41.207, 41.219, 0.001, run).notes
    ('the range is ±8 %: at 72.0 W, a block of 1,000 s has 5 %',)
    """
    require_range("step_kwh", step_kwh, 0, above=True, error=EnergyError)
    require_range("start_kwh", start_kwh, 0, error=EnergyError)
    require_range("stop_kwh", stop_kwh, 0, error=EnergyError)
    if stop_kwh < start_kwh:
        raise EnergyError(f"The meter went back, {start_kwh} to {stop_kwh} kWh: swapped, or was it reset?")
    energy, step = (stop_kwh - start_kwh) * 1_000, step_kwh * 1_000
    source = f"a meter read by hand in steps of {step:.3g} Wh"
    return _seen(run, "wall", (source, energy, energy - step, energy + step))


@dataclass(frozen=True)
class Charge:
    """What a laptop's batteries hold at a time, in s since 1970, or why that is `unknown`; from `battery`."""

    at: float
    packs: Packs
    unknown: str = ""

    def since(self, before: "Charge", run: Measurement) -> Measurement:
        """The block again, with the energy that the batteries gave since a reading just before it.

        The range has a step, both voltages, a minute by which the gauge may be late, and the time around the
        block; a note says how long a block must be for 5 %. The energy is unknown, with the reason, if the
        laptop was plugged in at a reading, a battery rose, or the readings are not around the block.
        """
        began, seconds = run.started or before.at, max(self.at - before.at, run.wall_s)
        used, why = list[tuple[float, ...]](), before.unknown or self.unknown
        for (had, then), (left, now) in zip(before.packs, self.packs, strict=False):
            used.append((had - left, STEP_AH if now > 1 else STEP_WH, then, now))
        if not why and not before.at <= began <= began + run.wall_s <= self.at + 1:
            why = "the batteries were not read just before and just after the block"
        elif not why and (len(before.packs) != len(self.packs) or min(used)[0] < 0):
            why = "a battery rose or was changed: plugged in meanwhile, or its gauge was set right"
        if why:
            return _seen(run, "battery", (why, None, 0, 0))
        energy = sum(drop * (then + now) / 2 for drop, _, then, now in used)
        late = energy * LATE_S / seconds
        low = sum((drop - step) * min(volts) for drop, step, *volts in used) - late
        high = sum((drop + step) * max(volts) for drop, step, *volts in used) + late
        return _seen(run, "battery", ("the battery's own gauge", energy, low * run.wall_s / seconds, high))


def battery() -> Charge:
    """Read this laptop's batteries; while it is unplugged they are a meter of all that it draws.

    Before and after a block: ``after.since(before, meter.result)``. Steps are coarse, so make it 20 minutes.
    Linux and macOS tell what is left, without special rights; where nothing does, or the laptop is plugged
    in, the reading is unknown, with the reason, and never an error.

    Examples
    --------
    >>> run = Measurement("train", 1_200.0, None, (), "USA", 369.0, "2023", None)
    >>> battery().since(battery(), run).components[0].energy_wh is None
    True
    """
    try:
        return Charge(clock.time(), _mac() if sys.platform == "darwin" else _linux())
    except Exception as error:  # the block is worth more than its meter
        return Charge(clock.time(), (), f"the battery cannot be read: {error!r}")


def _linux() -> Packs:
    packs, states = [], []
    for folder in sorted(POWER.glob("BAT*")):
        states.append((folder / "status").read_text().strip())
        name, volts = "energy_now", 1.0
        if not (folder / name).exists():
            name, volts = "charge_now", float((folder / "voltage_now").read_text()) / 1e6
        packs.append((float((folder / name).read_text()) / 1e6, volts))  # both are in millionths
    if "Discharging" not in states or "Charging" in states:  # of two, one may wait its turn
        raise EnergyError(f"{POWER}/BAT* say {listed(states) or 'nothing'}, expected Discharging: unplug it")
    return tuple(packs)


def _mac() -> Packs:
    text = subprocess.run(IOREG, capture_output=True, timeout=10, check=True).stdout
    found = plistlib.loads(text)[0] if text.strip() else {}
    if found.get("ExternalConnected", True) or found.get("IsCharging", True):
        raise EnergyError("there is none, or it is plugged in: unplug it")
    # macOS 27 moved it; a plain CurrentCapacity is in percent on Apple's own chips.
    left = found.get("AppleRawCurrentCapacity") or found["BatteryData"]["RemainingCapacity"]  # mAh
    return ((left / 1_000, found["Voltage"] / 1_000),)


def _seen(run: Measurement, name: str, found: Found, of_ends: bool = True) -> Measurement:
    """The block by this meter; a note where its range is wide from its ends, so that a longer block helps."""
    source, energy, low, high = found
    part, notes = Component(name, None, None, source), run.notes
    if energy is not None and energy * 3_600 > MOST_W[name] * run.wall_s:
        part = replace(part, source=f"{source}, {_too_much(energy * 3_600 / run.wall_s, name)}")
    elif energy is not None and energy > 0:
        part = Component(name, float(energy), "measured", source, None, max(float(low), 0.0), float(high))
        wide, watts = (high - low) / 2 / energy, quantity(energy * 3_600 / run.wall_s, "W")
        if of_ends and wide > GOAL:
            long = f"at {watts}, a block of {run.wall_s * wide / GOAL:,.0f} s has 5 %"
            notes += (f"the range is ±{100 * wide:.0f} %: {long}",)
    elif energy is not None:
        part = replace(part, source=f"{source}, shows none yet; 5 % takes more than 20 times as long")
    return replace(run, components=(part,), phases=(), idle_w=None, notes=notes)


def _too_much(watts: float, name: str) -> str:
    return f"says {watts:,.0f} W, more than {MOST_W[name]:,.0f} W: a wrong unit, or a reset?"


def _column(path: Path, table: Table, kind: str, pattern: str, given: str | None) -> str:
    found = [name for name in table.columns if (name == given if given else re.search(pattern, name.lower()))]
    if len(found) == 1:
        return found[0]
    what = f"no column {given!r}" if given else f"{len(found)} columns that look like a {kind}"
    raise EnergyError(f"{path.name} has {what}: give {kind}=, one of {listed(table.columns)}.")


def _number(text: str) -> float:
    if re.fullmatch(r"\d{1,15}([.,]\d{,30})?", text):
        return float(text.replace(",", "."))
    hint = "is the plug turned around? Leave out a row without one"
    raise ValueError(f"{shown(text)} is no number from 0, of 15 digits at most: {hint}")


def _seconds(text: str, zone: str | None) -> float:
    if re.fullmatch(r"\d{10}([.,]\d*)?", text):
        return _number(text)
    try:
        moment = datetime.fromisoformat(text)
        place = moment.tzinfo or ZoneInfo(zone or "")
    except (KeyError, ValueError, OSError):
        iso = "2026-11-25T14:30:05Z, or without its zone and with zone='Europe/Berlin'"
        expected = f"expected {iso}, or 10 digits since 1970"
        raise ValueError(f"{shown(text)} with {zone=} is no time: {expected}") from None
    if len(stamps := {moment.replace(tzinfo=place, fold=fold).timestamp() for fold in (0, 1)}) > 1:
        raise ValueError(f"{shown(text)} is twice or never in {zone}, around summer time: log in UTC")
    return stamps.pop()
