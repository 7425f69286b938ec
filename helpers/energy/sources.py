"""Where figures come from: CodeCarbon's readings, the CPU clocks, the grid's intensity."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import psutil

from helpers.energy import tracker
from helpers.energy.records import Component, EnergyError

MIN_SECONDS = 0.5  # CodeCarbon samples power about once a second; less than this is noise
RAPL = Path("/sys/class/powercap")  # where Linux keeps the CPU's energy counters


class Reader:
    """CodeCarbon's tracker, as a meter that can be read while it runs.

    A tracker that fails does not stop the work that is measured: every figure is then unknown, for the
    reason in `failure`.
    """

    def __init__(self, country: str) -> None:
        self.failure: str | None = None
        self._tracker = None
        with self._caught():
            self._tracker = tracker.create(country)
            self._tracker.start()
            self.failure = None if tracker.runs(self._tracker) else "CodeCarbon did not start"

    @contextlib.contextmanager
    def _caught(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever it is, the learner's training is worth more
            self.failure = f"CodeCarbon failed: {type(error).__name__}: {error}"

    def read(self) -> dict[str, float]:
        """Wh so far by component."""
        with self._caught():
            if not self.failure:
                return tracker.read_wh(self._tracker)
        return {}

    def components(self, before: dict, after: dict, wall_s: float) -> tuple[Component, ...]:
        """What was used between two readings, each part with its method."""
        found: list[Component] = []
        with self._caught():
            for name, method, source, basis_w in [] if self.failure else tracker.parts(self._tracker):
                energy_wh = after.get(name, 0.0) - before.get(name, 0.0)
                source += rapl_hint() if name == "CPU" and method != "measured" else ""
                if wall_s < MIN_SECONDS:
                    least = f"measure {MIN_SECONDS} s or more, by repeating the work"
                    part = Component(name, None, None, f"{wall_s:.2f} s is too short to tell; {least}")
                elif energy_wh > 0:
                    part = Component(name, energy_wh, method, source, basis_w)
                else:
                    part = Component(name, None, None, f"no reading from {source}")
                found.append(part)
        if self.failure:
            return (Component("machine", None, None, self.failure),)
        return tuple(sorted(found, key=lambda component: component.name))

    def gpu_notes(self) -> list[str]:
        """A note for each GPU on which other processes are."""
        notes: list[str] = []
        with contextlib.suppress(Exception):  # a driver that does not tell is not an error of the block
            own = {process.pid for process in _own_processes()}
            for device in [] if self.failure else tracker.gpus(self._tracker):
                pids = tracker.processes_on(device)
                # In a container the driver may know this process by another number.
                others = len(pids - own) - (not pids & own and _uses_gpu())
                if others > 0:
                    who = f"{others} other process{'es' if others > 1 else ''}"
                    notes.append(f"{who} on GPU {device.gpu_index} meanwhile, and its counter includes them")
        return notes

    def stop(self) -> None:
        """Stop the tracker's threads."""
        with self._caught(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self._tracker is not None:
                self._tracker.stop()


def _uses_gpu() -> bool:
    """Whether this process has memory on a GPU, as far as torch knows."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized()


def rapl_hint() -> str:
    """How to get at a CPU counter that is there but closed; empty if there is none, or if it is open."""
    for path in sorted(RAPL.glob("intel-rapl:*/energy_uj")):
        if not os.access(path, os.R_OK):
            return f"; its counter is closed to you, and `sudo chmod o+r {path}` opens it until the next boot"
    return ""


@functools.cache
def carbon_intensity(country: str) -> tuple[str, float | None, str]:
    """The code in capitals, its grid's g CO2e per kWh (None if unknown), and the source with its year.

    It is an `EnergyError` if `country` is no ISO 3166 three-letter code that CodeCarbon's table has.
    """
    from codecarbon.input import DataSource

    table = DataSource().get_global_energy_mix_data()
    code = str(country).upper()
    if code not in table:
        known = {key: row["country_name"].upper() for key, row in table.items()}
        near = [key for key, name in known.items() if len(code) > 2 and name.startswith(code[:4])]
        hint = f" Did you mean {' or '.join(near[:3])}?" if near else ""
        expected = "expected a three-letter ISO 3166 code such as 'USA' or 'IND'"
        raise EnergyError(f"There is no country {country!r}: {expected}.{hint}")
    row = table[code]
    value, name = row.get("carbon_intensity"), row["country_name"]
    if value is None:
        return code, None, f"CodeCarbon's table has no intensity for {name}"
    return code, value, f"{value:.0f} g/kWh, {name} {row['year']}, yearly mean (CodeCarbon's table)"


def own_cpu_seconds() -> float:
    """CPU seconds of this process, of its ended children and of its living ones with theirs."""
    total = 0.0
    for process in _own_processes():
        with contextlib.suppress(psutil.Error):  # it ended between the two calls
            times = process.cpu_times()
            ended = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
            total += times.user + times.system + ended
    return total


def _own_processes() -> list[psutil.Process]:
    me = psutil.Process()
    return [me, *me.children(recursive=True)]


def busy_cpu_seconds() -> float:
    """CPU seconds that the machine spent on anything since it started."""
    left_out = ("idle", "iowait", "guest", "guest_nice")  # guests are in user and nice already
    return sum(s for name, s in psutil.cpu_times()._asdict().items() if name not in left_out)
