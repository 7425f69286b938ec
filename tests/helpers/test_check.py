"""`python -m helpers check`: a line for everything, a fix for what is wrong, and the exit status."""

import re
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from helpers import assets, energy, environment, machine
from helpers.__main__ import main

NAMES = ["python", "packages", "model", "writer", "data", "disk", "memory", "threads", "gpu", "energy"]
MEASURE = energy.idle


@pytest.fixture
def ready(monkeypatch):
    """A machine on which all is well, whatever the one that runs the test is like, and what it has."""
    has = SimpleNamespace(free=50e9, memory=8e9, available=6e9, gpus=[])
    monkeypatch.setattr(assets, "wrong_files", lambda *_: [])
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda _: has)
    monkeypatch.setattr(machine, "memory_bytes", lambda: (has.memory, has.available))
    monkeypatch.setattr(machine, "nvidia_gpus", lambda: has.gpus)
    parts = (energy.Component("CPU", 1.0, "measured", "a counter"),)
    trial = energy.Measurement("idle", 0.5, 0.1, parts, "USA", 369.0, "a table", 0.0)
    monkeypatch.setattr(energy, "idle", lambda seconds: energy.Idle(trial))
    return has


def checked(capsys) -> tuple[int, dict[str, str]]:
    status, lines = main(["check"]), capsys.readouterr().out.splitlines()
    return status, {line.split()[1]: line for line in lines if line.startswith(("OK", "FAIL"))}


@pytest.mark.parametrize(("gpus", "gpu"), [([], "none is needed"), (["NVIDIA T4"], "NVIDIA T4")])
def test_all_is_well_and_a_gpu_is_named_and_none_is_no_failure(ready, monkeypatch, capsys, gpus, gpu):
    ready.gpus = gpus
    status, lines = checked(capsys)
    assert status == 0 and list(lines) == NAMES
    assert all(line.startswith("OK  ") for line in lines.values())
    assert "torch" in lines["packages"] and gpu in lines["gpu"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert ("is '', and the meter counts no others" in checked(capsys)[1]["gpu"]) == bool(gpus)


def test_the_trial_says_how_each_part_will_be_known_or_stays_unknown(ready, monkeypatch, capsys):
    monkeypatch.setattr(energy, "idle", MEASURE)
    assert main(["check"]) == 0
    *_, line, last = capsys.readouterr().out.splitlines()
    assert line.startswith("OK   energy ") and last == "Ready."
    for part in energy.idle(0.5).reading.components:
        assert f"{part.name} {part.method} (" in line and part.method in energy.METHODS
    for name, reason in (
        ("codecarbon.OfflineEmissionsTracker._measure_power_and_energy", "unknown (CodeCarbon failed: Perm"),
        ("psutil.cpu_times", "the load of other processes cannot be read here (PermissionError: closed)"),
        ("helpers.energy.idle", "unknown (PermissionError: closed)"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(name, Mock(side_effect=PermissionError("closed")))
            assert main(["check"]) == 0
        *_, line, last = capsys.readouterr().out.splitlines()
        assert line.startswith("NOTE energy ") and reason in line
        assert last == "Ready, but measurements here will have unknowns: see NOTE."


@pytest.mark.parametrize("version", [(3, 10, 4), (3, 15, 0)])
def test_python_outside_the_bounds_stops_the_check(ready, monkeypatch, capsys, version):
    monkeypatch.setattr(environment.sys, "version_info", version)
    status, lines = checked(capsys)
    assert status == 1 and list(lines) == ["python"] and "3.11 to 3.14 expected -> " in lines["python"]


def test_a_package_that_is_absent_or_out_of_bounds(ready, monkeypatch, capsys):
    real, others = machine.installed_version, {"jupyterquiz": None, "codecarbon": "3.2.1"}
    monkeypatch.setattr(machine, "installed_version", lambda name: others.get(name, real(name)))
    status, lines = checked(capsys)
    for text in ("codecarbon 3.2.1, <3.4,>=3.3 expected", "jupyterquiz absent", "-> make setup"):
        assert status == 1 and text in lines["packages"]


def test_assets_that_are_wrong(ready, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(assets, "MODELS", tmp_path)
    absent = checked(capsys)
    assert absent[0] == 0 and "SmolLM2-135M-Instruct is absent; " in absent[1]["writer"]
    (tmp_path / assets.WRITER.name).mkdir()
    monkeypatch.setattr(assets, "wrong_files", lambda folder, _: [f"{folder.name}.x is missing"])
    status, lines = checked(capsys)
    for line in (lines["model"], lines["writer"], absent[1]["writer"]):
        assert status == 1 and line.endswith("-> run `python -m helpers fetch`")
    assert "data.x is missing in" in lines["data"] and lines["data"].endswith("run `git checkout -- data`")
    monkeypatch.setattr(assets, "DATA", tmp_path)  # not even the sums
    assert "it ships with the repository" in checked(capsys)[1]["data"]


def test_disk_and_memory_that_are_short_or_ask_for_the_quick_profile(ready, capsys, monkeypatch):
    ready.free, ready.memory, ready.available = 0.2e9, 2e9, 1e9
    status, lines = checked(capsys)
    assert status == 1 and "0.2 GB free, 1 GB expected -> " in lines["disk"]
    assert "1.0 of 2.0 GB available, 1.8 GB expected -> " in lines["memory"]
    ready.free, ready.available = 50e9, 1.9e9
    status, lines = checked(capsys)
    assert status == 0 and lines["memory"].endswith("1.9 of 2.0 GB available -> " + environment.QUICK)
    monkeypatch.setattr(machine, "memory_bytes", Mock(side_effect=KeyError("MemTotal")))
    assert main(["check"]) == 0 and "unknown (KeyError: 'MemTotal')\n" in capsys.readouterr().out
    assert machine.hardware()["memory_gb"] is None


def test_a_quota_below_the_cores_is_told(monkeypatch):
    for threads, usable, text, fix in (
        ("", 1, "1 of 64 cores, which is this container's share", environment.QUICK),
        ("", 40, "40 of 64 cores, which is this container's share", ""),
        ("", 64, "64 cores", ""),
        ("0", 64, "64 cores", ""),
        ("4", 1, "4, from OMP_NUM_THREADS, of 64 cores", ""),
    ):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        monkeypatch.setattr(machine, "visible_cores", lambda: 64)
        monkeypatch.setattr(machine, "cores", lambda usable=usable: usable)
        assert environment.check_threads() == environment.Finding(True, "threads", text, fix)


def test_fetch_reports_an_error_without_a_traceback_and_help_names_every_command(monkeypatch, capsys):
    error = assets.AssetError("no source answered; connect and try again")
    for comes in (["a folder", error], [error, "a folder"]):  # neither depends on the other
        monkeypatch.setattr(assets, "fetch_model", Mock(side_effect=comes))
        assert main(["fetch"]) == 1
        assert re.fullmatch(r"The model .* is in a folder\.\nerror: no .*\n", "".join(capsys.readouterr()))
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--help"])
    assert re.search(r"check says .*fetch gets ", " ".join(capsys.readouterr().out.split()))


def test_colab_is_not_asked_for_what_only_the_command_line_uses(monkeypatch):
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release")
    assert not environment.packages().keys() & environment.NOT_ON_COLAB
    assert {"torch", "codecarbon", "jupyterquiz"} <= environment.packages().keys()
