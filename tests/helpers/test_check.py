"""`python -m helpers check`: a line for everything, a fix for what is wrong, and the exit status."""

import importlib.metadata
from types import SimpleNamespace

import psutil
import pytest

from helpers import assets, environment, machine
from helpers.__main__ import main

NAMES = ["python", "packages", "model", "data", "disk", "memory", "threads", "gpu", "energy"]


@pytest.fixture
def ready(monkeypatch):
    """A machine on which all is well, whatever the one that runs the test is like."""
    monkeypatch.setattr(assets, "model_status", lambda: (True, "all-MiniLM-L6-v2, hash right"))
    monkeypatch.setattr(assets, "data_status", lambda: (True, "8 files, hashes right"))
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda _: SimpleNamespace(free=50e9))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=6e9))
    monkeypatch.setattr(machine, "memory_bytes", lambda: 8e9)
    monkeypatch.setattr(machine, "nvidia_gpus", list)


def checked(capsys) -> tuple[int, dict[str, str]]:
    status = main(["check"])
    lines = capsys.readouterr().out.splitlines()
    return status, {line.split()[1]: line for line in lines if line.startswith(("OK", "FAIL"))}


def test_all_is_well(ready, capsys):
    status, lines = checked(capsys)
    assert list(lines) == NAMES
    assert status == 0
    assert all(line.startswith("OK  ") for line in lines.values())
    assert "torch" in lines["packages"]


@pytest.mark.parametrize(
    ("gpus", "gpu", "energy"),
    [([], "none is needed", "no counter: figures will be modelled"), (["NVIDIA T4"], "NVIDIA T4", "NVML")],
)
def test_a_gpu_and_its_counter_are_named_and_none_is_no_failure(
    ready, monkeypatch, capsys, gpus, gpu, energy
):
    monkeypatch.setattr(environment.Path, "glob", lambda *_: iter(()))
    monkeypatch.setattr(machine, "nvidia_gpus", lambda: gpus)
    status, lines = checked(capsys)
    assert status == 0 and gpu in lines["gpu"] and energy in lines["energy"]


@pytest.mark.parametrize("version", [(3, 10, 4), (3, 14, 0)])
def test_python_outside_the_bounds_stops_the_check(ready, monkeypatch, capsys, version):
    monkeypatch.setattr(environment.sys, "version_info", version)
    monkeypatch.setattr(environment.platform, "python_version", lambda: ".".join(map(str, version)))
    status, lines = checked(capsys)
    assert status == 1
    assert list(lines) == ["python"]
    assert "3.11 to 3.13 expected -> " in lines["python"]


def test_a_package_that_is_absent_or_out_of_bounds(ready, monkeypatch, capsys):
    real = importlib.metadata.version

    def version(name):
        if name == "jupyterquiz":
            raise importlib.metadata.PackageNotFoundError(name)
        return "3.2.1" if name == "codecarbon" else real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    status, lines = checked(capsys)
    assert status == 1
    assert "codecarbon 3.2.1, <3.4,>=3.3 expected" in lines["packages"]
    assert "jupyterquiz absent" in lines["packages"]
    assert "-> make setup" in lines["packages"]


@pytest.mark.parametrize("name", ["model", "data"])
def test_assets_that_are_wrong(ready, monkeypatch, capsys, name):
    monkeypatch.setattr(assets, f"{name}_status", lambda: (False, "x has the wrong hash -> fetch it again"))
    status, lines = checked(capsys)
    assert status == 1
    assert lines[name].startswith("FAIL")
    assert lines[name].endswith("-> fetch it again")


def test_disk_and_memory_that_are_short(ready, monkeypatch, capsys):
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda _: SimpleNamespace(free=0.2e9))
    monkeypatch.setattr(machine, "memory_bytes", lambda: 1e9)
    status, lines = checked(capsys)
    assert status == 1
    assert "0.2 GB free, 1 GB expected -> " in lines["disk"]
    assert "1.0 of 1.0 GB available, 1.8 GB expected -> " in lines["memory"]


@pytest.mark.parametrize(
    ("threads", "usable", "text", "fix"),
    [
        ("", 1, "64 cores seen, but this container may use 1", "for speed, set OMP_NUM_THREADS=1"),
        ("", 64, "64 cores", ""),
        ("4", 1, "4, from OMP_NUM_THREADS, of 64 cores", ""),
    ],
)
def test_a_quota_below_the_cores_gets_advice(monkeypatch, threads, usable, text, fix):
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    monkeypatch.setattr(machine, "visible_cores", lambda: 64)
    monkeypatch.setattr(machine, "cores", lambda: usable)
    assert environment.check_threads() == environment.Finding(True, "threads", text, fix)


def test_require_names_what_the_kernel_lacks(monkeypatch):
    environment.require()
    monkeypatch.setattr(environment, "packages", lambda: {"torch": (None, ""), "numpy": ("2.4", "")})
    with pytest.raises(ModuleNotFoundError, match=r"has no torch;.*requirements\.txt.*make lab"):
        environment.require()


def test_fetch_reports_an_error_without_a_traceback(monkeypatch, capsys):
    def fail():
        raise assets.AssetError("no source answered; connect and try again")

    monkeypatch.setattr(assets, "fetch_model", fail)
    assert main(["fetch"]) == 1
    assert capsys.readouterr().err == "error: no source answered; connect and try again\n"


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("check", "fetch"))


def test_colab_is_not_asked_for_what_only_the_command_line_uses(monkeypatch):
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release")
    assert not environment.packages().keys() & environment.NOT_ON_COLAB
    assert {"torch", "codecarbon", "jupyterquiz"} <= environment.packages().keys()
