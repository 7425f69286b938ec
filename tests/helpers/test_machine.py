"""What this machine is, on Linux in a container and out of it, and where the system says nothing."""

import json
import sys
from types import SimpleNamespace

import psutil
import pytest

from helpers import assets, machine


@pytest.fixture
def limits(monkeypatch, tmp_path):
    """Eight cores and 8 GB, and a function that writes a container's limits."""
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=8e9))

    def write(files):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)

    return write


QUOTA, PERIOD = "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "10000 100000\n"}, 1),
        ({"cpu.max": "3200000 100000\n"}, 8),
        ({QUOTA: "400000\n", PERIOD: "100000\n"}, 4),
        ({QUOTA: "-1\n", PERIOD: "100000\n"}, 8),
        ({QUOTA: "400000\n"}, 8),
    ],
    ids=["none", "v2 none", "v2", "v2 below one", "v2 above", "v1", "v1 none", "v1 half told"],
)
def test_cores_are_those_of_a_containers_quota(limits, files, cores):
    limits(files)
    assert machine.cores() == cores
    assert machine.visible_cores() == 8


@pytest.mark.parametrize("count", [6, None])
def test_where_there_is_no_affinity_all_cores_count(limits, monkeypatch, count):
    """MacOS and Windows have no `sched_getaffinity`."""
    monkeypatch.delattr(machine.os, "sched_getaffinity")
    monkeypatch.setattr(machine.os, "cpu_count", lambda: count)
    assert machine.cores() == machine.visible_cores() == (count or 1)


@pytest.mark.parametrize(
    ("files", "memory"),
    [
        ({}, 8e9),
        ({"memory.max": "max\n"}, 8e9),
        ({"memory.max": "2000000000\n"}, 2e9),
        ({"memory/memory.limit_in_bytes": "3000000000\n"}, 3e9),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, 8e9),
    ],
)
def test_memory_is_a_containers_if_that_is_less(limits, files, memory):
    limits(files)
    assert machine.memory_bytes() == memory


def test_hardware_is_what_a_receipt_holds():
    schema = json.loads((assets.DATA / "receipt.schema.json").read_text())["properties"]["hardware"]
    found = machine.hardware()
    assert found.keys() == schema["properties"].keys()
    assert found["cpu"] and found["cores"] >= 1 and found["memory_gb"] > 0
    json.dumps(found)


@pytest.mark.parametrize(("from_sysctl", "name"), [("Apple M4\n", "Apple M4"), (None, "arm64")])
def test_where_linux_has_no_name_macos_is_asked_and_then_python(monkeypatch, from_sysctl, name):
    def sysctl(*_, **__):
        if from_sysctl is None:
            raise FileNotFoundError("sysctl")
        return from_sysctl

    monkeypatch.setattr(machine.Path, "read_text", lambda *_, **__: "processor : 0\n")
    monkeypatch.setattr(machine.subprocess, "check_output", sysctl)
    monkeypatch.setattr(machine.platform, "processor", lambda: "")
    monkeypatch.setattr(machine.platform, "machine", lambda: "arm64")
    assert machine.cpu_name() == name


def test_gpus_are_those_of_the_driver_and_none_without_one(monkeypatch):
    def no_driver():
        raise OSError("no driver")

    ended = []
    driver = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda index: f"GPU {index}",
        nvmlShutdown=lambda: ended.append(True),
    )
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    assert machine.nvidia_gpus() == ["GPU 0", "GPU 1"] and ended == [True]
    driver.nvmlInit = no_driver
    assert machine.nvidia_gpus() == []
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert machine.nvidia_gpus() == []
