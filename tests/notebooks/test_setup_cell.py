"""The notebooks' set-up cell: in its place, in a wrong one, without packages, and on Colab."""

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from IPython import InteractiveShell

from helpers import environment, machine
from tests.shared import python
from tools import ready, waiting
from tools.notebooks import ADDRESS, FOLDER, ROOT, SETUP, TAG


def run_cell(folder, source=SETUP, before=""):
    """Run a cell twice, as a kernel does; what it printed, the names that it left, and where helpers is."""
    code = f"""
import os, sys, types
from IPython.core.interactiveshell import InteractiveShell
{before}
shell = InteractiveShell.instance(colors="nocolor")
names = set(shell.user_ns)
shell.run_cell({source!r}), shell.run_cell({source!r})
import helpers
print(sorted(name for name in set(shell.user_ns) - names if not name.startswith("_")), os.getcwd())
print(sys.path[0], helpers.__file__)
"""
    return python("-c", code, cwd=folder).stdout


def test_it_finds_the_course_that_it_is_in_and_says_what_it_did_not_find(tmp_path):
    hidden = "sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]"
    shown = run_cell(ROOT / "notebooks", before=hidden)  # as where the course was never installed
    assert shown.splitlines() == [f"[] {ROOT / 'notebooks'}", f"{ROOT} {ROOT / 'helpers/__init__.py'}"]
    seen = "File `'../tools/ready.py'` not found"
    assert seen in run_cell(tmp_path) and seen in (ROOT / "README.md").read_text()
    absent = "import importlib.metadata as m; v = m.version; m.version = lambda n: v(n.replace('peft', 'x'))"
    shown = run_cell(ROOT / "notebooks", before=absent)
    assert f"ModuleNotFoundError: This Python, {sys.executable}, has no peft" in shown
    assert "requirements.txt" in shown and "make lab" in shown


def test_a_long_cell_says_for_how_long_and_one_that_ran_corrects_the_next(tmp_path, capsys):
    shell, costs, long_cell = InteractiveShell(), tmp_path / "costs.json", "import time; time.sleep(0.1)"
    costs.write_text("<<<<<<< HEAD")
    waiting.announce(shell, costs)  # says nothing, and stops nothing
    costs.write_text(json.dumps({"a topic": {"long_cells": {waiting.key(long_cell): 20}}}))
    for _ in range(2):  # as the set-up cell may run again
        waiting.announce(shell, costs)
    for source in (f"{long_cell}\n", "x = 1", long_cell):
        shell.run_cell(source)
    end = r": until \d\d:\d\d:\d\d\.\n"
    assert re.fullmatch(f"About 20 s on the course's machine{end}About [0-4] s{end}", capsys.readouterr().out)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_on_colab_it_clones_the_tag_and_moves_into_it(tmp_path):
    """Colab is imitated: its module and its shell are there, and the address and /content are folders."""
    origin, content = tmp_path / "origin", tmp_path / "content"
    for folder in (origin / "notebooks", content):
        folder.mkdir(parents=True)
    for house in ("helpers", "tools"):
        shutil.copytree(ROOT / house, origin / house, ignore=shutil.ignore_patterns("__pycache__"))
    for place in (origin, origin / "notebooks"):  # git keeps no empty folder
        shutil.copy(ROOT / "pyproject.toml", place)
    git = ["git", "-C", str(origin), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"], ["tag", TAG]):
        subprocess.run([*git, *arguments], check=True)
    colab = """
sys.modules["google.colab"] = types.ModuleType("google.colab")
InteractiveShell = type("Shell", (InteractiveShell,), {"__module__": "google.colab._shell"})"""
    source = SETUP.replace(ADDRESS, f"{origin.as_uri()} {FOLDER}").replace("/content", str(content))
    clone, shown = content / FOLDER, run_cell(tmp_path, source, colab)
    assert shown.splitlines()[-2:] == [f"[] {clone}/notebooks", f"{clone} {clone}/helpers/__init__.py"]


# Name and version of what is there; the system's packages come second, and the rest of one that was removed.
COLAB = [("torch", "2.11.0+cu128"), ("psutil", "5.9.5"), ("Py.JWT", "2.13.0")]
COLAB += [("py-jwt", "2.3.0"), ("distro-info", "1.1build1"), (None, None)]
CODECARBON = ["psutil>=6.0.0", "rapidfuzz", 'pandas>=2; python_version >= "3.99"', "black; extra == 'dev'"]


@pytest.fixture
def pip(monkeypatch):
    """What a pip that does nothing is asked for, a list for each call; constraints stand for their file."""
    asked = []

    def run(command, check):
        words = command[command.index("--no-warn-conflicts") + 1 :]
        asked.append([Path(word).read_text().split() if word.endswith(".txt") else word for word in words])
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
    here = [SimpleNamespace(name=name, version=version) for name, version in COLAB]
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: here)
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: CODECARBON)
    monkeypatch.setattr(machine, "installed_version", dict(COLAB).get)
    return asked


def test_colab_gets_only_what_is_absent_and_keeps_all_that_is_its_own(monkeypatch, pip):
    found = {"codecarbon": (None, "<3.4,>=3.3"), "onnx": (None, ">=1.17"), "torch": ("2.11.0+cu128", ">=2.6")}
    monkeypatch.setattr(environment, "packages", lambda: found)
    kept = ["torch==2.11.0+cu128", "psutil==5.9.5", "Py.JWT==2.13.0"]
    assert ready.add_missing() == 0
    assert pip == [["--no-deps", "codecarbon<3.4,>=3.3"], ["--constraint", kept, "onnx>=1.17", "rapidfuzz"]]
    del found["codecarbon"], found["onnx"]
    ready.add_missing()  # where the second pip failed, or was interrupted
    assert pip[2:] == [["--constraint", kept, "rapidfuzz"]]
    monkeypatch.setattr(machine, "installed_version", lambda name: "1.0")
    assert ready.add_missing() == 0 and len(pip) == 3, "nothing is absent"


def test_where_pip_fails_the_cell_says_so_and_stops(monkeypatch, pip):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=1))
    monkeypatch.setattr(environment, "packages", lambda: {"codecarbon": (None, ""), "peft": (None, "")})
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setitem(sys.modules, "google.colab", object())
    with pytest.raises(RuntimeError, match=r"pip .* says above why. Nothing of Colab's was changed"):
        ready.ready()


def test_what_colab_has_is_within_the_bounds(monkeypatch):
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release")
    has = dict(re.findall(r"^(.+)==(.+)", (ROOT / "tests/environments/colab.txt").read_text(), re.MULTILINE))
    bounds = {name: bounds for name, (_, bounds) in environment.packages().items() if name in has}
    assert len(bounds) > 10
    assert not {f"{name} {has[name]}" for name, allowed in bounds.items() if has[name] not in allowed}


def test_colab_is_given_all_that_a_program_of_the_course_starts_or_imports():
    """A notebook starts the cluster's programs in processes of their own, one of them with papermill."""
    used = set()
    for house in ("notebooks", "helpers", "exercises", "capstone", "cluster"):
        for path in [*(ROOT / house).rglob("*.py"), *(ROOT / house).glob("*.ipynb")]:
            text = path.read_text(encoding="utf-8").replace('\\"', '"')
            used |= set(re.findall(r'"-m", "(\w+)|^[ "]*(?:import|from) (\w+)', text, re.MULTILINE))
    assert not environment.NOT_ON_COLAB & {name for pair in used for name in pair}
