"""What a measurement found: energy by component, each with its method and its range."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from helpers.values import between, html_table, quantity, significant_digits

METHODS = ("measured", "modelled", "assumed")  # from the strongest to the weakest
RANGES = {  # by what a figure may be too high or too low, as factors
    # GPU: NVIDIA states 5 % for Fermi and Kepler alone; Yang et al. (2024) found 5 % on others too, and more
    # where readings leave gaps. CPU: our assumption. How old a reading may be is added at either end
    "measured": (0.95, 1.05),
    "modelled": (0.5, 2.0),  # the maximum power is a guess, and tools differ by more than that
    "assumed": (0.0, 2.0),  # a constant knows nothing of this block
}
LEAST_POWER = 0.1  # of the maximum, where CodeCarbon models a CPU's power: 0.1 + 0.9 x load cubed
CURVES = {"cubic": lambda load: load**3, "linear": lambda load: load, "flat": lambda load: 1.0}
FOREIGN_LOAD_LIMIT = 0.10  # share of the machine used by others above which a figure is disturbed
IDLE_DRIFT_LIMIT = 0.20  # difference of two idle readings above which the net figure gets a note


class EnergyError(ValueError):
    """A measurement that cannot be made as asked; the message says what to do."""


@dataclass(frozen=True)
class Component:
    """Energy of one part of the machine ("CPU", "RAM", "GPU 0"), in Wh, and where the figure comes from.

    `method` is one of `METHODS`, and `source` names it in words; where the energy is None, unknown, it says
    why. `basis_w` are the watts that a model or a constant starts from; `low_wh` and `high_wh` the ends of a
    range that follows from the meter itself, None where the method's factors in `RANGES` say it.
    """

    name: str
    energy_wh: float | None
    method: str | None
    source: str
    basis_w: float | None = None
    low_wh: float | None = None
    high_wh: float | None = None

    def range_wh(self) -> tuple[float | None, float | None]:
        """Both ends of the meter's or the method's range; None if the energy is unknown."""
        if self.energy_wh is None or self.method is None:
            return None, None
        if self.low_wh is not None and self.high_wh is not None:
            return self.low_wh, self.high_wh
        low, high = RANGES[self.method]
        return self.energy_wh * low, self.energy_wh * high

    def __str__(self) -> str:
        if self.energy_wh is None:
            return f"{self.name} unknown ({self.source})"
        return f"{self.name} {quantity(self.energy_wh, 'Wh')} {self.method} ({self.source})"


@dataclass(frozen=True, repr=False)
class Record:
    """What was read, as plain values and back; `results`, where there is one, is computed from it."""

    def raw(self) -> dict:
        """What was read, without anything computed from it, as values that `json` can write."""
        return asdict(self)

    @classmethod
    def from_raw(cls, raw: dict) -> Self:
        """The record that `raw` came from."""
        fields = {name: RESTORED[name](value) if name in RESTORED else value for name, value in raw.items()}
        return cls(**fields)

    def __repr__(self) -> str:
        return str(self)  # a dataclass would spell out every raw value


@dataclass(frozen=True, repr=False)
class Measurement(Record):
    """What a block cost. Prints as one line, shows as a small table in a notebook.

    `cpu_s` are CPU seconds of this process and its children, ended ones included; `intensity_g_per_kwh` is
    the country's CO2-equivalent, a yearly mean; `foreign_load` is the share of the machine's CPU time that
    others used, 0 to 1. `phases` were measured inside this block; `work` was counted by `Meter.count`;
    `idle_w` is the power of the idle machine, from `minus_idle`; `pue` is the energy of the whole data center
    for each unit that reaches the computer; `started` is in seconds since 1970. Unknown is None.
    """

    label: str
    wall_s: float
    cpu_s: float | None
    components: tuple[Component, ...]
    country: str
    intensity_g_per_kwh: float | None
    intensity_source: str
    foreign_load: float | None
    notes: tuple[str, ...] = ()
    phases: tuple[Self, ...] = ()
    work: dict[str, float] = field(default_factory=dict)
    idle_w: float | None = None
    pue: float = 1.0
    started: float | None = None

    @property
    def energy_wh(self) -> float | None:
        """Sum of the components in Wh (gross); None as soon as one of them is unknown."""
        return total(part.energy_wh for part in self.components)

    @property
    def low_wh(self) -> float | None:
        """Sum of the lower ends of the components' ranges; None if the energy is unknown."""
        return total(part.range_wh()[0] for part in self.components)

    @property
    def high_wh(self) -> float | None:
        """Sum of the upper ends of the components' ranges; None if the energy is unknown."""
        return total(part.range_wh()[1] for part in self.components)

    @property
    def net_wh(self) -> float | None:
        """Energy beyond the idle machine's; None if either is unknown, below 0 if that was not idle."""
        if self.energy_wh is None or self.idle_w is None:
            return None
        return self.energy_wh - self.idle_w * self.wall_s / 3_600

    @property
    def method(self) -> str | None:
        """The weakest method among the components; None if the energy is unknown."""
        return None if self.energy_wh is None else weakest(self.components)

    @property
    def co2e_g(self) -> float | None:
        """Grams of CO2-equivalent: energy x PUE x the country's intensity; None if one is unknown."""
        return self._carbon(self.energy_wh)

    @property
    def disturbed(self) -> bool:
        """Whether other programs used more than a tenth of the machine meanwhile."""
        return (self.foreign_load or 0.0) > FOREIGN_LOAD_LIMIT

    def _carbon(self, energy_wh: float | None) -> float | None:
        if energy_wh is None or self.intensity_g_per_kwh is None:
            return None
        return energy_wh * self.pue / 1_000 * self.intensity_g_per_kwh

    def minus_idle(self, *readings: "Idle") -> Self:
        """The same measurement with `idle_w`, the mean of readings taken before and after it."""
        powers, notes = [r.power_w for r in readings if r.power_w is not None], list(self.notes)
        if not powers or len(powers) < len(readings):
            why = "an idle reading is unknown" if readings else "no idle reading was given"
            return replace(self, idle_w=None, notes=(*notes, f"net energy unknown: {why}"))
        if max(powers) > (1 + IDLE_DRIFT_LIMIT) * min(powers):
            seen = " and ".join(f"{significant_digits(power)} W" for power in powers)
            notes.append(f"idle power changed between readings ({seen}), so the net figure is unsure")
        if any(each.reading.disturbed for each in readings):
            notes.append("other programs ran during an idle reading, so the net figure is too low")
        return replace(self, idle_w=sum(powers) / len(powers), notes=tuple(notes))

    def rescaled(self, *, cpu: float = 1.0, ram: float = 1.0, curve: str = "cubic") -> Self:
        """The same run if the power of CPU and RAM, where it is a guess, were so many times as large.

        `curve` is how a modelled CPU's power grows to its maximum: "cubic" (as CodeCarbon), "linear", "flat".
        """
        parts = list(self.components)
        for place, part in enumerate(parts):
            if part.energy_wh is not None and part.method != "measured":
                factor = {"CPU": cpu * self._bent(part, curve), "RAM": ram}.get(part.name, 1.0)
                parts[place] = replace(part, energy_wh=part.energy_wh * factor)
        phases = tuple(phase.rescaled(cpu=cpu, ram=ram, curve=curve) for phase in self.phases)
        return replace(self, components=tuple(parts), phases=phases)

    def _bent(self, part: Component, curve: str) -> float:
        """By how much a modelled part's energy changes with another curve, at the load of its mean power."""
        if curve == "cubic" or part.method != "modelled" or not part.basis_w or not part.energy_wh:
            return 1.0
        mean = part.energy_wh * 3_600 / self.wall_s / part.basis_w  # of the maximum power
        load = min(1.0, max(0.0, (mean - LEAST_POWER) / (1 - LEAST_POWER)) ** (1 / 3))
        return (LEAST_POWER + (1 - LEAST_POWER) * CURVES[curve](load)) / mean

    def breakdown(self) -> list[tuple[str, float, float | None]]:
        """Each phase as (label, seconds, Wh), those of one label added up, and "other" for the rest.

        The rows sum to `wall_s` and `energy_wh`. A phase whose energy is unknown counts in "other".
        """
        table: list[tuple[str, float, float | None]] = []
        for label in dict.fromkeys(phase.label for phase in self.phases):
            same = [phase for phase in self.phases if phase.label == label]
            table.append((label, sum(p.wall_s for p in same), total(p.energy_wh for p in same)))
        known = sum(energy_wh for *_, energy_wh in table if energy_wh is not None)
        rest = None if self.energy_wh is None else self.energy_wh - known
        return [*table, ("other", self.wall_s - sum(seconds for _, seconds, _ in table), rest)]

    def results(self) -> dict:
        """Every figure that is computed from `raw`, as plain values."""
        names = ("energy_wh", "low_wh", "high_wh", "net_wh", "method", "co2e_g")
        carbon = {"low_co2e_g": self._carbon(self.low_wh), "high_co2e_g": self._carbon(self.high_wh)}
        rows = [list(row) for row in self.breakdown()] if self.phases else []
        return {name: getattr(self, name) for name in names} | carbon | {"breakdown": rows}

    def __str__(self) -> str:
        if self.energy_wh is None:
            energy = "energy unknown: " + "; ".join(str(p) for p in self.components if p.energy_wh is None)
        else:
            known = f"{_in_parts(self)}; {between(self.low_wh, self.high_wh)}"
            energy = f"{quantity(self.energy_wh, 'Wh')} {self.method} ({known})"
        net = "" if self.net_wh is None else f", net of idle {quantity(self.net_wh, 'Wh')}"
        carbon = "" if self.co2e_g is None else f", {quantity(self.co2e_g, 'g CO2e')} ({self.country})"
        notes = "".join(f" Note: {note}." for note in self.notes)
        cpu_s = "unknown" if self.cpu_s is None else f"{self.cpu_s:.1f}"
        return f"{self.label}: {self.wall_s:.1f} s, {cpu_s} CPU s, {energy}{net}{carbon}.{notes}"

    def _repr_html_(self) -> str:
        """A row for each part and each figure, with its range, its method and its source."""
        cpu_s = "unknown" if self.cpu_s is None else f"{self.cpu_s:.1f}"
        rows = [("time", f"{self.wall_s:.1f} s on the clock, {cpu_s} s of CPU", "", "clock", "")]
        rows += [(name, f"{amount:,.6g}", "", "counted", "") for name, amount in self.work.items()]
        rows += [_row(p.name, p.energy_wh, "Wh", p.range_wh(), p.method, p.source) for p in self.components]
        ends, method = (self.low_wh, self.high_wh), self.method or "unknown"
        rows.append(_row("total", self.energy_wh, "Wh", ends, method, "as good as its weakest part"))
        if self.net_wh is not None:
            why = f"the total without {quantity(self.idle_w, 'W')} of the idle machine"
            rows.append(("net of idle", quantity(self.net_wh, "Wh"), "", method, why))
        source = self.intensity_source + ("" if self.pue == 1 else f", PUE {self.pue:g}")
        ends = self._carbon(self.low_wh), self._carbon(self.high_wh)
        rows.append(_row("carbon", self.co2e_g, "g CO2e", ends, method, source))
        for label, seconds, energy_wh in self.breakdown() if self.phases else []:
            value = f"{seconds:.1f} s, {quantity(energy_wh, 'Wh')}"
            rows.append((f"· {label}", value, "", method, "part of the total"))
        rows += [("note", note, "", "", "") for note in self.notes]
        return html_table((self.label, "", "range", "method", "where it comes from"), rows)


@dataclass(frozen=True, repr=False)
class Idle(Record):
    """What the machine uses when nothing of yours runs."""

    reading: Measurement

    @property
    def power_w(self) -> float | None:
        """Watts on average; None if unknown."""
        energy_wh = self.reading.energy_wh
        return None if energy_wh is None else energy_wh * 3_600 / self.reading.wall_s

    def __str__(self) -> str:
        run = self.reading
        if self.power_w is None:
            return f"idle power unknown: {run}"
        parts, power = _in_parts(run, 3_600 / run.wall_s), quantity(self.power_w, "W")
        busy = f" Not idle: other programs used {run.foreign_load:.0%} of it." if run.disturbed else ""
        return f"idle: {power} {run.method} ({parts}), over {run.wall_s:.1f} s.{busy}"


def total(values: Iterable[float | None]) -> float | None:
    """The sum; None if there is nothing, or if anything is unknown."""
    values = list(values)
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


def weakest(parts: Iterable[Component]) -> str:
    """The method that a sum of these parts is as good as."""
    return max((part.method for part in parts if part.method is not None), key=METHODS.index)


def _in_parts(run: Measurement, factor: float = 1.0) -> str:
    """The known parts with their methods, their energy times `factor`."""
    known = [(part, part.energy_wh * factor) for part in run.components if part.energy_wh is not None]
    return ", ".join(f"{part.name} {significant_digits(value)} {part.method}" for part, value in known)


def _row(name: str, value: float | None, unit: str, ends: tuple, method: str | None, source: str) -> tuple:
    if value is None or method is None:
        return name, "unknown", "", "unknown", source
    return name, quantity(value, unit), between(*ends), method, source


RESTORED: dict[str, Any] = {  # fields from plain values: JSON knows neither these classes nor tuples
    **dict.fromkeys(("cost", "reading"), Measurement.from_raw),
    **dict.fromkeys(("notes", "latencies_s"), tuple),
    "phases": lambda phases: tuple(map(Measurement.from_raw, phases)),
    "components": lambda parts: tuple(Component(**part) for part in parts),
    "curve": lambda rounds: tuple(map(tuple, rounds)),
}
