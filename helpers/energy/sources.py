"""Where figures come from: CodeCarbon's readings, the CPU clocks, the grid's intensity."""

from __future__ import annotations

import functools
import logging
import os
import sys
import threading
import warnings
from pathlib import Path

import psutil

from helpers.energy.records import Component, EnergyError

MIN_SECONDS = 0.5  # CodeCarbon samples power about once a second; less than this is noise
RAPL = Path("/sys/class/powercap")  # where Linux keeps the CPU's energy counters


class Reader:
    """CodeCarbon's tracker, as a meter that can be read while it runs.

    It is offline, of one place, quiet, and leaves no file behind. A tracker that fails does not stop the
    work that is measured: every figure is then unknown, for the reason in `failure`.
    """

    def __init__(self, country: str) -> None:
        self.failure: str | None = None
        try:
            self._tracker = _tracker(country)
            self._tracker.start()
        except Exception as error:  # whatever it is, the learner's training is worth more
            self.failure = f"CodeCarbon failed: {type(error).__name__}: {error}"
        else:
            if self._tracker._start_time is None:
                self.failure = "CodeCarbon did not start"

    def read(self) -> dict[str, float]:
        """Wh so far by component."""
        if self.failure:
            return {}
        try:
            self._tracker._measure_power_and_energy()  # `flush` leaves out up to the last 50 ms
        except Exception as error:
            self.failure = f"CodeCarbon failed: {type(error).__name__}: {error}"
            return {}
        tracker = self._tracker
        totals = {
            "CPU": tracker._total_cpu_energy.kWh * 1_000,
            "RAM": tracker._total_ram_energy.kWh * 1_000,
            "GPU": tracker._total_gpu_energy.kWh * 1_000,
        }
        return totals | {f"GPU {index}": energy for index, energy in tracker.gpu_wh.items()}

    def components(self, before: dict, after: dict, wall_s: float) -> tuple[Component, ...]:
        """What was used between two readings, each part with its method."""
        if self.failure:
            return (Component("machine", None, None, self.failure),)
        found = []
        for name, method, source, basis_w in self._parts():
            energy_wh = after.get(name, 0.0) - before.get(name, 0.0)
            if wall_s < MIN_SECONDS:
                why = (
                    f"{wall_s:.2f} s is too short to tell; "
                    f"measure {MIN_SECONDS} s or more, by repeating the work"
                )
                found.append(Component(name, None, None, why))
            elif not energy_wh > 0:
                found.append(Component(name, None, None, f"no reading from {source}"))
            else:
                found.append(Component(name, energy_wh, method, source, basis_w))
        return tuple(sorted(found, key=lambda component: component.name))

    def _parts(self) -> list[tuple[str, str, str, float | None]]:
        """Name, method, source and basis in watts of each part. There is no public way to learn them."""
        from codecarbon.external import hardware as kinds
        from codecarbon.external.ram import RAM

        parts: list[tuple[str, str, str, float | None]] = []
        for hardware in self._tracker._hardware:
            if isinstance(hardware, RAM):
                watts = hardware.total_power().W
                parts.append(("RAM", "assumed", f"constant {watts:.0f} W", watts))
            elif isinstance(hardware, kinds.GPU):
                parts += [_describe_gpu(device) for device in hardware.devices.devices]
            elif isinstance(hardware, kinds.CPU):
                parts.append(_describe_cpu(hardware))
            else:  # Apple's chips and the Raspberry Pi report by part
                parts.append(
                    (getattr(hardware, "chip_part", "CPU"), "measured", type(hardware).__name__, None)
                )
        return parts

    def gpu_notes(self) -> list[str]:
        """A note for each GPU on which other processes are."""
        devices, notes = [] if self.failure else _gpus(self._tracker), []
        if not devices:
            return []
        own = {os.getpid()} | {child.pid for child in psutil.Process().children(recursive=True)}
        for device in devices:
            try:
                pids = {entry["pid"] for entry in device._get_compute_processes()}
            except Exception:  # a driver that does not tell is not an error of the block
                continue
            # In a container the driver may know this process by another number.
            others = len(pids - own) - (not pids & own and _uses_gpu())
            if others > 0:
                who = f"{others} other process{'es' if others > 1 else ''}"
                notes.append(f"{who} on GPU {device.gpu_index} meanwhile, and its counter includes them")
        return notes

    def stop(self) -> None:
        """Stop the tracker's threads."""
        if getattr(self, "_tracker", None) is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._tracker.stop()


def _tracker(country: str):
    """CodeCarbon's tracker, with one reading at a time and the energy of each GPU kept apart."""
    from codecarbon import OfflineEmissionsTracker

    class Tracker(OfflineEmissionsTracker):
        def _measure_power_and_energy(self) -> None:
            with self.reading:
                super()._measure_power_and_energy()
                for device in _gpus(self):
                    energy_wh = device.energy_delta.kWh * 1_000
                    self.gpu_wh[device.gpu_index] = self.gpu_wh.get(device.gpu_index, 0.0) + energy_wh

    logging.getLogger("codecarbon").setLevel(logging.CRITICAL)
    tracker = Tracker(
        country_iso_code=country,
        output_methods=[],
        allow_multiple_runs=True,  # else a lock that a killed process left behind would forbid measuring
        log_level="critical",
        measure_power_secs=5,
    )
    tracker.reading, tracker.gpu_wh = threading.RLock(), {}
    return tracker


def _gpus(tracker) -> list:
    """CodeCarbon's devices, one for each GPU."""
    return [
        device
        for hardware in tracker._hardware
        if type(hardware).__name__ == "GPU"
        for device in hardware.devices.devices
    ]


def _uses_gpu() -> bool:
    """Whether this process has memory on a GPU, as far as torch knows."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized()


def _describe_gpu(device) -> tuple[str, str, str, float | None]:
    name = f"GPU {device.gpu_index}"
    if device._use_power_fallback:
        return name, "measured", f"power of {device._gpu_name}, read once a second", None
    return name, "measured", f"energy counter of {device._gpu_name}", None


def _describe_cpu(hardware) -> tuple[str, str, str, float | None]:
    mode, watts = hardware._mode, hardware._tdp
    if mode == "cpu_load":
        source = f"{watts:.0f} W at most x (0.1 + 0.9 load cubed)" + rapl_hint()
        return "CPU", "modelled", source, watts
    if mode == "constant":
        return "CPU", "assumed", f"constant {watts * 0.5:.0f} W" + rapl_hint(), watts * 0.5
    return "CPU", "measured", {"intel_rapl": "RAPL counter"}.get(mode, mode), None


def rapl_hint() -> str:
    """How to get at a CPU counter that is there but closed; empty if there is none, or if it is open."""
    for path in sorted(RAPL.glob("intel-rapl:*/energy_uj")):
        try:
            path.read_text()
        except PermissionError:
            return f"; its counter is closed to you, and `sudo chmod o+r {path}` opens it until the next boot"
        except OSError:
            continue
    return ""


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


def own_cpu_seconds() -> float:
    """CPU seconds of this process, of its ended children and of its living ones with theirs."""
    total = 0.0
    me = psutil.Process()
    for process in [me, *me.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.Error:  # it ended between the two calls
            continue
        ended = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
        total += times.user + times.system + ended
    return total


def busy_cpu_seconds() -> float:
    """CPU seconds that the machine spent on anything since it started."""
    times = psutil.cpu_times()
    waiting = times.idle + getattr(times, "iowait", 0.0)
    # Guests are in user and nice already.
    counted_twice = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return sum(times) - waiting - counted_twice
