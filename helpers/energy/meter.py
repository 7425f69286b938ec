"""The meter: `measure` a block, `start` one that no block can hold, look at the machine when `idle`."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable

import psutil

from helpers.energy import sources
from helpers.energy.records import FOREIGN_LOAD_LIMIT, EnergyError, Idle, Measurement


class Meter:
    """A running measurement; `result` holds the `Measurement` once it has stopped.

    Inside another measurement it becomes one of that one's phases: both are read off the same tracker, so
    that the phases and the rest sum to the whole.
    """

    def __init__(self, label: str, country: str, pue: float = 1.0) -> None:
        if not pue >= 1:
            raise EnergyError(
                f"pue is {pue!r}: expected 1 or more; 1 is a computer with no cooling to share."
            )
        self.label, self._pue = label, pue
        self._country, self._intensity, self._intensity_source = sources.carbon_intensity(country)
        self._phases: list[Measurement] = []
        self._work: dict[str, float] = {}
        self._result: Measurement | None = None

    @property
    def result(self) -> Measurement:
        if self._result is None:
            raise EnergyError(
                f"The measurement {self.label!r} has not stopped yet: leave its `with` block first."
            )
        return self._result

    def phase(self, label: str) -> Meter:
        """A part of this block, for `with meter.phase("load"):`, listed in its breakdown."""
        return Meter(label, self._country, self._pue)

    def count(self, **amounts: float) -> None:
        """Add to the work done in this block, such as ``count(samples=32, tokens=800)``."""
        for name, amount in amounts.items():
            self._work[name] = self._work.get(name, 0) + amount

    def __call__(self, function: Callable) -> Callable:
        """Use the meter as a decorator: every call is measured, the last one is in `.result`."""

        @functools.wraps(function)
        def measured(*args, **kwargs):
            with Meter(self.label, self._country, self._pue) as meter:
                try:
                    return function(*args, **kwargs)
                finally:
                    measured.meter = meter

        return measured

    def _start(self) -> None:
        self._reader = _running[0]._reader if _running else sources.Reader(self._country)
        self._before = self._reader.read()
        self._wall = time.perf_counter()  # a clock that no one sets
        self._own, self._busy = sources.own_cpu_seconds(), sources.busy_cpu_seconds()

    def _stop(self) -> None:
        wall_s = time.perf_counter() - self._wall
        after = self._reader.read()
        own = max(sources.own_cpu_seconds() - self._own, 0.0)
        busy = sources.busy_cpu_seconds() - self._busy
        cores = psutil.cpu_count() or 1
        foreign = min(1.0, max(0.0, busy - own) / (wall_s * cores)) if wall_s >= sources.MIN_SECONDS else 0.0
        notes = self._reader.gpu_notes()
        if foreign > FOREIGN_LOAD_LIMIT:
            notes.append(
                f"other processes used {foreign:.0%} of the machine meanwhile, and modelled power includes it"
            )
        self._result = Measurement(
            self.label,
            wall_s,
            own,
            self._reader.components(self._before, after, wall_s),
            self._country,
            self._intensity,
            self._intensity_source,
            foreign,
            tuple(notes),
            tuple(self._phases),
            self._work,
            pue=self._pue,
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
                    "measurements may nest but not overlap. Stop the inner one first."
                )
            self._stop()
            _drop()
            if _running:
                _running[-1]._phases.append(self.result)
        return self.result

    def __enter__(self) -> Meter:
        _begin(self)
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.stop()


_lock = threading.RLock()
_running: list[Meter] = []  # from the outermost to the innermost
_owner: int | None = None  # the thread that the running ones belong to
if hasattr(os, "register_at_fork"):  # a forked child has none of its parent's threads, so no meter runs in it
    os.register_at_fork(after_in_child=_running.clear)


def measure(label: str, *, country: str, pue: float = 1.0) -> Meter:
    """Measure a `with` block, or each call of a function that it decorates.

    Blocks may nest; two that merely overlap are refused.

    Parameters
    ----------
    label : str
        What is being measured, as it should stand in a table.
    country : str
        ISO 3166 three-letter code of the place whose electricity mix turns energy into carbon.
    pue : float
        Power usage effectiveness of the data center; counts in the carbon, not in the energy.

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

    >>> @measure("add", country="USA")
    ... def add(a, b):
    ...     return a + b
    >>> add(1, 2), add.meter.result.label
    (3, 'add')
    """
    return Meter(label, country, pue)


def start(label: str, *, country: str) -> Meter:
    """Start measuring something that no `with` block can hold, such as a whole notebook.

    Starting the same label anew, as running a cell twice does, replaces the measurement that runs.
    """
    with _lock:
        labels = [meter.label for meter in _running]
        if label in labels:
            first = labels.index(label)
            while len(_running) > first:
                _drop()
        return _begin(Meter(label, country))


def idle(seconds: float = 5.0) -> Idle:
    """Wait, and read what the machine uses meanwhile.

    Read it before and after what you measure: ``result.minus_idle(before, after)`` has the net energy.

    Raises
    ------
    EnergyError
        If `seconds` is too short to tell.
    """
    if not seconds >= sources.MIN_SECONDS:
        raise EnergyError(f"seconds is {seconds!r}: expected {sources.MIN_SECONDS} or more; 5 is better.")
    with Meter("idle", "USA") as meter:  # a place is needed; no carbon is read from it
        time.sleep(seconds)
    return Idle(meter.result)


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


def _drop() -> None:
    """Take the innermost meter off; the last one takes the tracker with it."""
    reader = _running.pop()._reader
    if not _running:
        reader.stop()
