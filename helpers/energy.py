"""Measure what a block of code costs: time, energy with its method, carbon.

CodeCarbon does the reading; this module says where each figure comes from. A component (CPU, GPU,
RAM) is `measured` (a counter was read), `modelled` (maximum power times load) or `assumed` (a
constant). A total is only as good as its weakest part, and what is unknown is None with a reason,
never 0.

    with energy.measure("fine-tune", country="USA") as meter:
        train()
    print(meter.result)
"""

import functools
import logging
import math
import threading
import time
import warnings
from dataclasses import asdict, dataclass
from html import escape

import psutil

METHODS = ("measured", "modelled", "assumed")  # from the strongest to the weakest
MIN_SECONDS = 0.5  # CodeCarbon samples power about once a second; less than this is noise
FOREIGN_LOAD_LIMIT = 0.10  # share of the machine used by others above which a figure is marked


class EnergyError(RuntimeError):
    """A measurement that cannot be made as asked; the message says what to do."""


@dataclass(frozen=True)
class Component:
    """Energy of one part of the machine, in watt-hours, and where the figure comes from."""

    name: str
    energy_wh: float | None
    method: str | None
    source: str

    def __str__(self) -> str:
        if self.energy_wh is None:
            return f"{self.name} unknown ({self.source})"
        return f"{self.name} {_digits(self.energy_wh)} Wh {self.method} ({self.source})"


@dataclass(frozen=True)
class Measurement:
    """What a block cost. Prints as one line, shows as a small table in a notebook.

    Attributes
    ----------
    wall_s, cpu_s : float
        Seconds on the clock, and CPU seconds of this process and its children.
    components : tuple of Component
        CPU, RAM and GPU if there is one.
    intensity_g_per_kwh : float or None
        Grams of CO2-equivalent per kilowatt-hour in `country`, a yearly mean; None if unknown.
    foreign_load : float
        Share of the machine's CPU time used by other processes meanwhile, 0 to 1.
    notes : tuple of str
        What to keep in mind when quoting the figure.
    """

    label: str
    wall_s: float
    cpu_s: float
    components: tuple[Component, ...]
    country: str
    intensity_g_per_kwh: float | None
    intensity_source: str
    foreign_load: float
    notes: tuple[str, ...] = ()

    @property
    def energy_wh(self) -> float | None:
        """Sum of the components in Wh; None as soon as one of them is unknown."""
        parts = [component.energy_wh for component in self.components]
        return None if not parts or None in parts else sum(parts)

    @property
    def method(self) -> str | None:
        """The weakest method among the components; None if the energy is unknown."""
        if self.energy_wh is None:
            return None
        return max((component.method for component in self.components), key=METHODS.index)

    @property
    def co2e_g(self) -> float | None:
        """Grams of CO2-equivalent: energy times the country's intensity; None if either is unknown."""
        if self.energy_wh is None or self.intensity_g_per_kwh is None:
            return None
        return self.energy_wh / 1_000 * self.intensity_g_per_kwh

    def to_dict(self) -> dict:
        """Everything, totals included, as plain values that `json` can write."""
        totals = {"energy_wh": self.energy_wh, "method": self.method, "co2e_g": self.co2e_g}
        return asdict(self) | totals

    def __str__(self) -> str:
        if self.energy_wh is None:
            energy = "energy unknown: " + "; ".join(
                str(component) for component in self.components if component.energy_wh is None
            )
        else:
            energy = f"{_digits(self.energy_wh)} Wh {self.method} ({self._parts()})"
        carbon = "" if self.co2e_g is None else f", {_digits(self.co2e_g)} g CO2e ({self.country})"
        notes = "".join(f" Note: {note}." for note in self.notes)
        return f"{self.label}: {self.wall_s:.1f} s, {self.cpu_s:.1f} CPU s, {energy}{carbon}.{notes}"

    def _parts(self) -> str:
        return ", ".join(f"{part.name} {_digits(part.energy_wh)} {part.method}" for part in self.components)

    def _repr_html_(self) -> str:
        rows = [("time", f"{self.wall_s:.1f} s on the clock, {self.cpu_s:.1f} s of CPU", "measured", "")]
        for part in self.components:
            value = "unknown" if part.energy_wh is None else f"{_digits(part.energy_wh)} Wh"
            rows.append((part.name, value, part.method or "unknown", part.source))
        total = "unknown" if self.energy_wh is None else f"{_digits(self.energy_wh)} Wh"
        rows.append(("total", total, self.method or "unknown", "as good as its weakest part"))
        carbon = "unknown" if self.co2e_g is None else f"{_digits(self.co2e_g)} g CO2e"
        rows.append(("carbon", carbon, self.method or "unknown", self.intensity_source))
        rows += [("note", note, "", "") for note in self.notes]
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        head = "".join(
            f"<th>{cell}</th>" for cell in (escape(self.label), "", "method", "where it comes from")
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


class Meter:
    """A running measurement; `result` holds the `Measurement` once it has stopped."""

    def __init__(self, label: str, country: str) -> None:
        self.label = label
        self._country, self._intensity, self._intensity_source = carbon_intensity(country)
        self._result: Measurement | None = None

    @property
    def result(self) -> Measurement:
        if self._result is None:
            raise EnergyError(
                f"The measurement {self.label!r} has not stopped yet: leave its `with` block first."
            )
        return self._result

    def _start(self) -> None:
        self._tracker = _tracker(self._country)
        self._tracker.start()
        self._wall, self._own, self._busy = time.perf_counter(), _own_cpu_seconds(), _busy_cpu_seconds()

    def _stop(self) -> None:
        wall_s = time.perf_counter() - self._wall
        own, busy = _own_cpu_seconds() - self._own, _busy_cpu_seconds() - self._busy
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._tracker.stop()
        foreign = min(1.0, max(0.0, busy - own) / (wall_s * psutil.cpu_count())) if wall_s > 0 else 0.0
        notes = []
        if wall_s >= MIN_SECONDS and foreign > FOREIGN_LOAD_LIMIT:
            notes.append(
                f"other processes used {foreign:.0%} of the machine meanwhile, and modelled power includes it"
            )
        self._result = Measurement(
            self.label,
            wall_s,
            max(own, 0.0),
            _components(self._tracker, wall_s),
            self._country,
            self._intensity,
            self._intensity_source,
            foreign,
            tuple(notes),
        )

    def stop(self) -> Measurement:
        """Stop, and return the `Measurement`. Measurements nested in this one must have stopped."""
        with _lock:
            if self not in _running:
                raise EnergyError(
                    f"The measurement {self.label!r} is not running: it has stopped, or was started anew."
                )
            if _running[-1] is not self:
                raise EnergyError(
                    f"{self.label!r} cannot stop while {_running[-1].label!r}, started in it, runs: two "
                    " measurements may nest but not overlap. Stop the inner one first."
                )
            self._stop()
            _running.pop()
        return self.result

    def __enter__(self) -> "Meter":
        _begin(self)
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.stop()


_lock = threading.RLock()
_running: list[Meter] = []  # from the outermost to the innermost
_owner: int | None = None  # the thread that the running ones belong to


def measure(label: str, *, country: str) -> Meter:
    """Measure a `with` block. Blocks may nest; two that merely overlap are refused.

    Parameters
    ----------
    label : str
        What is being measured, as it should stand in a table.
    country : str
        ISO 3166 three-letter code of the place whose electricity mix turns energy into carbon.

    Raises
    ------
    EnergyError
        If the code is unknown, or if another thread is measuring.

    Examples
    --------
    >>> with measure("nothing", country="USA") as meter:
    ...     pass
    >>> meter.result.energy_wh is None  # too short to tell, so unknown and not 0
    True
    """
    return Meter(label, country)


def start(label: str, *, country: str) -> Meter:
    """Start measuring something that no `with` block can hold, such as a whole notebook.

    Starting the same label anew, as running a cell twice does, replaces the measurement that runs.
    """
    with _lock:
        labels = [meter.label for meter in _running]
        if label in labels:
            first = labels.index(label)
            while len(_running) > first:
                _running.pop()._tracker.stop()
        return _begin(Meter(label, country))


def _begin(meter: Meter) -> Meter:
    global _owner
    with _lock:
        if meter in _running or meter._result is not None:
            raise EnergyError(
                f"The measurement {meter.label!r} was used before: make a new one with energy.measure()."
            )
        if _running and _owner != threading.get_ident():
            raise EnergyError(
                f"{_running[-1].label!r} is being measured in another thread; two at once would "
                "each be charged the whole machine. Wait until it has stopped, or measure both together."
            )
        _owner = threading.get_ident()
        meter._start()
        _running.append(meter)
    return meter


@functools.cache
def carbon_intensity(country: str) -> tuple[str, float | None, str]:
    """The code in capitals, its grid's g CO2e per kWh (None if unknown), and the source with its year.

    Raises
    ------
    EnergyError
        If `country` is not an ISO 3166 three-letter code that CodeCarbon's table has.
    """
    from codecarbon.input import DataSource

    table = DataSource().get_global_energy_mix_data()
    code = str(country).upper()
    if code not in table:
        near = [
            key
            for key, row in table.items()
            if row["country_name"].lower().startswith(str(country).lower()[:4])
        ]
        hint = f" Did you mean {' or '.join(near[:3])}?" if near and len(str(country)) > 2 else ""
        raise EnergyError(
            f"There is no country {country!r}: expected a three-letter ISO 3166 code such as 'USA' "
            f"or 'IND'.{hint}"
        )
    row = table[code]
    value = row.get("carbon_intensity")
    if value is None:
        return code, None, f"CodeCarbon's table has no intensity for {row['country_name']}"
    return (
        code,
        value,
        f"{value:.0f} g/kWh, {row['country_name']} {row['year']}, yearly mean (CodeCarbon's table)",
    )


def _tracker(country: str):
    """CodeCarbon's tracker: offline, of this place, quiet, leaving no file behind."""
    from codecarbon import OfflineEmissionsTracker

    logging.getLogger("codecarbon").setLevel(logging.CRITICAL)
    return OfflineEmissionsTracker(
        country_iso_code=country,
        output_methods=[],
        allow_multiple_runs=True,
        log_level="critical",
        measure_power_secs=5,
    )


def _components(tracker, wall_s: float) -> tuple[Component, ...]:
    """Energy by component out of a stopped tracker, each with its method."""
    data = getattr(tracker, "final_emissions_data", None)
    found = []
    for hardware in tracker._hardware:  # no public way to learn which kind of reading was used
        name, energy_kwh, method, source = _describe(hardware, data)
        if data is None:
            found.append(Component(name, None, None, "CodeCarbon returned no figure"))
        elif wall_s < MIN_SECONDS:
            why = (
                f"{wall_s:.2f} s is too short to tell; measure {MIN_SECONDS} s or more, by repeating the work"
            )
            found.append(Component(name, None, None, why))
        elif not energy_kwh > 0:
            found.append(Component(name, None, None, f"no reading from {source}"))
        else:
            found.append(Component(name, energy_kwh * 1_000, method, source))
    return tuple(sorted(found, key=lambda component: component.name))


def _describe(hardware, data) -> tuple[str, float | None, str, str]:
    """Name, energy in kWh, method and source of one of CodeCarbon's hardware objects."""
    from codecarbon.external import hardware as kinds
    from codecarbon.external.ram import RAM

    kwh = {"CPU": "cpu_energy", "RAM": "ram_energy", "GPU": "gpu_energy"}
    if isinstance(hardware, RAM):
        return "RAM", getattr(data, kwh["RAM"], None), "assumed", f"constant {hardware.total_power().W:.0f} W"
    if isinstance(hardware, kinds.GPU):
        return "GPU", getattr(data, kwh["GPU"], None), "measured", "the GPU's energy counter"
    if isinstance(hardware, kinds.CPU):
        mode = hardware._mode
        energy = getattr(data, kwh["CPU"], None)
        if mode == "cpu_load":
            return "CPU", energy, "modelled", f"{hardware._tdp:.0f} W at most x (0.1 + 0.9 load cubed)"
        if mode == "constant":
            return "CPU", energy, "assumed", f"constant {hardware._tdp:.0f} W"
        return "CPU", energy, "measured", {"intel_rapl": "RAPL counter"}.get(mode, mode)
    part = getattr(hardware, "chip_part", "CPU")  # Apple's chips and the Raspberry Pi report by part
    return part, getattr(data, kwh.get(part, ""), None), "measured", type(hardware).__name__


def _own_cpu_seconds() -> float:
    """CPU seconds of this process, of its ended children and of its living ones."""
    process = psutil.Process()
    times = process.cpu_times()
    total = times.user + times.system + times.children_user + times.children_system
    for child in process.children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.Error:  # it ended between the two calls
            continue
        total += times.user + times.system
    return total


def _busy_cpu_seconds() -> float:
    """CPU seconds that the machine spent on anything since it started."""
    times = psutil.cpu_times()
    waiting = times.idle + getattr(times, "iowait", 0.0)
    counted_twice = getattr(times, "guest", 0.0) + getattr(
        times, "guest_nice", 0.0
    )  # in user and nice already
    return sum(times) - waiting - counted_twice


def _digits(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value == 0:
        return "0"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}"
