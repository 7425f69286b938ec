"""Where a counter exists it is read, and the label says so: a made-up RAPL tree and a made-up NVML."""

import os
import re
import threading
import time
import types
from pathlib import Path

import pytest

from helpers import energy
from helpers.energy import sources, tracker

GPUS = 2
GPU_W, CPU_W = 100.0, 40.0


@pytest.fixture(autouse=True)
def fresh_hardware():
    from codecarbon.core import hardware_cache

    hardware_cache.clear_cache()
    yield
    hardware_cache.clear_cache()


@pytest.fixture
def rapl(tmp_path, monkeypatch):
    """A counter that grows by CPU_W while the test runs."""
    from codecarbon.core import cpu
    from codecarbon.external import hardware

    domain = tmp_path / "intel-rapl:0"
    domain.mkdir()
    (domain / "name").write_text("package-0\n")
    (domain / "max_energy_range_uj").write_text("262143328850\n")
    began, stop = time.perf_counter(), threading.Event()

    def grow():
        while not stop.is_set():
            new = domain / "energy_uj.new"
            new.write_text(f"{1_000_000 + (time.perf_counter() - began) * CPU_W * 1e6:.0f}\n")
            new.replace(domain / "energy_uj")
            stop.wait(0.01)

    (domain / "energy_uj").write_text("1000000\n")
    thread = threading.Thread(target=grow)
    thread.start()
    monkeypatch.setattr(cpu, "_get_candidate_bases", lambda folder: [str(tmp_path)])
    defaults = hardware.CPU.__init__.__defaults__
    monkeypatch.setattr(hardware.CPU.__init__, "__defaults__", (str(tmp_path), *defaults[1:]))
    monkeypatch.setattr(sources, "RAPL", tmp_path)
    yield domain
    stop.set()
    thread.join()


@pytest.fixture
def nvml(monkeypatch):
    """As much of NVML as CodeCarbon asks for; GPU 0 uses GPU_W, GPU 1 twice that."""
    from codecarbon.core import gpu, gpu_nvidia

    class NVMLError(Exception):
        pass

    def energy_mj(handle):
        if not fake.counter:
            raise NVMLError("not supported")
        return int(time.perf_counter() * GPU_W * (handle + 1) * 1_000)

    fake = types.SimpleNamespace(
        counter=True,
        others=(),
        NVMLError=NVMLError,
        NVMLError_NotSupported=NVMLError,
        NVML_TEMPERATURE_GPU=0,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: GPUS,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetTotalEnergyConsumption=energy_mj,
        nvmlDeviceGetPowerUsage=lambda handle: int(GPU_W * (handle + 1) * 1_000),
        nvmlDeviceGetName=lambda handle: f"Made-up {handle}",
        nvmlDeviceGetUUID=lambda handle: f"GPU-{handle}",
        nvmlDeviceGetMemoryInfo=lambda handle: types.SimpleNamespace(free=1, total=2, used=1),
        nvmlDeviceGetEnforcedPowerLimit=lambda handle: 300_000,
        nvmlDeviceGetUtilizationRates=lambda handle: types.SimpleNamespace(gpu=50),
        nvmlDeviceGetComputeRunningProcesses=lambda handle: [
            types.SimpleNamespace(pid=pid, usedGpuMemory=1) for pid in fake.others
        ],
    )
    for module in (gpu, gpu_nvidia):
        monkeypatch.setattr(module, "pynvml", fake)
        monkeypatch.setattr(module, "PYNVML_AVAILABLE", True)
    monkeypatch.setattr(gpu, "is_nvidia_system", lambda: True)
    return fake


def parts(result):
    return {part.name: part for part in result.components}


def test_a_rapl_counter_is_read(rapl):
    with energy.measure("counted", country="USA") as meter, energy.measure("inner", country="USA") as inner:
        time.sleep(1.0)
    cpu = parts(meter.result)["CPU"]
    assert cpu.method == "measured" and cpu.source == "RAPL counter" and cpu.basis_w is None
    assert cpu.energy_wh * 3_600 / meter.result.wall_s == pytest.approx(CPU_W, rel=0.2)
    assert parts(inner.result)["CPU"].energy_wh == pytest.approx(cpu.energy_wh, rel=0.2)
    assert meter.result.method == "assumed", "the RAM is a constant still"


def test_a_closed_rapl_counter_says_how_to_open_it(rapl, tmp_path, monkeypatch):
    from codecarbon.core import cpu

    monkeypatch.setattr(sources.os, "access", lambda path, mode: False)
    monkeypatch.setattr(cpu, "is_rapl_available", lambda: False)  # as CodeCarbon finds it then
    with energy.measure("closed", country="USA") as meter:
        time.sleep(0.6)
    part = parts(meter.result)["CPU"]
    assert part.method == "modelled" and part.energy_wh > 0
    assert f"sudo chmod o+r {rapl / 'energy_uj'}" in part.source
    monkeypatch.setattr(sources, "RAPL", tmp_path / "nothing here")
    assert sources.rapl_hint() == ""


def test_a_counter_that_stands_still_is_unknown(rapl, monkeypatch):
    from codecarbon.core.rapl import RAPLFile
    from codecarbon.core.units import Energy

    monkeypatch.setattr(RAPLFile, "_get_value", lambda self: Energy.from_ujoules(7))
    with energy.measure("stuck", country="USA") as meter:
        time.sleep(0.6)
    assert parts(meter.result)["CPU"].energy_wh is meter.result.energy_wh is None
    assert "no reading from RAPL counter" in str(meter.result)


def test_each_gpu_has_its_own_counter(nvml):
    with energy.measure("two GPUs", country="USA") as meter:
        time.sleep(0.5)
        with energy.measure("second half", country="USA") as half:
            time.sleep(0.6)
    found = parts(meter.result)
    assert [name for name in found if name.startswith("GPU")] == ["GPU 0", "GPU 1"]
    for index in range(GPUS):
        part = found[f"GPU {index}"]
        assert part.method == "measured" and part.source == f"energy counter of Made-up {index}"
        for result in (meter.result, half.result):
            watts = parts(result)[f"GPU {index}"].energy_wh * 3_600 / result.wall_s
            assert watts == pytest.approx(GPU_W * (index + 1), rel=0.1)


def test_a_hidden_gpu_is_not_charged(nvml, monkeypatch):
    """A scheduler gave this process one of the machine's GPUs; the others are other people's."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    nvml.others = (999_999_999,)
    with energy.measure("one of two", country="USA") as meter:
        time.sleep(0.6)
    assert [name for name in parts(meter.result) if name.startswith("GPU")] == ["GPU 1"]
    assert [note for note in meter.result.notes if "GPU 0" in note] == []


def test_the_private_names_that_are_touched_are_there_and_in_one_file(nvml, rapl):
    touched = {path.name: set(re.findall(r"(?:tracker|device|hardware)\.(_[a-z]\w*)", path.read_text()))
               for path in Path(tracker.__file__).parent.glob("*.py")}  # fmt: skip
    names = touched.pop("tracker.py") - {"_tracker"}
    assert len(names) == 8 and not any(touched.values()), "private names of CodeCarbon's belong in tracker.py"
    reader = tracker.Reader("USA")
    owners = [reader._tracker, *reader._tracker._hardware, *tracker._gpus(reader._tracker)]
    reader.stop()
    names |= {"_external_conf", "_total_cpu_energy", "_total_gpu_energy", "_total_ram_energy"}
    assert [name for name in names if not any(hasattr(owner, name) for owner in owners)] == []


def test_a_gpu_without_a_counter_is_read_once_a_second(nvml):
    nvml.counter = False
    with energy.measure("old GPU", country="USA") as meter:
        time.sleep(1.2)
    part = parts(meter.result)["GPU 0"]
    assert part.method == "measured" and "read once a second" in part.source
    assert part.energy_wh * 3_600 / meter.result.wall_s == pytest.approx(GPU_W, rel=0.2)


def test_other_processes_on_a_gpu_are_noted(nvml):
    for others, noted in (((os.getpid(), 999_999_999), True), ((os.getpid(),), False)):
        nvml.others = others
        with energy.measure("shared GPU", country="USA") as meter:
            time.sleep(0.6)
        assert ("1 other process on GPU 0 meanwhile" in str(meter.result)) == noted


def test_everything_counted_is_called_after_its_weakest_part(rapl, nvml):
    with energy.measure("all", country="USA") as meter:
        time.sleep(0.6)
    methods = {name: part.method for name, part in parts(meter.result).items()}
    assert methods == {"CPU": "measured", "GPU 0": "measured", "GPU 1": "measured", "RAM": "assumed"}
    assert meter.result.rescaled(cpu=2.0).energy_wh == meter.result.energy_wh, "a counter is no guess"
