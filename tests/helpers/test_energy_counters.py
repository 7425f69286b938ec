"""Where a counter exists it is read, and the label says so: a made-up RAPL tree and a made-up NVML."""

import math
import os
import re
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from codecarbon.core import cpu, gpu, gpu_nvidia, hardware_cache
from codecarbon.core.rapl import RAPLFile
from codecarbon.core.resource_tracker import ResourceTracker
from codecarbon.external import hardware
from codecarbon.external.hardware import AppleSiliconChip

from helpers import energy
from helpers.energy import sources, tracker

GPUS, GPU_W, CPU_W, RANGE_UJ = 2, 100.0, 40.0, 262_143_328_850
VISIBLE = {"1": [1], "": [], "-1": [], "0,-1,1": [0], " 1 , 0 ": [0, 1], "1,7": [1], "all": []}
VISIBLE |= {"GPU-1": [1], "GPU-": [], "MIG-GPU-0/1/0": [0], "MIG-c0ffee": [1]}  # and which GPUs are seen
ODD_RAPL = [  # microjoules: the counter's range, the power's limit, what is counted by second; what is said
    (RANGE_UJ, 0, lambda s: 40e6 * s + 7e9 * (s < 0.15), "2,000 W is the most: a reset", True),
    (RANGE_UJ, 95e6, lambda s: 9e6 * s + 2e11 * (s < 0.1), "190 W is the most: a reset", True),
    (0, 0, lambda s: 40e6 * s + 7e9 * (s < 0.15), "its counter went back", True),
    (RANGE_UJ, 125e6, lambda s: 600e6 * s, "W, but 250 W is the most", False),
    (RANGE_UJ, 0, lambda s: 7.0, "its counter stood still for 0.", False),
    (RANGE_UJ, 0, lambda s: 7e9 + 40e6 * min(s, 0.1), "its counter stood still for 0.", False),
    (RANGE_UJ, 125e6, lambda s: (RANGE_UJ - 4e6 + 40e6 * s) % RANGE_UJ, None, True),  # full, and no reset
    (RANGE_UJ, 125e6, lambda s: 7e9 + 200e6 * s, None, True),  # beyond the limit, as a burst is
]
ODD_NVML = [  # joules by second, what is said, and whether the other GPU's energy is known
    (lambda s: 9e6 + 100 * s if s < 0.15 else 100 * s, "went back, as after a reset", True),
    (lambda s: 9e6 + 85_000 * s, "600 W is the most", True),
    (lambda s: 9e6 + 100 * min(s, 0.1), "stood still", True),
    (lambda s: 9e6 + 100 * s if s < 0.1 else 1 / 0, "could not be read", True),  # it is lost
    (lambda s: 9e6 + 100 * s if s < 0.1 else [][0], "stood still", False),  # and the driver with it
]


@pytest.fixture(autouse=True)
def fresh_hardware():
    hardware_cache.clear_cache()
    yield
    hardware_cache.clear_cache()


@pytest.fixture
def clock(monkeypatch):
    """Seconds since `began` is set, 0 before; and a meter that is quick, for counters that are."""
    monkeypatch.setattr(sources, "MIN_SECONDS", 0.1)
    monkeypatch.setattr(tracker, "EVERY_S", 0.02)
    made = SimpleNamespace(began=math.inf)
    made.s = lambda: max(0.0, time.perf_counter() - made.began)
    return made


@pytest.fixture
def rapl(tmp_path, monkeypatch):
    """A counter of a processor that uses CPU_W, or what `counted` says of a time; written when it is read."""

    def written(file):
        (fake.domain / "energy_uj").write_text(f"{fake.counted():.0f}\n")
        return read(file)

    read, domain = RAPLFile._get_value, tmp_path / "intel-rapl:0"
    fake = SimpleNamespace(domain=domain, counted=lambda: time.perf_counter() * CPU_W * 1e6)
    domain.mkdir()
    for name, text in {"name": "package-0", "max_energy_range_uj": RANGE_UJ, "energy_uj": 1_000_000}.items():
        (domain / name).write_text(f"{text}\n")
    monkeypatch.setattr(RAPLFile, "_get_value", written)
    monkeypatch.setattr(cpu, "_get_candidate_bases", lambda folder: [str(tmp_path)])
    defaults = hardware.CPU.__init__.__defaults__
    monkeypatch.setattr(hardware.CPU.__init__, "__defaults__", (str(tmp_path), *defaults[1:]))
    monkeypatch.setattr(sources, "RAPL", tmp_path)
    return fake


@pytest.fixture
def nvml(monkeypatch):
    """As much of NVML as decides a figure or a note; GPU 0 uses GPU_W, GPU 1 twice that."""

    class NVMLError(Exception):
        pass

    def energy_mj(handle):
        if not fake.counter:
            raise NVMLError("not supported")
        return int(fake.joules(handle) * 1_000)

    def ran(_handle):
        return [SimpleNamespace(pid=pid, usedGpuMemory=1) for pid in fake.others]

    fake = MagicMock(counter=True, others=(), NVMLError=NVMLError, NVMLError_NotSupported=NVMLError)
    fake.joules = lambda handle: time.perf_counter() * GPU_W * (handle + 1)
    fake.nvmlDeviceGetHandleByIndex, fake.nvmlDeviceGetCount = int, lambda: GPUS
    fake.nvmlDeviceGetName, fake.nvmlDeviceGetUUID = "Made-up {}".format, "GPU-{}".format
    fake.nvmlDeviceGetPowerUsage = lambda handle: int(GPU_W * (handle + 1) * 1_000)
    fake.nvmlDeviceGetEnforcedPowerLimit = lambda handle: 300_000
    fake.nvmlDeviceGetTotalEnergyConsumption, fake.nvmlDeviceGetComputeRunningProcesses = energy_mj, ran
    for module in (gpu, gpu_nvidia):
        monkeypatch.setattr(module, "pynvml", fake)
        monkeypatch.setattr(module, "PYNVML_AVAILABLE", True)
    return fake


def parts(result):
    return {part.name: part for part in result.components}


def test_each_counter_is_read_and_a_total_is_called_after_its_weakest_part(rapl, nvml):
    nvml.others = (os.getpid(),)
    with energy.measure("all", country="USA") as meter:
        time.sleep(0.4)
        with energy.measure("later", country="USA") as later:
            time.sleep(1.0)
    draws = {"CPU": (CPU_W, 0.2, "RAPL counter, for the processor's package")}
    for n in range(GPUS):
        draws[f"GPU {n}"] = GPU_W * (n + 1), 0.1, f"energy counter of Made-up {n}, for its board"
    for result in (meter.result, later.result):
        found = parts(result)
        assert [*found] == [*draws, "RAM"] and result.method == found["RAM"].method == "assumed"
        for name, (watts, tolerance, source) in draws.items():
            assert (found[name].method, found[name].source) == ("measured", source)
            assert found[name].energy_wh * 3_600 / result.wall_s == pytest.approx(watts, rel=tolerance)
            late = 2 * (0.001 if name == "CPU" else 0.1) / result.wall_s
            ends = (found[name].energy_wh * (0.95 - late), found[name].energy_wh * (1.05 + late))
            assert found[name].range_wh() == pytest.approx(ends)
    assert found["CPU"].basis_w is None and "on GPU" not in str(meter.result)


def test_a_closed_rapl_counter_says_how_to_open_it(rapl, tmp_path, monkeypatch):
    monkeypatch.setattr(sources.os, "access", lambda path, mode: False)
    monkeypatch.setattr(cpu, "is_rapl_available", lambda: False)  # as CodeCarbon finds it then
    with energy.measure("closed", country="USA") as meter:
        time.sleep(0.6)
    part = parts(meter.result)["CPU"]
    assert part.method == "modelled" and part.energy_wh > 0
    assert f"sudo chmod o+r {rapl.domain / 'energy_uj'}" in part.source
    monkeypatch.setattr(sources, "RAPL", tmp_path / "nothing here")
    assert sources.rapl_hint() == ""


@pytest.mark.parametrize(("range_uj", "limit_uw", "counted", "reason", "later_known"), ODD_RAPL)
def test_what_no_processor_can_use_is_unknown(clock, rapl, range_uj, limit_uw, counted, reason, later_known):
    (rapl.domain / "max_energy_range_uj").write_text(f"{range_uj}\n")
    (rapl.domain / "constraint_0_max_power_uw").write_text(f"{limit_uw:.0f}\n")
    (rapl.domain / "constraint_1_power_limit_uw").write_text("not known\n")
    rapl.counted = lambda: counted(clock.s())
    with energy.measure("odd", country="USA") as meter:
        clock.began = time.perf_counter()
        time.sleep(0.25)
        with energy.measure("later", country="USA") as later:
            time.sleep(0.15)
    cpu = parts(meter.result)["CPU"]
    assert (parts(later.result)["CPU"].energy_wh is not None) == later_known, "what is over is over"
    if reason is None:
        joules = (counted(meter.result.wall_s) - counted(0.0)) % RANGE_UJ / 1e6
        assert cpu.energy_wh * 3_600 == pytest.approx(joules, rel=0.4) and cpu.method == "measured"
    else:
        assert cpu.energy_wh is meter.result.energy_wh is cpu.method is None and reason in cpu.source


@pytest.mark.parametrize(("joules", "reason", "other_known"), ODD_NVML)
def test_what_no_gpu_can_have_used_is_unknown(clock, nvml, joules, reason, other_known):
    real = nvml.joules

    def counted(handle):
        try:
            return real(handle) if handle else joules(clock.s())
        except ZeroDivisionError:
            nvml.nvmlDeviceGetPowerUsage = counted
            raise nvml.NVMLError("GPU is lost") from None

    nvml.joules = counted
    with energy.measure("odd", country="USA") as meter:
        clock.began = time.perf_counter()
        time.sleep(0.35)
    found = parts(meter.result)
    assert found["GPU 0"].energy_wh is meter.result.energy_wh is None and reason in found["GPU 0"].source
    assert (found["GPU 1"].energy_wh is not None) == other_known


def test_what_no_chip_of_apples_can_have_used_is_unknown(clock, monkeypatch):
    chip, draws = AppleSiliconChip.__new__(AppleSiliconChip), {}
    chip.chip_part, chip._model = "CPU", "Made-up"
    chip._interface = SimpleNamespace(start=lambda: None, get_details=lambda: draws)
    monkeypatch.setattr(ResourceTracker, "set_CPU_tracking", lambda self: self.tracker._hardware.append(chip))
    monkeypatch.setattr("codecarbon.core.hardware_cache._hardware_from_spec", lambda *_: chip)
    reasons = {5_000: "2,000 W is the most", -1: "went back", 0: "stood still", 30: "Apple"}
    for watts, reason in reasons.items():
        draws["CPU Power"] = watts
        with energy.measure("chip", country="USA") as meter:
            time.sleep(0.15)
        cpu = parts(meter.result)["CPU"]
        assert reason in cpu.source and (cpu.energy_wh is None) == (watts != 30)


@pytest.mark.parametrize(("visible", "seen"), VISIBLE.items())
def test_a_hidden_gpu_is_not_charged_and_noted(clock, nvml, monkeypatch, visible, seen):
    """A scheduler gave this process one of the machine's GPUs; the others are other people's."""
    nvml.nvmlDeviceGetHandleByUUID = {"MIG-c0ffee": "an instance"}.get
    nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle = {"an instance": 1}.get
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    for own in ((), (os.getpid(),)):  # the second one takes what CodeCarbon remembers of the first
        nvml.others = (*own, 999_999_999)
        with energy.measure("some of two", country="USA") as meter:
            time.sleep(0.11)
        notes = " ".join(meter.result.notes)
        assert [name for name in parts(meter.result) if "GPU" in name] == [f"GPU {index}" for index in seen]
        assert [n for n in (0, 1) if f"1 other process on GPU {n} meanwhile" in notes] == seen
        more = ["", "hidden from this process: 1 more GPU of", "hidden from this process: 2 more GPUs of"]
        assert more[2 - len(seen)] in notes and ("hidden" in notes) == (len(seen) < 2)
        assert ("so its whole GPU is counted" in notes) == visible.startswith("MIG-")


def test_a_gpu_that_is_used_and_has_no_counter_is_unknown(clock, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", torch := MagicMock())
    with energy.measure("no NVML", country="USA") as meter:
        time.sleep(0.11)
    assert torch.cuda.synchronize.call_count == 2, "a GPU's work counts where it was asked for"
    assert parts(meter.result)["GPU"].energy_wh is meter.result.energy_wh is None


def test_the_private_names_that_are_touched_are_there_and_in_one_file(nvml, rapl):
    touched = {path.name: set(re.findall(r"(?:tracker|device|hardware)\.(_[a-z]\w*)", path.read_text()))
               for path in Path(tracker.__file__).parent.glob("*.py")}  # fmt: skip
    names = touched.pop("tracker.py") - {"_tracker"}
    assert len(names) == 12 and not any(touched.values()), "those of CodeCarbon's belong in tracker.py"
    reader = tracker.Reader()
    owners = [reader._tracker, *reader._tracker._hardware, *reader._gpus]
    owners += [getattr(hardware, "_intel_interface", None) for hardware in reader._tracker._hardware]
    reader.stop()
    names |= {"_rapl_files", "_total_cpu_energy", "_total_gpu_energy", "_total_ram_energy"}
    assert [name for name in names if not any(hasattr(owner, name) for owner in owners)] == []


def test_a_gpu_without_a_counter_is_read_once_a_second(nvml):
    nvml.counter = False
    with energy.measure("old GPU", country="USA") as meter:
        time.sleep(1.2)
    part = parts(meter.result)["GPU 0"]
    assert part.method == "measured" and "read once a second" in part.source
    assert part.energy_wh * 3_600 / meter.result.wall_s == pytest.approx(GPU_W, rel=0.2)
    assert part.low_wh == 0, "in a second, a reading of that second may be all there is"
