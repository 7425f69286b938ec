"""CodeCarbon's tracker, read while it runs: the one place that touches private names of CodeCarbon's.

They were seen in CodeCarbon 3.3.2, which has no public way to read a running tracker, or to learn where its
figures come from; a test holds that they are there.
"""

import contextlib
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psutil

from helpers.energy import sources
from helpers.energy.records import Component


class Reader:
    """A tracker of one place: offline, quiet, without files, and with a figure for each GPU.

    If it fails, the work that is measured goes on: every figure is unknown, for the reason in `failure`.
    """

    def __init__(self, country: str) -> None:
        self.failure: str | None = None
        self._tracker: Any = None
        with self._caught():
            self._tracker = _offline_tracker(country)
            self._tracker.start()
            if self._tracker._start_time is None:  # a locked one says nothing and does nothing
                self.failure = "CodeCarbon did not start"

    @contextlib.contextmanager
    def _caught(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever it is, the learner's training is worth more
            self.failure = f"CodeCarbon failed: {type(error).__name__}: {error}"

    def read(self) -> dict[str, float]:
        """Wh so far by component."""
        found: dict[str, float] = {}
        with self._caught():
            if not self.failure:
                self._tracker._measure_power_and_energy()  # `flush` leaves out up to the last 50 ms
                for name in ("CPU", "RAM", "GPU"):
                    found[name] = getattr(self._tracker, f"_total_{name.lower()}_energy").kWh * 1_000
                found |= {f"GPU {index}": energy_wh for index, energy_wh in self._tracker.gpu_wh.items()}
        return found

    def components(self, before: dict, after: dict, wall_s: float) -> tuple[Component, ...]:
        """What was used between two readings, each part with its method."""
        found: list[Component] = []
        with self._caught():
            for part in [] if self.failure else self._parts():
                energy_wh, why = after.get(part.name, 0.0) - before.get(part.name, 0.0), ""
                if wall_s < sources.MIN_SECONDS:
                    least = f"measure {sources.MIN_SECONDS} s or more, by repeating the work"
                    why = f"{wall_s:.2f} s is too short to tell; {least}"
                elif not energy_wh > 0:
                    why = f"no reading from {part.source}"
                known = replace(part, energy_wh=energy_wh)
                found.append(Component(part.name, None, None, why) if why else known)
        if self.failure:
            return (Component("machine", None, None, self.failure),)
        return tuple(sorted(found, key=lambda part: part.name))

    def _parts(self) -> Iterator[Component]:
        """Each part, still without its energy."""
        from codecarbon.external import hardware as kinds
        from codecarbon.external.ram import RAM

        for hardware in self._tracker._hardware:
            if isinstance(hardware, RAM):
                watts = hardware.total_power().W
                yield Component("RAM", None, "assumed", f"constant {watts:.0f} W", watts)
            elif isinstance(hardware, kinds.GPU):
                for device in _gpus(self._tracker):
                    counter = f"energy counter of {device._gpu_name}"
                    sampled = f"power of {device._gpu_name}, read once a second"
                    source = sampled if device._use_power_fallback else counter
                    yield Component(f"GPU {device.gpu_index}", None, "measured", source)
            elif isinstance(hardware, kinds.CPU):
                mode, watts = hardware._mode, hardware._tdp
                if mode == "cpu_load":
                    source = f"{watts:.0f} W at most x (0.1 + 0.9 load cubed){sources.rapl_hint()}"
                    yield Component("CPU", None, "modelled", source, watts)
                elif mode == "constant":
                    source = f"constant {watts * 0.5:.0f} W{sources.rapl_hint()}"
                    yield Component("CPU", None, "assumed", source, watts * 0.5)
                else:
                    source = "RAPL counter" if mode == "intel_rapl" else mode
                    yield Component("CPU", None, "measured", source)
            else:  # Apple's chips and the Raspberry Pi report by part
                name = getattr(hardware, "chip_part", "CPU")
                yield Component(name, None, "measured", type(hardware).__name__)

    def gpu_notes(self) -> list[str]:
        """A note for each GPU on which other processes are."""
        notes: list[str] = []
        with contextlib.suppress(Exception):  # a driver that does not tell is not an error of the block
            own = {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}
            uses_gpu = "torch" in sys.modules and sys.modules["torch"].cuda.is_initialized()
            for device in [] if self.failure else _gpus(self._tracker):
                pids = {entry["pid"] for entry in device._get_compute_processes()}
                # In a container the driver may know this process by another number.
                others = len(pids - own) - (not pids & own and uses_gpu)
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


def _offline_tracker(country: str):
    from codecarbon import OfflineEmissionsTracker

    class Tracker(OfflineEmissionsTracker):
        # Neither a file .codecarbon.config nor a variable CODECARBON_... bends a figure.
        _external_conf = property(lambda self: {}, lambda self, found: None)

        def _measure_power_and_energy(self) -> None:
            with self.reading:  # one at a time
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
    """CodeCarbon's devices, one for each GPU that this process may see."""
    kinds = [hardware for hardware in tracker._hardware if type(hardware).__name__ == "GPU"]
    found = [(device, kind.gpu_ids) for kind in kinds for device in kind.devices.devices]
    return [device for device, seen in found if seen is None or device.gpu_index in seen]
