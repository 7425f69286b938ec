"""The files that say what to install agree with each other and with the code, and make says what is wrong."""

import ast
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from contextlib import nullcontext
from importlib.metadata import metadata, packages_distributions, requires, version
from pathlib import Path
from unittest.mock import Mock

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from rattler import MatchSpec

import start
from tests.shared import HOUSES, code, make
from tools import notebooks
from tools.notebooks import ROOT

CONDA_NAMES = {"pytorch-cpu": "torch"}
CONDA_ONLY, TENSORFLOW = {"python", "pip", "setuptools"}, {"tensorflow", "tensorflow-cpu"}

toml = (ROOT / "pyproject.toml").read_text()
project = tomllib.loads(toml)["project"]
runtime = {canonicalize_name(r.name): r for r in map(Requirement, project["dependencies"])}
allowed = SpecifierSet(project["requires-python"])
PYTHONS = [f"3.{minor}.0" for minor in range(20) if f"3.{minor}.0" in allowed]
testing = {canonicalize_name(r.name): r for r in map(Requirement, project["optional-dependencies"]["test"])}


def pins(name: str, marker: str = r' ; (python_version|sys_platform) (<|==) ".+"') -> dict[str, Requirement]:
    """Names and exact versions, some with a marker; no address, no hash, no local build."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if not line.startswith(("#", "-r "))]
    assert [line for line in lines if not re.fullmatch(rf"[a-z0-9-]+==[\w.]+({marker})?", line)] == []
    assert lines == sorted(lines, key=lambda line: line.split("==")[0])
    return {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, lines)}


def applies(requirement: Requirement, python: str) -> bool:
    release = {"python_version": python.rpartition(".")[0], "python_full_version": python, "extra": ""}
    return requirement.marker is None or requirement.marker.evaluate(release)


learner, tests = pins("requirements.txt"), pins("requirements-test.txt")
conda = yaml.safe_load((ROOT / "environment.yml").read_text())


@pytest.mark.parametrize("name", [*runtime, *testing])
def test_each_dependency_has_bounds_a_reason_and_a_pin(name):
    requirement = (runtime | testing)[name]
    assert {bound.operator for bound in requirement.specifier} == {">=", "<"}, "a lower and an upper bound"
    assert re.search(rf'"{requirement.name}>=.*# .{{10,}}', toml), "a comment that says why"
    pin = (learner if name in runtime else learner | tests)[name]
    assert str(pin.specifier).removeprefix("==") in requirement.specifier and pin.marker == requirement.marker


def test_pins_are_complete_and_install_on_the_first_release_of_each_python_too():
    """Nothing floats; and Debian 12 has Python 3.11.2, where a package that wants 3.11.5 stopped a set-up."""
    assert not learner.keys() & tests.keys()
    assert "pip-audit" not in learner | tests | runtime | testing, "it audits from outside"
    here = [pin for pin in (learner | tests).values() if applies(pin, platform.python_version())]
    for name, pin in ((pin.name, pin) for pin in here):
        assert version(name) in pin.specifier, f"{name}: make setup"
        wants = SpecifierSet(metadata(name).get("Requires-Python", ""))
        pythons = [python for python in PYTHONS if applies(pin, python)]
        assert [python for python in pythons if python not in wants] == [], name
        for needed in map(Requirement, requires(name) or []):
            if any(applies(needed, python) for python in pythons):
                # torch's builds for a GPU bring libraries of their own, and each build pins them exactly
                of_a_gpu = re.match(r"nvidia-|cuda-|triton", needed.name) and name == "torch"
                known = canonicalize_name(needed.name) in learner | tests
                assert of_a_gpu or known, f"{name} needs {needed}, without a pin"


def test_conda_has_every_dependency_with_the_same_bounds():
    assert (ROOT / "environment.yml").read_bytes() == (ROOT / "binder/environment.yml").read_bytes()
    assert conda["channels"] == ["conda-forge", "nodefaults"]
    *specs, last = conda["dependencies"]
    found = {canonicalize_name(each.name): each for each in map(Requirement, last["pip"])}
    for spec in specs:
        parsed = MatchSpec(spec, strict=True)
        name = str(getattr(parsed.name, "normalized", parsed.name))
        assert name != "python" or spec == "python=3.11", "Binder wants one exact minor version"
        if name not in CONDA_ONLY:
            known = CONDA_NAMES.get(name, name)
            found[canonicalize_name(known)] = Requirement(known + spec.removeprefix(name))
    bounds, ours = ({name: each.specifier for name, each in some.items()} for some in (found, runtime))
    assert bounds == ours


def test_the_extra_s_pins_are_complete_and_those_it_shares_are_the_course_s():
    extra = pins("extras/tensorflow/requirements.txt", marker="; sys_platform .+")
    assert extra.keys() >= TENSORFLOW | {"keras", "codecarbon", "papermill", "ipykernel", "matplotlib"}
    assert extra["tensorflow"].specifier == extra["tensorflow-cpu"].specifier
    assert "torch" not in extra, "PyTorch has its own environment"
    both = extra.keys() & learner.keys()
    assert [name for name in both if extra[name].specifier != learner[name].specifier] == []
    assert not TENSORFLOW & learner.keys(), "the course itself needs none"


def test_what_is_imported_is_declared():
    """A package that only another one happens to bring is gone one day."""
    owners = packages_distributions()
    brought = {"pynvml"}  # part of what codecarbon reads GPUs with
    optional = {"xllamacpp"}  # of the extra `llama`
    own = {*HOUSES, "start", "IPython"} | sys.stdlib_module_names  # a notebook's kernel is IPython
    files = [path for house in HOUSES for path in (ROOT / house).rglob("*.py")]
    for path in [*files, *notebooks.course().values()]:
        allowed = own | brought | optional if path in files else own
        for node in ast.walk(ast.parse(code(path))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            for module in {name.split(".")[0] for name in names} - allowed:
                owned = {canonicalize_name(name) for name in owners.get(module, [])}
                assert owned & (runtime | testing).keys(), f"{path.name} imports {module}: declare it"


def test_scripts_can_be_executed_and_parse():
    for path in (ROOT / "binder/postBuild", ROOT / ".ci/run"):
        assert os.access(path, os.X_OK) and not subprocess.run(["bash", "-n", path]).returncode
    assert "extras" not in (ROOT / ".ci/run").read_text()


@pytest.mark.parametrize("path", [*(ROOT / ".github/workflows").glob("*.yml")], ids=lambda path: path.stem)
def test_a_workflow_has_nothing_of_its_own_and_may_do_what_it_must(path):
    """It calls what anyone can call, may no more than it must, and its actions can't change under it."""
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    assert not {"pull_request_target", "workflow_run", "issue_comment"} & set(workflow[True])  # `on`
    must = {"release": {"contents": "write"}}
    must["site"] = {"contents": "read", "pages": "write", "id-token": "write"}  # what publishing a page takes
    for name, job in workflow["jobs"].items():
        assert job.get("permissions", {}) == must.get(name, {})
    assert re.findall(r"uses: (?!\S+@[0-9a-f]{40} # v\d)", path.read_text()) == []
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    checkouts = [step["with"] for step in steps if "checkout" in step.get("uses", "")]
    assert [each for each in checkouts if each["persist-credentials"] is not False] == []
    commands = [step["run"] for step in steps if "run" in step]
    assert not any("${{" in command for command in commands), "text from elsewhere would be part of it"
    of_the_course = ("make ", ".venv/bin/python -m tools ", "gh release ")
    of_the_course += ("sudo .venv/bin/python -m tests.environments", "cat docs/environments.md ")
    of_the_course += ("python -m pip install pip-audit==", "python -m pip_audit ")
    assert [command for command in commands if not command.startswith(of_the_course)] == []
    if path.stem == "test":
        assert commands[:2] == (ROOT / ".ci/run").read_text().strip().splitlines()[-2:]
        minors = [python.removesuffix(".0") for python in PYTHONS]
        assert workflow["jobs"]["linux"]["strategy"]["matrix"]["python"] == minors
    if path.stem == "weekly":
        assert workflow[True]["schedule"] and any("-m tests.environments" in command for command in commands)
        for name in ("requirements-test.txt", "extras/tensorflow/requirements.txt"):
            assert any("pip_audit" in command and name in command for command in commands), name


def test_make_says_that_there_is_no_such_python(tmp_path):
    done = make(tmp_path, "setup")
    assert done.returncode and "No Python called " in done.stdout and not (tmp_path / ".venv").exists()


@pytest.fixture
def course(tmp_path, monkeypatch):
    """An empty course for start.py, whose environment has a Python that writes down what it is asked."""
    for name in ("requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    for name, path in {"ROOT": "", "VENV": ".venv", "MINE": "mine", "PYTHON": "python"}.items():
        monkeypatch.setattr(start, name, tmp_path / path)
    monkeypatch.setattr(start, "EMBEDDED", tmp_path / "models" / start.EMBEDDED.name)
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(shutil, "which", lambda _: None)  # no nvidia-smi
    start.VENV.mkdir()

    def with_python(script=""):
        start.PYTHON.write_text(f'#!/bin/sh\necho "$*" $PIP_TARGET $PIP_USER >>{tmp_path}/asked\n{script}\n')
        start.PYTHON.chmod(0o755)
        return tmp_path

    return with_python


def test_a_setup_says_what_is_wrong_with_a_python(course, monkeypatch):
    course()
    for where, name, value, message in (
        (sys, "version_info", (3, 8, 1), "3.11 to 3.14 expected"),
        (sys.modules, "ensurepip", None, "sudo apt install python3-venv"),
        (start, "runs", lambda *_: False, "holds a Python that is too old, too new or gone"),
    ):
        with monkeypatch.context() as patch, pytest.raises(SystemExit, match=message):
            (patch.setitem if where is sys.modules else patch.setattr)(where, name, value)
            start.set_up(kit=None)


def test_a_setup_that_breaks_off_leaves_no_stamp_and_one_that_is_done_asks_pip_nothing(course, capsys):
    folder = course("case $* in *install*--requirement*) exit 1;; esac")
    with pytest.raises(SystemExit, match="Setup stopped: pip says above why"):
        start.set_up(kit=None)
    assert not (start.VENV / ".ready").exists()
    for goes_on in (False, True):  # the fetch fails: of the model that all need, or of the other one
        course("[ x$3 != xfetch ]")
        with nullcontext() if goes_on else pytest.raises(SystemExit):
            start.set_up(kit=None)
        assert ("Going on: the course opens" in capsys.readouterr().out) == goes_on
        assert ("pip" in (folder / "asked").read_text()) != goes_on
        (folder / "asked").unlink()
        start.EMBEDDED.mkdir(parents=True, exist_ok=True)


def test_without_a_gpu_pytorch_s_cpu_build_comes_first_unless_pip_is_set_by_hand(course, capsys, monkeypatch):
    monkeypatch.setenv("PIP_TARGET", "elsewhere")
    for script, asked, said in (
        ("", True, "PyTorch comes as its CPU build"),
        ("case $* in *--index-url*) exit 1;; esac", True, "some gigabytes more"),
        ("case $* in *config*) echo global.index-url='file:///mirror';; esac", False, ""),
    ):
        log = course(script) / "asked"
        start.set_up(kit=None)
        assert (f"--index-url {start.CPU_BUILDS}" in log.read_text()) == asked
        assert all(line.endswith(" 0") for line in log.read_text().splitlines() if "pip install" in line)
        assert said in capsys.readouterr().out
        log.unlink()
        (start.VENV / ".ready").unlink()


def test_an_update_meets_no_edit_and_a_copy_is_as_jupyterlab_saves_it(course, capsys, monkeypatch):
    folder, welcome = course(), notebooks.course()["welcome"]
    (folder / "notebooks").mkdir()
    original, mine = folder / "notebooks" / welcome.name, folder / "mine" / welcome.name
    (start.VENV / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.12.7\n")
    text = welcome.read_text(encoding="utf-8")
    original.write_text(text)
    write, opened = Path.write_bytes, Mock(return_value=0)
    half = lambda path, content: write(path, content[:9]) and os.stat("room")  # noqa: E731
    terminal = io.TextIOWrapper(io.BytesIO(), "cp1252")  # which lacks a sign of the path
    with monkeypatch.context() as patch:
        patch.setattr(start, "set_up", lambda kit: print("水"))
        for name, value in {"stdout": terminal, "argv": ["start.py"]}.items():
            patch.setattr(sys, name, value)
        patch.setattr(subprocess, "call", opened)
        patch.setattr(Path, "write_bytes", half)  # as on a full disk
        assert start.main() == 0 and opened.call_args.args[0][-1].endswith(f"/notebooks/{welcome.name}")
    for release, edit in {"# Welcome": "", "# Well met": "", "# Hello": " "}.items():
        if edit:
            mine.write_text(mine.read_text() + edit)
        original.write_text(text.replace("# Welcome", release))
        start.copy_notebooks()
        assert (release in mine.read_text()) == (not edit)
    assert {path.stem for path in mine.parent.glob("*.ipynb")} == {welcome.stem, f"{welcome.stem}_new"}
    assert json.loads(mine.read_text())["metadata"]["language_info"]["version"] == "3.12.7"
    assert "Yours stays as it is" in capsys.readouterr().out
