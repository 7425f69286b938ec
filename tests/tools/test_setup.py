"""The files that say what to install agree with each other and with the code, and make says what is wrong."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import metadata, packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version
from rattler import MatchSpec

ROOT = Path(__file__).resolve().parent.parent
CONDA_NAMES = {"pytorch-cpu": "torch"}
CONDA_ONLY = {"python", "pip", "setuptools"}

project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
runtime = {canonicalize_name(r.name): r for r in map(Requirement, project["dependencies"])}
testing = {canonicalize_name(r.name): r for r in map(Requirement, project["optional-dependencies"]["test"])}


def pins(name: str) -> dict[str, Version]:
    lines = (ROOT / name).read_text().splitlines()
    split = [line.split("==") for line in lines if not line.startswith(("#", "-r"))]
    assert all(len(parts) == 2 for parts in split), f"{name} holds something else than name==version"
    return {canonicalize_name(package): Version(version) for package, version in split}


def conda() -> tuple[list[str], list[str]]:
    """The conda specs and the pip requirements of environment.yml."""
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    return [e for e in entries if isinstance(e, str)], [
        r for e in entries if isinstance(e, dict) for r in e["pip"]
    ]


@pytest.mark.parametrize("name", [*runtime, *testing])
def test_each_dependency_has_both_bounds_and_a_reason(name):
    requirement = (runtime | testing)[name]
    operators = {bound.operator for bound in requirement.specifier}
    assert operators == {">=", "<"}, f"{requirement} needs a lower and an upper bound"
    line = next(
        ln for ln in (ROOT / "pyproject.toml").read_text().splitlines() if f'"{requirement.name}>=' in ln
    )
    assert re.search(r"# .{10,}", line), f"{requirement.name} needs a comment that says why"


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-test.txt"])
def test_requirements_hold_names_and_versions_alone(name):
    text = (ROOT / name).read_text()
    assert not re.search(r"https?:|file:|--hash|--index|--find-links| @ |\+cpu", text)
    names = list(pins(name))
    assert names == sorted(names)


def test_pins_lie_within_the_bounds():
    learner, tests = pins("requirements.txt"), pins("requirements-test.txt")
    assert learner["torch"] == Version("2.13.0")
    for name, requirement in runtime.items():
        assert learner[name] in requirement.specifier, (
            f"{name} {learner[name]} is outside {requirement.specifier}"
        )
    for name, requirement in testing.items():
        assert (learner | tests)[name] in requirement.specifier
    assert not learner.keys() & tests.keys()
    assert "-r requirements.txt" in (ROOT / "requirements-test.txt").read_text().splitlines()


@pytest.mark.parametrize("python", ["3.11.0", "3.12.0", "3.13.0"])
def test_pins_install_on_the_first_release_of_each_python_too(python):
    """Debian 12 has Python 3.11.2, where a package that wants 3.11.5 stopped the whole setup."""
    assert python in SpecifierSet(project["requires-python"])
    every = pins("requirements.txt") | pins("requirements-test.txt")
    wants = {name: SpecifierSet(metadata(name).get("Requires-Python", "")) for name in every}
    assert {name: str(versions) for name, versions in wants.items() if python not in versions} == {}


def test_pins_are_complete():
    """Every dependency of a pinned package that applies here is pinned too, so nothing floats."""
    from importlib.metadata import requires

    pinned = pins("requirements.txt")
    for name in pinned:
        for line in requires(name) or []:
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                # torch's builds for a GPU bring libraries of their own, and each build pins them exactly
                of_a_gpu = re.match(r"nvidia-|cuda-|triton", needed.name) and name == "torch"
                assert of_a_gpu or canonicalize_name(needed.name) in pinned, (
                    f"{name} needs {needed}, without a pin"
                )


def test_what_is_installed_is_what_is_pinned():
    from importlib.metadata import version

    for name, pin in pins("requirements.txt").items():
        assert Version(version(name)).public == str(pin), f"{name}: make setup"


def test_both_environment_files_hold_the_same_bytes():
    assert (ROOT / "environment.yml").read_bytes() == (ROOT / "binder/environment.yml").read_bytes()


def test_environment_uses_conda_forge_alone():
    channels = yaml.safe_load((ROOT / "environment.yml").read_text())["channels"]
    assert channels == ["conda-forge", "nodefaults"]


@pytest.mark.parametrize("spec", conda()[0])
def test_conda_spec_parses_and_has_the_bounds_of_pyproject(spec):
    parsed = MatchSpec(spec, strict=True)
    name = str(parsed.name.normalized if hasattr(parsed.name, "normalized") else parsed.name)
    if name == "python":
        assert spec == "python=3.11", "Binder wants one exact minor version"
    elif name not in CONDA_ONLY:
        bounds = runtime[canonicalize_name(CONDA_NAMES.get(name, name))].specifier
        assert Requirement(f"x{spec.removeprefix(name)}").specifier == bounds


def test_environment_has_every_dependency():
    specs, under_pip = conda()
    names = {re.match(r"[\w.-]+", spec)[0] for spec in specs} - CONDA_ONLY
    from_conda = {canonicalize_name(CONDA_NAMES.get(name, name)) for name in names}
    from_pip = {canonicalize_name(Requirement(line).name): Requirement(line) for line in under_pip}
    assert from_conda | from_pip.keys() == runtime.keys()
    assert {"captum", "codecarbon", "jupyterquiz", "mlcommons-loadgen"} == from_pip.keys()
    for name, requirement in from_pip.items():
        assert requirement.specifier == runtime[name].specifier


def test_what_helpers_imports_is_declared():
    """A package that only another one happens to bring is gone one day."""
    owners = packages_distributions()
    imported = set()
    for path in (ROOT / "helpers").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(node.module.split(".")[0])
    brought = {"pynvml", "IPython"}  # part of what codecarbon reads GPUs with, and of what ipykernel is
    for module in imported - sys.stdlib_module_names - brought - {"helpers"}:
        names = {canonicalize_name(name) for name in owners.get(module, [])}
        assert names & runtime.keys(), f"helpers imports {module}, which pyproject.toml does not declare"


@pytest.mark.parametrize("name", ["binder/postBuild", ".ci/run"])
def test_scripts_can_be_executed_and_parse(name):
    assert os.access(ROOT / name, os.X_OK)
    subprocess.run(["bash", "-n", ROOT / name], check=True)


def test_workflow_has_nothing_of_its_own():
    jobs = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert commands == ["make test", "make validate"]
    assert (ROOT / ".ci/run").read_text().strip().splitlines()[-2:] == commands


@pytest.fixture
def course(tmp_path):
    """A folder with what `make setup` reads and no environment yet."""
    for name in ("Makefile", "requirements.txt", "requirements-test.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make(course: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(["make", *arguments], cwd=course, capture_output=True, text=True, timeout=60)


def fake_python(folder: Path, script: str) -> Path:
    path = folder / "python-of-the-test"
    path.write_text(f"#!/bin/bash\n{script}\n")
    path.chmod(0o755)
    return path


def test_make_lists_its_commands(course):
    listed = make(course).stdout
    for command in ("setup", "lab", "run", "test", "validate", "notebooks", "check", "clean"):
        assert f"make {command} " in listed


def test_make_says_when_there_is_no_python(course):
    done = make(course, "setup", "PYTHON=no-such-python")
    assert done.returncode
    assert "No Python called no-such-python" in done.stdout
    assert "make lab PYTHON=" in done.stdout
    assert not (course / ".venv").exists()


def test_make_says_when_python_is_too_old(course):
    old = fake_python(
        course,
        '[ "$1" = --version ] && echo "Python 3.8.1"; case "$2" in *version_info*) exit 1;; esac; exit 0',
    )
    done = make(course, "setup", f"PYTHON={old}")
    assert done.returncode
    assert "Python 3.8.1: 3.11, 3.12 or 3.13 expected" in done.stdout


def test_make_says_when_venv_is_missing(course):
    bare = fake_python(course, 'case "$2" in *venv*) exit 1;; esac; exit 0')
    done = make(course, "setup", f"PYTHON={bare}")
    assert done.returncode
    assert "sudo apt install python3-venv" in done.stdout


def test_a_setup_that_breaks_off_leaves_no_stamp(course):
    """The environment is made, then pip is killed halfway: the next command starts over."""
    inner = (
        "#!/bin/bash\\ncase \\$* in *--version*) exit 0;; *install*) echo Collecting torch; exit 130;; esac"
    )
    broken = fake_python(course, f'[ "$2" = venv ] && mkdir -p "$3/bin" && printf "{inner}" >"$3/bin/python" '
                                 '&& chmod +x "$3/bin/python"; exit 0')  # fmt: skip
    done = make(course, "setup", f"PYTHON={broken}")
    assert done.returncode
    assert (course / ".venv/bin/python").exists(), done.stdout + done.stderr
    assert not (course / ".venv/.ready").exists()
    again = make(course, "setup", f"PYTHON={broken}")
    assert again.returncode
    assert "Collecting" in again.stdout or "Setting up" in again.stdout
