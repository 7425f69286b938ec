"""How records look: one line of prose each, and a table where a notebook shows one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from helpers.energy import Comparison, Component, Idle, Measurement, Predictions, Training
    from helpers.energy.comparing import Ratio

Cells = tuple[str, str, str, str, str]
Ends = tuple[float | None, float | None]
WINDOW_S = 10.0  # predictions over a shorter time get a note


def significant_digits(value: float | None) -> str:
    """Three significant digits, without an exponent; "unknown" for None.

    Examples
    --------
    >>> significant_digits(0.00093), significant_digits(12_345.6), significant_digits(None)
    ('0.000930', '12,346', 'unknown')
    """
    if value is None:
        return "unknown"
    if value == 0:
        return "0"
    exponent = int(f"{value:.2e}".partition("e")[2])  # of the rounded value: 0.9996 has that of 1.00
    return f"{value:,.{max(0, 2 - exponent)}f}"


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A plain HTML table; every cell is escaped."""
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    names = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    return f"<table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"


def component_line(part: Component) -> str:
    """Energy, method and source of one part."""
    if part.energy_wh is None:
        return f"{part.name} unknown ({part.source})"
    return f"{part.name} {quantity(part.energy_wh, 'Wh')} {part.method} ({part.source})"


def measurement_line(run: Measurement) -> str:
    """Time, energy by part with its range, carbon, and the notes."""
    if run.energy_wh is None:
        energy = "energy unknown: " + "; ".join(str(p) for p in run.components if p.energy_wh is None)
    else:
        span = between(run.low_wh, run.high_wh)
        energy = f"{quantity(run.energy_wh, 'Wh')} {run.method} ({_parts(run)}; {span})"
    net = "" if run.net_wh is None else f", net of idle {quantity(run.net_wh, 'Wh')}"
    carbon = "" if run.co2e_g is None else f", {quantity(run.co2e_g, 'g CO2e')} ({run.country})"
    notes = "".join(f" Note: {note}." for note in run.notes)
    cpu_s = "unknown" if run.cpu_s is None else f"{run.cpu_s:.1f}"
    return f"{run.label}: {run.wall_s:.1f} s, {cpu_s} CPU s, {energy}{net}{carbon}.{notes}"


def measurement_table(run: Measurement) -> str:
    """A row for each part and each figure, with its range, its method and its source."""
    cpu_s = "unknown" if run.cpu_s is None else f"{run.cpu_s:.1f}"
    rows = [("time", f"{run.wall_s:.1f} s on the clock, {cpu_s} s of CPU", "", "clock", "")]
    rows += [(name, f"{amount:,.6g}", "", "counted", "") for name, amount in run.work.items()]
    for part in run.components:
        rows.append(_row(part.name, part.energy_wh, "Wh", part.range_wh(), part.method, part.source))
    ends, method = (run.low_wh, run.high_wh), run.method or "unknown"
    rows.append(_row("total", run.energy_wh, "Wh", ends, method, "as good as its weakest part"))
    if run.net_wh is not None:
        why = f"the total without {quantity(run.idle_w, 'W')} of the idle machine"
        rows.append(("net of idle", quantity(run.net_wh, "Wh"), "", method, why))
    source = run.intensity_source + ("" if run.pue == 1 else f", PUE {run.pue:g}")
    results = run.results()
    ends = (results["low_co2e_g"], results["high_co2e_g"])
    rows.append(_row("carbon", run.co2e_g, "g CO2e", ends, method, source))
    for label, seconds, energy_wh in run.breakdown() if run.phases else []:
        value = f"{seconds:.1f} s, {quantity(energy_wh, 'Wh')}"
        rows.append((f"· {label}", value, "", method, "part of the total"))
    rows += [("note", note, "", "", "") for note in run.notes]
    return html_table((run.label, "", "range", "method", "where it comes from"), rows)


def idle_line(idle: Idle) -> str:
    """Power of the idle machine by part, and whether it was idle."""
    reading = idle.reading
    if idle.power_w is None:
        return f"idle power unknown: {reading}"
    parts = _parts(reading, 3_600 / reading.wall_s)
    busy = f" Not idle: other programs used {reading.foreign_load:.0%} of it." if idle.disturbed else ""
    power = quantity(idle.power_w, "W")
    return f"idle: {power} {reading.method} ({parts}), over {reading.wall_s:.1f} s.{busy}"


def comparison_line(found: Comparison) -> str:
    """The verdict, both ratios with their intervals, and the reason."""
    of_time, of_energy = (_interval(ratio) for ratio in (found.time, found.energy))
    beside = f" Other programs ran beside {_disturbed(found)}." if found.disturbed else ""
    pair, rounds = " / ".join(found.names), f"95 % intervals of {len(found.time.rounds)} rounds"
    ratios = f"{pair} = {of_time} in time, {of_energy} in energy ({found.method}), {rounds}"
    return f"{found.verdict}: {ratios}; {found.reason}{_of_time(found)}.{beside}"


def comparison_table(found: Comparison) -> str:
    """A row for each candidate, then the ratios and the verdict."""
    rows = []
    for name in found.names:
        spreads = (found.seconds[name], "s"), (found.energies_wh[name], "Wh")
        cells = (f"{quantity(each.median, unit)} ({between(*each[1:])})" for each, unit in spreads)
        rows.append((name, *cells, found.method))
    ratios = (_interval(ratio) for ratio in (found.time, found.energy))
    rows.append((" / ".join(found.names), *ratios, "95 % intervals"))
    p_sign = f"sign test p = {found.p_sign:.2g}"
    rows.append(("verdict", found.verdict, f"{found.reason}{_of_time(found)}", p_sign))
    if found.disturbed:
        why = "other programs used more than a tenth of the machine"
        rows.append(("disturbed", _disturbed(found), why, ""))
    head = ("time a call (range)", "energy a call (range)", "how known")
    return html_table((f"{len(found.time.rounds)} rounds in turns", *head), rows)


def predictions_line(found: Predictions) -> str:
    """Joules and seconds for 1,000 predictions, latency and accuracy."""
    cost, results = found.cost, found.results()
    if found.joules is None:
        energy = f"energy unknown ({'; '.join(map(str, cost.components))})"
    else:
        span = between(results["low_joules_per_1000"], results["high_joules_per_1000"])
        energy = f"{quantity(found.joules, 'J')} {cost.method} per 1,000 predictions ({span})"
    length = "" if found.tokens is None else f" x {found.tokens:.0f} tokens"
    accuracy = "" if found.accuracy is None else f", accuracy {found.accuracy:.1%}"
    asked = f"a window of {cost.wall_s:.1f} s is short, {WINDOW_S:.0f} s are asked for"
    notes = "".join(f" Note: {note}." for note in ((asked,) if found.short else ()) + cost.notes)
    return (
        f"{cost.label}: {energy}, {results['seconds_per_1000']:.2f} s per 1,000, batches of "
        f"{found.batch_size}{length} in {results['p50_s'] * 1_000:.3g} ms (p50) and "
        f"{results['p90_s'] * 1_000:.3g} ms (p90){accuracy}.{notes}"
    )


def training_line(found: Training) -> str:
    """Whether the target was reached, after how many rounds, and at what cost."""
    rounds = f"{len(found.curve)} round{'s' if len(found.curve) != 1 else ''}"
    if found.reached:
        return f"reached {found.target:.1%} after {rounds}. {found.cost}"
    best = max((quality for _, quality in found.curve), default=math.nan)
    return f"missed {found.target:.1%}: {best:.1%} at best in {rounds}. {found.cost}"


def quantity(value: float | None, unit: str) -> str:
    """A value with its unit, or "unknown"."""
    return significant_digits(value) + ("" if value is None else f" {unit}")


def between(low: float | None, high: float | None) -> str:
    """Both ends of a range."""
    return f"{significant_digits(low)} to {significant_digits(high)}"


def _parts(run: Measurement, factor: float = 1.0) -> str:
    """The known parts with their methods, their energy times `factor`."""
    known = [(part, part.energy_wh * factor) for part in run.components if part.energy_wh is not None]
    return ", ".join(f"{part.name} {significant_digits(value)} {part.method}" for part, value in known)


def _row(name: str, value: float | None, unit: str, ends: Ends, method: str | None, source: str) -> Cells:
    if value is None or method is None:
        return name, "unknown", "", "unknown", source
    return name, quantity(value, unit), between(*ends), method, source


def _disturbed(found: Comparison) -> str:
    """The disturbed rounds by their numbers: "round 2 of 5", "rounds 2 and 4 of 5"."""
    *others, last = map(str, found.disturbed)
    numbers = f"rounds {', '.join(others)} and {last}" if others else f"round {last}"
    return f"{numbers} of {len(found.time.rounds)}"


def _interval(ratio: Ratio) -> str:
    return f"{ratio.mean:.3g} ({ratio.low:.3g} to {ratio.high:.3g})"


def _of_time(found: Comparison) -> str:
    apart = found.method == "measured" or not found.same_power or found.verdict == "undecided"
    return "" if apart else "; both drew the same power within 3 %, so it is a verdict of time"
