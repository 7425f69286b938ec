"""CodeCarbon's tracker, read while it runs: the one place that touches private names of CodeCarbon's.

They were seen in CodeCarbon 3.3.2, which has no public way to read a running tracker, or to learn where its
figures come from; a test holds that they are there.
"""

import collections
import contextlib
import inspect
import logging
import math
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest import mock

import psutil

from helpers import processes
from helpers.energy import sources
from helpers.energy.records import RANGES, Component

EVERY_S, EVERY_SLOW_S = 1.0, 5.0  # between samples; slow is a reading that starts a program
PATIENCE_S = 5.0  # how long a block waits for the thread's reading; its own take what they take
# How old a reading may be: RAPL counts every millisecond, NVML every 0.1 s or faster (Yang et al. 2024).
RAPL_LATE_S, NVML_LATE_S, SAMPLED_LATE_S = 0.001, 0.1, 1.0
NO_COUNTER = math.inf, False, 0.0  # a model or a constant: no most W, nothing that can fail or be late
PINNED = {  # what around CodeCarbon would bend its figures or make it fail
    "codecarbon.emissions_tracker.get_hierarchical_config": dict,  # files .codecarbon.config, CODECARBON_...
    "codecarbon.emissions_tracker.count_physical_cpus": sources.sockets,  # it reads `lscpu` in English alone
    "codecarbon.core.util.SLURM_JOB_ID": None,  # a job's share would pass for the machine
    "codecarbon.external.ram.SLURM_JOB_ID": None,
    # `nvidia-smi` need not be on the path
    "codecarbon.core.gpu.is_nvidia_system": lambda: sys.modules["codecarbon.core.gpu"].PYNVML_AVAILABLE,
}


class Reader:
    """A tracker that runs: offline, quiet, without files, and with a figure for each GPU.

    If it fails, the work that is measured goes on: every figure is unknown, for the reason in `failure`.
    """

    def __init__(self) -> None:
        self.failure: str | None = None
        self._tracker: Any = None
        self._gpus: list = []  # those that this process may use
        self._gpu_notes: list[str] = []
        self._wh: dict[str, float] = collections.defaultdict(float)
        self._still_s: dict[str, float] = collections.defaultdict(float)
        self._odd: list[tuple[str, str]] = []  # parts, and what their counters did that is not energy
        self._lock, self._done = threading.RLock(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        with self._caught():
            self._tracker = _offline_tracker()
            self._tracker._ensure_hardware_ready()
            for hardware in self._tracker._hardware:
                hardware.start()
                if type(hardware).__name__ == "GPU":
                    devices = hardware.devices.devices
                    seen, self._gpu_notes = sources.visible_gpus([device._uuid for device in devices])
                    self._gpus = [device for device in devices if device._uuid in seen]
            self._at = time.perf_counter()  # of the last sample
            self._sample()
            self._thread.start()

    @contextlib.contextmanager
    def _caught(self) -> Iterator[None]:
        """One at a time asks CodeCarbon, with what is around it pinned; `failure` keeps an error."""
        with contextlib.ExitStack() as around:
            with self._kept():
                if not self._lock.acquire(timeout=0 if self.failure else PATIENCE_S):
                    raise TimeoutError(f"a reading takes more than {PATIENCE_S:g} s")
                around.callback(self._lock.release)
                for name, value in PINNED.items():
                    around.enter_context(mock.patch(name, value))
            with self._kept():
                yield

    @contextlib.contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except (Exception, SystemExit) as error:  # whatever it is, the learner's training is worth more
            self.failure = self.failure or f"CodeCarbon failed: {type(error).__name__}: {error}"

    def _watch(self) -> None:
        # CodeCarbon's own threads print their errors, and where none can be started, stopping them hangs.
        slow = {type(hardware).__name__ for hardware in self._tracker._hardware} - {"CPU", "GPU", "RAM"}
        while not self.failure and not self._done.wait(EVERY_SLOW_S if slow else EVERY_S):
            with self._caught():
                if not self.failure:
                    self._sample()

    def _sample(self) -> None:
        """Add what each part used since the last sample, and keep what cannot be energy."""
        for device in self._gpus:
            device.energy_delta *= 0  # it would keep its last value where a reading fails
        seconds, before = time.perf_counter() - self._at, dict(self._wh)
        self._tracker._measure_power_and_energy()
        self._at += seconds
        for name in ("CPU", "RAM", "GPU"):
            self._wh[name] = getattr(self._tracker, f"_total_{name.lower()}_energy").kWh * 1_000
        for device in self._gpus:
            self._wh[f"GPU {device.gpu_index}"] += device.energy_delta.kWh * 1_000
        for part, most_w, lost, _ in self._parts():
            joules = (self._wh[part.name] - before.get(part.name, 0.0)) * 3_600
            self._still_s[part.name] = still_s = 0.0 if joules else self._still_s[part.name] + seconds
            if lost or joules < 0:
                why = "went back, as after a reset, or could not be read"
            elif joules > most_w * (seconds + sources.MIN_SECONDS):  # a counter moves in steps
                why = f"rose {joules:,.0f} J in {seconds:.1f} s, but {most_w:,.0f} W is the most: a reset"
            elif still_s >= sources.MIN_SECONDS:
                why = f"stood still for {still_s:.1f} s"
            else:
                continue
            self._odd += [(part.name, f"its counter {why}")] if part.method == "measured" else []

    def read(self) -> dict[str, Any]:
        """Wh so far by component, when that was, and how many odd readings there were so far."""
        with self._caught():
            if not self.failure and not self._thread.is_alive():
                self.failure = "the thread that reads the machine has ended"
            if not self.failure:
                self._sample()
                return {**self._wh, "at": self._at, "odd": len(self._odd)}
        return {}

    def components(self, before: dict, after: dict, wall_s: float) -> tuple[Component, ...]:
        """What was used between two readings, each part with its method."""
        found: list[Component] = []
        with self._caught():
            odd = dict(reversed(self._odd[before.get("odd", 0) : after.get("odd", 0)]))  # the first of each
            parts = [] if self.failure else list(self._parts())
            beside_s = after.get("at", 0.0) - before.get("at", 0.0) - wall_s  # in the readings, not the block
            most_s = 0.1 + 0.1 * wall_s + 2 * max((late_s for *_, late_s in parts), default=0.0)
            for part, most_w, _, late_s in parts:
                energy_wh, why = after.get(part.name, 0.0) - before.get(part.name, 0.0), ""
                if wall_s < sources.MIN_SECONDS:
                    least = f"measure {sources.MIN_SECONDS} s or more, by repeating the work"
                    why = f"{wall_s:.2f} s is too short to tell; {least}"
                elif part.name in odd or not energy_wh > 0:
                    why = odd.get(part.name, f"no reading from {part.source}")
                elif beside_s > most_s:
                    why = f"the readings are slow: {beside_s:.1f} s beside the block would be charged to it"
                elif (watts := energy_wh * 3_600 / wall_s) > most_w:
                    why = f"{part.source} says {watts:,.0f} W, but {most_w:,.0f} W is the most"
                known = {"energy_wh": energy_wh}
                if part.method == "measured":
                    (low, high), late = RANGES["measured"], 2 * late_s / wall_s
                    known |= {"low_wh": energy_wh * max(low - late, 0), "high_wh": energy_wh * (high + late)}
                found.append(Component(part.name, None, None, why) if why else replace(part, **known))
            if not self._gpus and _uses_gpu():
                found.append(Component("GPU", None, None, "one is used here, and no counter of it is found"))
        if self.failure:
            return (Component("machine", None, None, self.failure),)
        return tuple(sorted(found, key=lambda part: part.name))

    def _parts(self) -> Iterator[tuple[Component, float, bool, float]]:
        """Each part, without its energy; its most W; if its counter failed; how old a reading may be (s)."""
        from codecarbon.external import hardware as kinds
        from codecarbon.external.ram import RAM

        for hardware in self._tracker._hardware:
            if isinstance(hardware, RAM):
                watts = hardware.total_power().W
                yield Component("RAM", None, "assumed", f"constant {watts:.0f} W", watts), *NO_COUNTER
            elif isinstance(hardware, kinds.GPU):
                for device in self._gpus:
                    counter = f"energy counter of {device._gpu_name}, for its board"
                    sampled = f"power of {device._gpu_name}, read once a second"
                    source = sampled if device._use_power_fallback else counter
                    most_w = sources.most_watts([device._power_limit or 0.0])
                    lost = device._has_counter and device._use_power_fallback
                    late_s = SAMPLED_LATE_S if device._use_power_fallback else NVML_LATE_S
                    yield Component(f"GPU {device.gpu_index}", None, "measured", source), most_w, lost, late_s
            elif isinstance(hardware, kinds.CPU):
                mode, watts = hardware._mode, hardware._tdp
                if mode == "cpu_load":
                    source = f"{watts:.0f} W at most x (0.1 + 0.9 load cubed){sources.rapl_hint()}"
                    yield Component("CPU", None, "modelled", source, watts), *NO_COUNTER
                elif mode == "constant":
                    source = f"constant {watts * 0.5:.0f} W{sources.rapl_hint()}"
                    yield Component("CPU", None, "assumed", source, watts * 0.5), *NO_COUNTER
                else:
                    source = "RAPL counter, for the processor's package" if mode == "intel_rapl" else mode
                    files = getattr(hardware._intel_interface, "_rapl_files", [])  # one for each socket
                    most_w = sum(sources.most_watts(sources.rapl_limits(file.path)) for file in files)
                    lost = any(file.sample_skipped for file in files)
                    late_s = RAPL_LATE_S if mode == "intel_rapl" else SAMPLED_LATE_S
                    yield Component("CPU", None, "measured", source), most_w or sources.MOST_W, lost, late_s
            else:  # Apple's chips and the Raspberry Pi report by part
                name = getattr(hardware, "chip_part", "CPU")
                source = type(hardware).__name__
                yield Component(name, None, "measured", source), sources.MOST_W, False, SAMPLED_LATE_S

    def notes(self) -> list[str]:
        """Which GPUs are not counted, and on which ones other processes are."""
        notes = list(self._gpu_notes)
        with contextlib.suppress(Exception):  # a driver that does not tell is not an error of the block
            own = {os.getpid(), *(child.pid for child in processes.started(psutil.Process()))}
            for device in [] if self.failure else self._gpus:
                pids = {entry["pid"] for entry in device._get_compute_processes()}
                # In a container the driver may know this process by another number.
                if (others := len(pids - own) - (not pids & own and _uses_gpu())) > 0:
                    who = f"{others} other process{'es' if others > 1 else ''}"
                    notes.append(f"{who} on GPU {device.gpu_index} meanwhile, and its counter includes them")
        return notes

    def stop(self) -> None:
        """End the thread; two at once would undo each other's pins."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join(0 if self.failure else PATIENCE_S)


def _uses_gpu() -> bool:
    return "torch" in sys.modules and sys.modules["torch"].cuda.is_initialized()


def wait_for_gpu() -> None:
    """Wait for the current GPU's work: the calls that start it return at once."""
    with contextlib.suppress(Exception):  # an error of that work is the block's own, which shows it
        if _uses_gpu():
            sys.modules["torch"].cuda.synchronize()


def _offline_tracker():
    from codecarbon import OfflineEmissionsTracker

    logging.getLogger("codecarbon").setLevel(logging.CRITICAL)
    tracker = OfflineEmissionsTracker.__new__(OfflineEmissionsTracker)
    inspect.unwrap(OfflineEmissionsTracker.__init__)(  # what it is wrapped in would hide its errors
        tracker,
        output_methods=[],
        gpu_ids=[],  # all are read, whatever CUDA_VISIBLE_DEVICES says, and the reader chooses
        allow_multiple_runs=True,  # else a lock that a killed process left behind would forbid measuring
        log_level="critical",
    )
    return tracker
