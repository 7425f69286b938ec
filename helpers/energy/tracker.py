"""CodeCarbon's tracker, and every touch of a private name of CodeCarbon's.

Those below were seen in CodeCarbon 3.3.2, which has no public way to read a tracker that runs, or to learn
where its figures come from. A test holds that they are there.
"""

from __future__ import annotations

import logging
import threading


def create(country: str):
    """A tracker of this place that is offline, quiet, leaves no file, and keeps the GPUs apart."""
    from codecarbon import OfflineEmissionsTracker

    class Tracker(OfflineEmissionsTracker):
        def _measure_power_and_energy(self) -> None:
            with self.reading:  # one at a time
                super()._measure_power_and_energy()
                for device in gpus(self):
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


def runs(tracker) -> bool:
    """Whether it has started; a locked one says nothing and does nothing."""
    return tracker._start_time is not None


def read_wh(tracker) -> dict[str, float]:
    """Wh so far by component."""
    tracker._measure_power_and_energy()  # `flush` leaves out up to the last 50 ms
    totals = {name: getattr(tracker, f"_total_{name.lower()}_energy").kWh for name in ("CPU", "RAM", "GPU")}
    found = {name: kwh * 1_000 for name, kwh in totals.items()}
    return found | {f"GPU {index}": energy_wh for index, energy_wh in tracker.gpu_wh.items()}


def parts(tracker) -> list[tuple[str, str, str, float | None]]:
    """Name, method, source and basis in watts of each part."""
    from codecarbon.external import hardware as kinds
    from codecarbon.external.ram import RAM

    found: list[tuple[str, str, str, float | None]] = []
    for hardware in tracker._hardware:
        if isinstance(hardware, RAM):
            watts = hardware.total_power().W
            found.append(("RAM", "assumed", f"constant {watts:.0f} W", watts))
        elif isinstance(hardware, kinds.GPU):
            for device in hardware.devices.devices:
                counter = f"energy counter of {device._gpu_name}"
                sampled = f"power of {device._gpu_name}, read once a second"
                source = sampled if device._use_power_fallback else counter
                found.append((f"GPU {device.gpu_index}", "measured", source, None))
        elif isinstance(hardware, kinds.CPU):
            found.append(_cpu(hardware._mode, hardware._tdp))
        else:  # Apple's chips and the Raspberry Pi report by part
            name = getattr(hardware, "chip_part", "CPU")
            found.append((name, "measured", type(hardware).__name__, None))
    return found


def _cpu(mode: str, watts: float) -> tuple[str, str, str, float | None]:
    if mode == "cpu_load":
        return "CPU", "modelled", f"{watts:.0f} W at most x (0.1 + 0.9 load cubed)", watts
    if mode == "constant":
        return "CPU", "assumed", f"constant {watts * 0.5:.0f} W", watts * 0.5
    return "CPU", "measured", "RAPL counter" if mode == "intel_rapl" else mode, None


def gpus(tracker) -> list:
    """CodeCarbon's devices, one for each GPU."""
    cards = [hardware for hardware in tracker._hardware if type(hardware).__name__ == "GPU"]
    return [device for card in cards for device in card.devices.devices]


def processes_on(device) -> set[int]:
    """Numbers of the processes that compute on a GPU."""
    return {entry["pid"] for entry in device._get_compute_processes()}
