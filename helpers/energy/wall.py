"""Meters of the whole machine: a plug's or logger's file, one read by hand, a laptop's battery.

Each gives a measured block once more with one component, "wall" or "battery", in place of CodeCarbon's: all
that the machine drew, in a range that follows from the meter's steps and from when it was read. The meter's
own accuracy, which its maker states, comes on top.
"""

import itertools
import plistlib
import re
import statistics
import subprocess
import sys
import time as clock
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from helpers.energy import display
from helpers.energy.records import Component, EnergyError, Idle, Measurement
from helpers.tables import Table, listed, read_table, shown
from helpers.values import require_range

POWER = Path("/sys/class/power_supply")  # where Linux keeps its batteries
IOREG = ("ioreg", "-rn", "AppleSmartBattery", "-a")  # and how macOS tells them, as XML
UNITS = {"w": 1.0, "kw": 1_000.0, "wh": 1.0, "kwh": 1_000.0}
TIME, VALUE = r"(?<![a-z])(?:date|time|utc|last_changed)", r"(?<![a-z])k?wh?(?![a-z])"  # in columns' names
GAP = 3  # times the usual interval: no reading for longer is a gap
GOAL = 0.05  # of a figure: a wider range gets a note
LATE_S = 60.0  # by which a battery's gauge may be late: macOS asks it once a minute
STEP_WH, STEP_AH = 0.01, 0.001  # of such a gauge, by the Smart Battery Data Specification 1.1


@dataclass(frozen=True)
class MeterLog:
    """What a meter recorded: W, or Wh so far if it is `rising`, at `times_s` since 1970. Made by `from_csv`.

    `step` is the meter's, in W or Wh, and `interval_s` the median time between two readings; `notes` say what
    was recognized, and which gaps and resets there are.
    """

    name: str
    times_s: tuple[float, ...]
    values: tuple[float, ...]
    rising: bool
    step: float
    interval_s: float
    notes: tuple[str, ...] = ()

    def energy_of(self, run: Measurement, *idle: Idle) -> Measurement:
        r"""The block again, and its phases, with the energy that the meter saw; lined up by the clock.

        Given readings of `energy.idle`, it has a `net_wh`: their power, by the same meter, is taken off.

        A counter in steps of r Wh: the energy is at most the rise between the readings just outside of the
        block, plus r, and at least the rise between those just inside, less r. Power in steps of r W: joined
        by straight lines over T seconds; the range is :math:`T r/2 + \sqrt{2\sum (\Delta P\,\Delta t)^2}` to
        both sides, over the intervals that the block touches: half a step, and two standard errors of
        samples at equal distances (by successive differences; Wolter, "Introduction to Variance Estimation").

        It is unknown, with the reason, if the block is not within the file, or has a counter's reset, a gap
        in the power, or fewer than two readings of it. A `run` without its start raises `EnergyError`.
        """
        if run.started is None:
            raise EnergyError(f"{run.label!r} does not say when it began: measure it with this version.")
        found = _seen(run, self._part(run.started, run.started + run.wall_s), of_ends=self.rising)
        found = replace(found, phases=tuple(self.energy_of(phase) for phase in run.phases))
        return found.minus_idle(*(Idle(self.energy_of(each.reading)) for each in idle)) if idle else found

    def _part(self, begin: float, end: float) -> Component:
        import numpy as np

        if (out := max(self.times_s[0] - begin, end - self.times_s[-1])) > 0:
            why = f"the block reaches {out:,.0f} s beyond {self.name}: do its zone and offset_s fit?"
            return Component("wall", None, None, why)
        first, last = np.searchsorted(self.times_s, begin, "right") - 1, np.searchsorted(self.times_s, end)
        times, values = (np.array(each[first : last + 1]) for each in (self.times_s, self.values))
        gaps, rises, inside = np.diff(times), np.diff(values), (begin <= times) & (times <= end)
        gap = f", with no reading for {gaps.max():.0f} s" if gaps.max() > GAP * self.interval_s else ""
        step = f"{self.step:.3g} {'Wh' if self.rising else 'W'}"
        source = f"{self.name}, read every {self.interval_s:.3g} s in steps of {step}{gap}"
        grid = np.unique([begin, *times[inside], end])
        curve = np.interp(grid, times, values)
        if self.rising:
            if (rises < 0).any():
                return Component("wall", None, None, f"the counter of {self.name} went back: a reset?")
            low = np.ptp(values[inside]) - self.step if inside.any() else 0.0
            return _known("wall", curve[-1] - curve[0], low, values[-1] - values[0] + self.step, source)
        if gap or inside.sum() < 2:
            return Component(
                "wall", None, None, f"{source}; {end - begin:.3g} s need two at least, and no gap"
            )
        energy = np.trapezoid(curve, grid)
        half = (end - begin) * self.step / 2 + np.sqrt(2 * np.sum((rises * gaps) ** 2))
        return _known("wall", energy / 3_600, (energy - half) / 3_600, (energy + half) / 3_600, source)


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

    Times are ISO 8601 or seconds since 1970; a comma is a decimal comma. Raises `EnergyError`, with the line,
    if a value is no number from 0, or a time has no zone or is not after the one before it; and if the file
    does not tell its columns, or is none that `helpers.tables.read_table` reads.

    Parameters
    ----------
    zone : str, optional
        Of times without one, such as "Europe/Berlin". None is assumed, but UTC for a column "..._utc".
    time, value, unit : str, optional
        The columns, and W, kW, Wh or kWh, where the names do not tell: "Date", "power_w", "Total (kWh)" do.
    step : float, optional
        The meter's, in the column's unit; else one in the last digit that the column uses.
    offset_s : float
        Seconds by which the meter's clock is ahead of this computer's.

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
        raise EnergyError(f"{path.name} has {value!r} in {unit or 'no known unit'}: say W, kW, Wh or kWh.")
    zone, rising = zone or ("UTC" if "utc" in time.lower() else None), unit.endswith("h")
    times, values, digits, notes = list[float](), list[float](), 0, list(table.notes)
    for line, when, text in zip(table.lines, table.columns[time], table.columns[value], strict=True):
        try:
            times.append(_seconds(when.strip(), zone) - offset_s)
            values.append(_number(text.strip()) * UNITS[unit])
            if times[:-1] and times[-1] <= times[-2]:
                raise ValueError(f"{shown(when)} is not after the time above it: sort, and keep one of each")
        except ValueError as why:
            raise EnergyError(f"{path.name}, line {line}: {why}.") from None
        digits = max(digits, len(re.sub(r"^\d+[.,]?|0*\s*$", "", text.strip())))
        if rising and values[-1] < max(values[-2:]):
            notes.append(f"the counter went back in line {line}: a reset?")
    if {",", "."} <= set("".join(table.columns[value])):
        raise EnergyError(f"{path.name} has commas and points in {value!r}: expected one, as a decimal mark.")
    if len(times) < 2:
        raise EnergyError(f"{path.name} has one reading: expected two at least, around a block.")
    step = 10.0**-digits if step is None else step
    require_range("step", step, 0, above=True, error=EnergyError)
    between = [later - at for at, later in itertools.pairwise(times)]
    usual = statistics.median(between)
    if gaps := [gap for gap in between if gap > GAP * usual]:
        notes.append(f"{len(gaps)} x no reading, for up to {max(gaps):,.0f} s")
    log = MeterLog(path.name, tuple(times), tuple(values), rising, step * UNITS[unit], usual, tuple(notes))
    return log


def by_hand(start_kwh: float, stop_kwh: float, step_kwh: float, run: Measurement) -> Measurement:
    """The block again, with its energy off a meter that was read just before and just after it.

    The difference is up to a step of the last digit too high or too low; a note says how long a block must be
    for 5 %. Raises `EnergyError` if the meter went back, or has no step.

    Examples
    --------
    >>> run = Measurement("train", 600.0, None, (), "USA", 369.0, "2023", None)
    >>> by_hand(41.207, 41.219, 0.001, run).notes
    ('the range is ±8 %: at 72.0 W, a block of 1,000 s has 5 %',)
    """
    require_range("step_kwh", step_kwh, 0, above=True, error=EnergyError)
    require_range("start_kwh", start_kwh, 0, error=EnergyError)
    require_range("stop_kwh", stop_kwh, start_kwh, error=EnergyError)  # it went back: swapped, or a reset
    energy, step = (stop_kwh - start_kwh) * 1_000, step_kwh * 1_000
    source = f"a meter read by hand in steps of {step:.3g} Wh"
    return _seen(run, _known("wall", energy, energy - step, energy + step, source))


@dataclass(frozen=True)
class Charge:
    """What is left in a laptop's batteries at a time, or why that is `unknown`. Made by `battery`.

    Each of `packs` has the Wh left and 1; or, where it tells none, the Ah left and the volts.
    """

    at: float
    packs: tuple[tuple[float, float], ...]
    unknown: str = ""

    def since(self, before: "Charge", run: Measurement) -> Measurement:
        """The block again, with the energy that the batteries gave since a reading just before it.

        The range has a step, both voltages, a minute by which the gauge may be late, and the time around the
        block; a note says how long a block must be for 5 %. The energy is unknown, with the reason, if the
        laptop was plugged in at a reading, a battery rose, or the readings are not around the block.
        """
        began, seconds = run.started or before.at, max(self.at - before.at, run.wall_s)
        pairs, why = list(zip(before.packs, self.packs, strict=False)), before.unknown or self.unknown
        if not why and not before.at <= began <= began + run.wall_s <= self.at + 1:
            why = "the batteries were not read just before and just after the block"
        if not why and (
            len(before.packs) != len(self.packs) or any(had < left for (had, _), (left, _) in pairs)
        ):
            why = "a battery rose or was changed: plugged in meanwhile, or its gauge was set right"
        if why:
            return _seen(run, Component("battery", None, None, why))
        used = [
            (had - left, STEP_WH if now == 1 else STEP_AH, then, now) for (had, then), (left, now) in pairs
        ]
        energy = sum(drop * (then + now) / 2 for drop, _, then, now in used)
        late = energy * LATE_S / seconds
        low = sum((drop - step) * min(then, now) for drop, step, then, now in used) - late
        high = sum((drop + step) * max(then, now) for drop, step, then, now in used) + late
        return _seen(run, _known("battery", energy, low * run.wall_s / seconds, high, "the battery's gauge"))


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
        return Charge(clock.time(), (), f"no battery gives a reading ({type(error).__name__}: {error})")


def _linux() -> tuple[tuple[float, float], ...]:
    packs, states = [], []
    for folder in sorted(POWER.glob("BAT*")):
        states.append((folder / "status").read_text().strip())
        name, volts = "energy_now", 1.0
        if not (folder / name).exists():
            name, volts = "charge_now", float((folder / "voltage_now").read_text()) / 1e6
        packs.append((float((folder / name).read_text()) / 1e6, volts))  # both are in millionths
    if "Discharging" not in states or "Charging" in states:  # of two, one may wait its turn
        raise EnergyError(f"{POWER}/BAT* say {listed(states) or 'nothing'}: expected Discharging, unplugged")
    return tuple(packs)


def _mac() -> tuple[tuple[float, float], ...]:
    text = subprocess.run(IOREG, capture_output=True, timeout=10, check=True).stdout
    found = plistlib.loads(text)[0] if text.strip() else {}
    if found.get("ExternalConnected", True) or found.get("IsCharging", True):
        raise EnergyError("there is none, or it is plugged in: expected a laptop that is unplugged")
    # macOS 27 moved it; a plain CurrentCapacity is in percent on Apple's own chips.
    left = found.get("AppleRawCurrentCapacity") or found["BatteryData"]["RemainingCapacity"]  # mAh
    return ((left / 1_000, found["Voltage"] / 1_000),)


def _known(name: str, energy: float, low: float, high: float, source: str) -> Component:
    if not energy > 0:
        return Component(
            name, None, None, f"{source}, shows none yet; make the block 20 times as long for 5 %"
        )
    return Component(name, float(energy), "measured", source, None, max(float(low), 0.0), float(high))


def _seen(run: Measurement, part: Component, of_ends: bool = True) -> Measurement:
    """The block with this part; a note on a wide range that comes from the block's ends, and what helps."""
    notes, (low, high) = run.notes, part.range_wh()
    if part.energy_wh and low is not None and high is not None:
        wide, watts = (high - low) / 2 / part.energy_wh, part.energy_wh * 3_600 / run.wall_s
        long = f"at {display.quantity(watts, 'W')}, a block of {run.wall_s * wide / GOAL:,.0f} s has 5 %"
        notes += (f"the range is ±{100 * wide:.0f} %: {long}",) if of_ends and wide > GOAL else ()
    return replace(run, components=(part,), phases=(), idle_w=None, notes=notes)


def _column(path: Path, table: Table, kind: str, pattern: str, given: str | None) -> str:
    found = [name for name in table.columns if (name == given if given else re.search(pattern, name.lower()))]
    if len(found) == 1:
        return found[0]
    what = f"no column {given!r}" if given else f"{len(found)} columns that look like a {kind}"
    raise EnergyError(f"{path.name} has {what}: give {kind}=, one of {listed(table.columns)}.")


def _number(text: str) -> float:
    if re.fullmatch(r"\d+([.,]\d*)?", text):
        return float(text.replace(",", "."))
    less = "less than 0 W is a plug the wrong way round; " if text.startswith("-") else ""
    raise ValueError(f"{shown(text)} is no number from 0: {less}without a reading, leave the row out")


def _seconds(text: str, zone: str | None) -> float:
    if re.fullmatch(r"\d{10}([.,]\d*)?", text):
        return _number(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        kinds = "2026-11-25T14:30:05+01:00, or seconds since 1970 in 10 digits"
        raise ValueError(f"{shown(text)} is no time that is known here: expected {kinds}") from None
    if moment.tzinfo is None and zone is None:
        raise ValueError(f"{shown(text)} has no zone: say where the meter's clock is, zone='Europe/Berlin'")
    try:
        place = moment.tzinfo or ZoneInfo(zone or "UTC")
    except (KeyError, ValueError, OSError):
        raise ValueError(
            f"there is no zone {zone!r}: expected one such as 'Europe/Berlin' or 'UTC'"
        ) from None
    first, second = (moment.replace(tzinfo=place, fold=fold).timestamp() for fold in (0, 1))
    if first != second:
        raise ValueError(
            f"{shown(text)} is twice or never in {zone}, as summer time ends or begins: log in UTC"
        )
    return first
