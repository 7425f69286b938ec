"""What this machine is, on Linux in a container and out of it, and where the system says nothing."""

import io
import sys
from types import SimpleNamespace
from unittest.mock import Mock

import psutil
import pytest

from helpers import environment, machine
from helpers.__main__ import main

GROUPS = "9:name=systemd:/\n4:memory:{0}\n2:cpu,cpuacct:{0}\n0::{0}\n"
MOUNTS = "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 21 0:25 {root} {folder} rw shared:4 - cgroup2 cgroup2 rw\n"
MOUNTS += "no mount - at all\n32 21 0:29 {root} {folder}/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
MOUNTS += "35 21 0:32 {root} {folder}/memory rw - cgroup cgroup rw,memory\n"


@pytest.fixture
def limits(monkeypatch, tmp_path):
    """Eight cores and 8 GB, and a function that writes what Linux says of a process's groups."""
    monkeypatch.setattr(machine, "PROC", tmp_path / "proc")
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=8e9, available=7e9))

    def write(files, group="/", root="/"):
        said = {"proc/cgroup": GROUPS.format(group)}
        said["proc/mountinfo"] = MOUNTS.format(root=root, folder=f"{tmp_path}/a\\040b")  # which is a space
        for name, text in (
            said | {n if n in PROC_FILES else f"a b/{n}": text for n, text in files.items()}
        ).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)

    return write


@pytest.mark.parametrize("count", [6, None])
def test_where_there_is_no_affinity_as_on_macos_and_windows_all_cores_count(limits, monkeypatch, count):
    monkeypatch.delattr(machine.os, "sched_getaffinity")
    monkeypatch.setattr(machine.os, "cpu_count", lambda: count)
    assert machine.cores() == machine.visible_cores() == (count or 1)


def v2(group, cores, memory):
    return {f"{group}/cpu.max": f"{cores}00000 100000\n", f"{group}/memory.max": f"{memory}000000000\n"}


def v1(group, cores, memory):
    quota = {f"cpu/{group}/{QUOTA[4:]}": f"{cores}00000\n", f"cpu/{group}/{PERIOD[4:]}": "100000\n"}
    return quota | {f"memory/{group}/memory.limit_in_bytes": f"{memory}000000000\n"}


QUOTA, PERIOD, LIMIT = "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us", "memory/memory.limit_in_bytes"
SERVICE, STEP = "system.slice/jupyter-ada.service", "slurm/uid_1000/job_42/step_0"
ABOVE = {"memory/memory.usage_in_bytes": "1", "memory/memory.stat": "hierarchical_memory_limit 3000000000"}
PROC_FILES = ("proc/cgroup", "proc/mountinfo")  # not as Linux writes them
LIMITS = {  # what Linux says, the cores and the bytes of that, and where the group and its root are
    "none": ({}, 8, 8e9),
    "v2 none": ({"cpu.max": "max 100000\n", "memory.max": "max\n"}, 8, 8e9),
    "v2": ({"cpu.max": "150000 100000\n", "memory.max": "2000000000\n"}, 2, 2e9),
    "v2 high": ({"memory.max": "3000000000\n", "memory.high": "2000000000\n"}, 8, 2e9),
    "v2 below one": ({"cpu.max": "10000 100000\n"}, 1, 8e9),
    "v2 above": ({"cpu.max": "3200000 100000\n"}, 8, 8e9),
    "v1": ({QUOTA: "400000\n", PERIOD: "100000\n", LIMIT: "3000000000\n"}, 4, 3e9),
    "v1 none": ({QUOTA: "-1\n", PERIOD: "100000\n", LIMIT: "9223372036854771712\n"}, 8, 8e9),
    "v1 odd": ({QUOTA: "400000\n", PERIOD: "0\n"}, 8, 8e9),
    "v1 half told": ({QUOTA: "400000\n"}, 8, 8e9),
    "slice": (v2("system.slice", 4, 2) | v2(SERVICE, 3, 6), 3, 2e9, f"/{SERVICE}"),
    "Slurm": (v1("slurm/uid_1000/job_42", 2, 4) | v1(STEP, 5, 7), 2, 4e9, f"/{STEP}"),
    "Slurm none": (v1("slurm/uid_1000/job_42", 2, 9223372036), 2, 8e9, f"/{STEP}"),
    "container": (v1(".", 6, 5) | v2("cell", 4, 4), 4, 4e9, "/docker/abc/cell", "/docker/abc"),
    "space": (v2(".", 2, 2) | v2("proc", 1, 1), 2, 2e9, "/", "/../.."),
    "outside": (v2(".", 2, 2), 2, 2e9, "/../.."),
    "gone": (v1(".", 3, 3), 3, 3e9, "/gone (deleted)"),
    "other": (v1(".", 1, 1) | v2(".", 1, 1), 8, 8e9, "/docker/me", "/docker/other"),
    "hidden": (v1(".", 8, 6) | ABOVE, 8, 3e9),
}
LIMITS |= {said: (v2(".", 1, 1) | dict.fromkeys(PROC_FILES, said), 8, 8e9) for said in ("", "no\n", "0::/\n")}


@pytest.mark.parametrize("case", LIMITS.values(), ids=LIMITS)
def test_the_lowest_limit_of_a_group_and_all_above_it_holds(limits, case):
    """Among them a file system of another group that is mounted there, and a limit above what is mounted."""
    files, cores, memory, *places = case
    limits(files, *places)
    assert (machine.cores(), machine.visible_cores(), machine.memory_bytes()[0]) == (cores, 8, memory)


def test_memory_that_only_caches_files_is_available(limits):
    assert machine.memory_bytes()[1] == 7e9, "no group"
    stat = "anon 1\nactive_file 300000000\ninactive_file 200000000\n"
    limits(v2("a", 1, 4) | {"a/memory.current": "1500000000\n", "a/memory.stat": stat}, "/a")
    assert machine.memory_bytes()[1] == 4e9 - 1.5e9 + 0.5e9
    used, stat = "memory/a/memory.usage_in_bytes", "active_file 1\ntotal_active_file 100000000\n"
    limits(v1("a", 1, 2) | {used: "900000000\n", "memory/a/memory.stat": stat}, "/a")
    assert machine.memory_bytes()[1] == 2e9 - 0.9e9 + 0.1e9
    limits({used: "2900000000\n"}, "/a")
    assert machine.memory_bytes()[1] == 0, "never below"


def test_check_runs_where_a_sign_cannot_be_printed(monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="cp1252", errors="strict")
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(environment, "check", lambda: print("Ł, ü: a path") is None)
    assert main(["check"]) == 0
    terminal.flush()
    assert terminal.buffer.getvalue().split(b":")[0] == b"\\u0141, \xfc"
    monkeypatch.setattr(sys, "stdout", None)  # as under pythonw on Windows
    machine.escape_unprintable()


@pytest.mark.parametrize("name", ["AMD EPYC", "AMD EPYC 9V74 Processor"])
def test_a_name_without_a_number_gets_family_and_model(monkeypatch, name):
    for more, numbers in (("cpu family\t: 26\nmodel\t\t: 2\n", " (family 26, model 2)"), ("", "")):
        text = f"processor\t: 0\n{more}model name\t: {name}\n\n" * 2
        monkeypatch.setattr(machine.Path, "read_text", lambda *_, text=text, **__: text)
        assert machine.cpu_name() == name + numbers * (name == "AMD EPYC")


@pytest.mark.parametrize(("from_sysctl", "name"), [("Apple M4\n", "Apple M4"), (None, "arm64")])
def test_where_linux_has_no_name_macos_is_asked_and_then_python(monkeypatch, from_sysctl, name):
    monkeypatch.setattr(machine.Path, "read_text", lambda *_, **__: "processor : 0\n")
    sysctl = lambda *_, **__: from_sysctl or machine.os.stat("no such program")  # noqa: E731
    monkeypatch.setattr(machine.subprocess, "check_output", sysctl)
    monkeypatch.setattr(machine.platform, "processor", lambda: "")
    monkeypatch.setattr(machine.platform, "machine", lambda: "arm64")
    assert machine.cpu_name() == name


def test_gpus_are_those_of_the_driver_and_none_without_one(monkeypatch):
    driver = Mock()
    driver.nvmlDeviceGetCount.return_value = 2
    driver.nvmlDeviceGetHandleByIndex, driver.nvmlDeviceGetName = int, "GPU {}".format
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    assert machine.nvidia_gpus() == ["GPU 0", "GPU 1"] and driver.nvmlShutdown.call_count == 1
    driver.nvmlInit.side_effect = OSError("no driver")
    assert machine.nvidia_gpus() == []
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert machine.nvidia_gpus() == []
