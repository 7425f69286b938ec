"""The meter: `measure` a block, `start` one that no block can hold, look at the machine when `idle`."""

import math
import os
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Iterator
from io import IOBase
from typing import Any

from helpers.energy import sources, tracker
from helpers.energy.records import FOREIGN_LOAD_LIMIT, EnergyError, Idle, Measurement
from helpers.values import require_range


class Meter:
    """Measure a `with` block; `result` holds the `Measurement` once it has stopped.

    What counts is the whole machine, other people's work on it included, but of its GPUs only those that this
    process may use (CUDA_VISIBLE_DEVICES). What cannot be read is unknown, with the reason, and no error. An
    inner block is a phase of the outer; two that overlap, or a second thread's, raise `EnergyError`.

    `label` is a name for tables, `country` the ISO 3166 three-letter code of the place whose electricity mix
    counts, and `pue` the power usage effectiveness of the data center, which counts in the carbon alone.

    Examples
    --------
    >>> with measure("nothing", country="USA") as meter:
    ...     pass
    >>> meter.result.energy_wh is None  # too short to tell, so unknown and not 0
    True
    """

    def __init__(self, label: str, *, country: str, pue: float = 1.0) -> None:
        require_range("pue", pue, 1, error=EnergyError)
        self.label, self._pue = label, pue
        self._place = sources.carbon_intensity(country)  # with its code, its intensity and the source of that
        self._phases: list[Measurement] = []
        self._notes: list[str] = []
        self.work: dict[str, float] = {}
        self._result: Measurement | None = None
        self._reader: tracker.Reader

    @property
    def result(self) -> Measurement:
        """The measurement, once the meter has stopped; an `EnergyError` before."""
        if self._result is None:
            raise EnergyError(f"{self.label!r} has not stopped yet: leave its `with` block first.")
        return self._result

    def count(self, **amounts: float) -> None:
        """Add to the work done in this block, such as ``count(samples=32, tokens=800)``."""
        for name, amount in amounts.items():
            self.work[name] = self.work.get(name, 0) + amount

    def __enter__(self) -> "Meter":
        with _lock:
            if self in _running or self._result is not None:
                raise EnergyError(f"{self.label!r} was used before: make a new one with energy.measure().")
            self._thread = threading.get_ident()
            if _running and _running[0]._thread != self._thread:
                raise EnergyError(
                    f"{_running[-1].label!r} is being measured in another thread; two at once would "
                    "each be charged the whole machine. Wait until it has stopped, or measure both together."
                )
            tracker.wait_for_gpu()
            self._reader = _running[0]._reader if _running else tracker.Reader()
            self._before = self._reader.read()
            self.started, self._wall = time.time(), time.perf_counter()  # the second is a clock no one sets
            self._cpu = sources.cpu_readings(self._notes)
            _running.append(self)
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            self.stop()
        except Exception:
            with _lock:
                while self in _running:
                    _drop()
            if error is None:  # else the block's own exception is the one to see
                raise

    def stop(self) -> Measurement:
        """Stop, and return the `Measurement`. Measurements nested in this one must have stopped."""
        with _lock:
            if self not in _running:
                raise EnergyError(f"{self.label!r} is not running: it has stopped, or was started anew.")
            if _running[-1] is not self:
                inner = f"{_running[-1].label!r}, started in it,"
                expected = "two measurements may nest but not overlap. Stop the inner one first."
                raise EnergyError(f"{self.label!r} cannot stop while {inner} runs: {expected}")
            try:
                self._result = self._read()
            finally:
                _drop()
            if _running:
                _running[-1]._phases.append(self._result)
        return self._result

    def _read(self) -> Measurement:
        tracker.wait_for_gpu()
        wall_s = time.perf_counter() - self._wall
        after = self._reader.read()
        now = sources.cpu_readings(self._notes)
        own, children, busy, _ = (b - a for a, b in zip(self._cpu, now, strict=True))  # NaN is unknown
        if busy + 0.1 < (own + children) / 2:  # gVisor's /proc/stat, for one, was all zeros until 2026
            busy = math.nan
            self._notes.append("the load of other processes cannot be read here (less than our own is shown)")
        others = (busy - own - children) / (wall_s * now[-1]) if wall_s >= sources.MIN_SECONDS else 0.0
        foreign = None if math.isnan(others) else min(1.0, max(others, 0.0))
        own += 0.0 if math.isnan(children) else children
        notes = [*dict.fromkeys(self._notes), *self._reader.notes()]
        if foreign is not None and foreign > FOREIGN_LOAD_LIMIT:
            load = f"other processes used {foreign:.0%} of the machine meanwhile"
            notes.append(f"{load}, and modelled power includes it")
        parts, phases = self._reader.components(self._before, after, wall_s), tuple(self._phases)
        cpu_s = None if math.isnan(own) else max(own, 0.0)
        found = (self.label, wall_s, cpu_s, parts, *self._place, foreign, tuple(notes), phases, self.work)
        return Measurement(*found, pue=self._pue, started=self.started)


PROMISES = (Iterator, AsyncIterator, Awaitable)
TO_WAIT_FOR = ("wait", "is_alive", "add_done_callback")  # of processes, threads and any library's futures
measure = Meter  # as a `with` statement reads
_lock = threading.RLock()
_running: list[Meter] = []  # from the outermost to the innermost
if hasattr(os, "register_at_fork"):  # a forked child has none of its parent's threads, so no meter runs in it
    os.register_at_fork(after_in_child=_running.clear)


def start(label: str, *, country: str) -> Meter:
    """Start measuring what no `with` block can hold, a notebook, say; it replaces one of the same label."""
    meter = Meter(label, country=country)
    with _lock:
        while label in (running.label for running in _running):
            _drop()
        return meter.__enter__()


def idle(seconds: float = 5.0) -> Idle:
    """Wait, and read what the machine uses meanwhile; `seconds` too short to tell raise `EnergyError`.

    Read it before and after what you measure: ``result.minus_idle(before, after)`` has the net energy.
    """
    require_range("seconds", seconds, sources.MIN_SECONDS, error=EnergyError)
    with Meter("idle", country="USA") as meter:  # a place is needed; no carbon is read from it
        time.sleep(seconds)
    return Idle(meter.result)


def finished(label: str, result: Any) -> Any:
    """What a work returned; an `EnergyError` if that is or holds a promise, and the work is still to do."""
    held = result.values() if isinstance(result, dict) else result
    parts = held if isinstance(result, dict | list | tuple | set | frozenset | deque) else ()
    kinds = [kind for kind in {type(result), *map(type, parts)} if not issubclass(kind, IOBase)]
    waits = [kind for kind in kinds if any(hasattr(kind, name) for name in TO_WAIT_FOR)]
    if promises := waits + [kind for kind in kinds if issubclass(kind, PROMISES)]:
        raise EnergyError(
            f"{label!r} returned a {promises[0].__name__} at once, before its work: the time and the energy "
            "would be those of nothing. Expected a function that returns when all is done: put list(...) "
            "around a generator, asyncio.run(...) around a coroutine, ask a future for its .result(), or "
            "wait for a process or a thread."
        )
    return result


def _drop() -> None:
    """Take the innermost meter off; the last one takes the tracker with it."""
    reader = _running.pop()._reader
    if not _running:
        reader.stop()
