"""`python -m tools run` and `store`, on notebooks made here that take a second each."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import nbformat
import psutil
import pytest
from papermill.iorw import LocalHandler

from helpers import machine
from tests.environments import __main__ as environments
from tests.shared import printed, python
from tools import RunError, kernel, links, notebooks, ready, runner, store, waiting
from tools.__main__ import main

BUILD, README = Path("build"), Path("README.md")  # of the folder that `course` makes and goes to
COST = "<!-- cost --><!-- /cost -->"


def write(folder: Path, stem: str, *sources: str, heading: str = f"# A title\n\n{COST}") -> Path:
    """Write a notebook: a heading, a `parameters` cell, and one code cell for each source."""
    parameters = nbformat.v4.new_code_cell("rows: int = 5  # how many", metadata={"tags": ["parameters"]})
    cells = [nbformat.v4.new_markdown_cell(heading), parameters, *map(nbformat.v4.new_code_cell, sources)]
    kernelspec = {"display_name": "Of no one", "language": "python", "name": "no-such-kernel"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernelspec})
    nbformat.write(notebook, folder / f"{stem}.ipynb")
    return folder / f"{stem}.ipynb"


@pytest.fixture
def course(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    README.write_text("before\n<!-- notebooks -->old<!-- /notebooks -->\nafter\n")
    (tmp_path / "notebooks").mkdir()
    return tmp_path / "notebooks"


def texts(path: Path) -> str:
    return printed(notebooks.read(path))


def test_run_executes_in_order_with_this_python_and_sums_up(course, capsys, monkeypatch):
    monkeypatch.delenv("JUPYTER_PATH", raising=False)
    write(course, "01_second", "print(rows)")
    whose = "import os, sys, helpers; print(sys.executable, os.path.basename(os.getcwd()), helpers.__name__)"
    first = write(course, "00_first", whose, "data = bytearray(300_000_000)\nimport time; time.sleep(0.7)")
    (course / "profiles.toml").write_text("[quick.second]\nrows = 2\n")  # and no profile is asked for
    stored, startup = first.read_bytes(), course.parent / "of one's own" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "all.py").write_text("import builtins; builtins.print = list")
    monkeypatch.setenv("IPYTHONDIR", str(startup.parents[1]))
    with monkeypatch.context() as patch:  # other people's processes are hidden, as with hidepid=1
        patch.setattr(psutil.Process, "children", Mock(side_effect=psutil.AccessDenied))
        assert runner.run(folder=course) == 0
    shown = capsys.readouterr().out
    assert shown.index("00_first") < shown.index("01_second") < shown.index("2 of 2 ok")
    assert texts(BUILD / "00_first.ipynb").split() == [sys.executable, "notebooks", "helpers"]
    assert texts(BUILD / "01_second.ipynb").strip() == "5"
    assert first.read_bytes() == stored and "JUPYTER_PATH" not in os.environ, "nothing else is changed"
    line = json.loads((BUILD / "summary.json").read_text())["notebooks"][0]
    assert 0.3 < line["peak_memory_gb"] < 1 and 0.7 < line["wall_s"] < 60
    assert ("unknown" if line["energy_wh"] is None else f"Wh ({line['energy_method']})") in shown
    assert not environments.kernels(psutil.Process())


def test_a_failed_notebook_is_named_the_rest_goes_on_and_nothing_is_left(course, capsys):
    write(course, "00_away", "import shutil; shutil.rmtree('../build')")
    write(course, "00_breaks", "print('so far')", "# Divide\n1 / 0", "print('never')")
    left = "import subprocess; sleep = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
    left += "_ = open('left', 'a').write(f'{sleep.pid} ')"
    write(course, "01_dies", "print('so far')", "import os; os._exit(9)")
    write(course, "02_works", "print('still here')", left)
    write(course, "03_killed", left + ".real\nimport os; os.kill(os.getpid(), 9)")
    assert runner.run(folder=course) == 1
    shown = capsys.readouterr()
    assert "00_breaks: cell [3], `1 / 0`: ZeroDivisionError: division by zero" in shown.err
    assert "01_dies: cell [3], `import os; os._exit(9)`: DeadKernelError" in shown.err
    assert "`import subprocess; sleep = sub" in shown.err and "choose --profile quick" in shown.err
    assert "1 of 5 ok" in shown.out and texts(BUILD / "00_breaks.ipynb").split() == ["so", "far"]
    assert "still here" in texts(BUILD / "02_works.ipynb")
    pids = (course / "left").read_text().split()
    assert len(pids) == 2 and not environments.kernels(psutil.Process())
    if sys.platform == "linux":  # elsewhere, what has lost its parent is not found
        assert not any(psutil.pid_exists(int(pid)) for pid in pids), "what a notebook leaves behind is ended"


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(course, capsys):
    (course / "00_half.ipynb").write_text('{"cells": [')
    (course / "01_folder.ipynb").mkdir()
    (course / "02_gone.ipynb").symlink_to("nothing.ipynb")
    (course / "03_list.ipynb").write_text("[1, 2]")
    (course / "04_latin.ipynb").write_bytes('{"é": 1}'.encode("latin1"))
    write(course, "05_works", "print(rows)")
    (course / "profiles.toml").write_text("[quick.works]\nrows = 2\n[quick.half]\nrows = 2\n")
    BUILD.mkdir()
    write(BUILD, "00_half", "1")  # of an earlier run: it doesn't say how far this one came
    assert runner.run(folder=course, profile="quick") == 1
    shown = capsys.readouterr()
    for stem in ("00_half", "01_folder", "02_gone", "03_list", "04_latin"):
        line = f"{stem}: before its first cell: RunError: {stem}.ipynb can't be read as a notebook ("
        assert line in shown.err
    assert texts(BUILD / "05_works.ipynb").strip() == "2" and "1 of 6 ok" in shown.out
    assert sorted(path.name for path in BUILD.iterdir()) == ["05_works.ipynb", "summary.json"]
    for command in (lambda: store.store(folder=course), lambda: links.update(course.parent)):
        with pytest.raises((RunError, OSError), match=r"00_half\.ipynb|01_folder\.ipynb"):
            command()


def full(path, text, size):
    """Write what fits on a disk of this size, and raise what a full one does."""
    Path(path).write_bytes(text[:size].encode())
    if len(text) > size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_fails_one_notebook_and_the_rest_goes_on(course, capsys, monkeypatch):
    write(course, "00_large", "print('x' * 20_000)")
    write(course, "01_small", "print('fits')")
    monkeypatch.setattr(LocalHandler, "write", lambda _, text, path: full(path, text, 10_000))
    assert runner.run(folder=course, output=BUILD.resolve()) == 1  # papermill writes from where it began
    shown = capsys.readouterr()
    assert f"00_large: its copy in {BUILD.resolve()} could not be written: OSError: [Errno 28]" in shown.err
    assert "the disk is full: free some space" in shown.err and "1 of 2 ok" in shown.out
    assert re.findall(r'"result": "(\w+)"', (BUILD / "summary.json").read_text()) == ["failed", "ok"]
    assert sorted(path.name for path in BUILD.iterdir()) == ["01_small.ipynb", "summary.json"]


def test_files_are_written_whole_and_together_or_not_at_all(tmp_path, capsys, monkeypatch):
    notebooks.write({tmp_path / "one": "old", tmp_path / "other": "old"})
    monkeypatch.setattr(Path, "write_text", lambda path, text, **_: full(path, text, 3))
    with pytest.raises(RunError, match=r"other can't be written \(No space left on device\); nothing"):
        notebooks.write({tmp_path / "one": "new", tmp_path / "other": "longer"})
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old", b"old"], "and no part of another"
    failed = kernel.Outcome("00_a", "failed", 1, 1, failure="why")
    with pytest.raises(RunError, match=r"summary.json can't be written"):
        runner._summarise([failed, kernel.Outcome("01_b", "ok", 1, 1, 2.0, "modelled")], tmp_path)
    shown = capsys.readouterr()
    assert "1 of 2 ok" in shown.out and "00_a: why" in shown.err
    assert re.search(r"^total .*unknown$", shown.out, re.MULTILINE), "one unknown energy makes it so, never 0"


def test_a_bad_profile_and_a_folder_of_no_use_are_refused_before_anything_runs(course, monkeypatch):
    path = write(course, "00_first", "print(rows)")
    for toml, profile, message in (
        ("[quick.first]\nrow = 2", "quick", r"\[quick.first\] sets row, but.*cell has: rows"),
        ("[gpu.none]\nrows = 2\n[quick]", "quick", r"\[gpu.none\] is no table of a notebook.*\[gpu.first\]"),
        ("[quick]", "gpu", "no profile gpu; it has: quick"),
        ("[quick", "quick", "not valid TOML"),
        ("quick = 3", "quick", r"\[quick.3\] is no table"),
        ("[quick]\nfirst = 3", "quick", r"\[quick.first\] is no table"),
    ):
        (course / "profiles.toml").write_text(toml)
        with pytest.raises(RunError, match=message):
            runner.run(folder=course, profile=profile)
    (course / "profiles.toml").unlink()
    with pytest.raises(RunError, match=r"build can't be written .*name another with --output"):
        runner.run(folder=course, output=path / "build")
    monkeypatch.setattr(store.os, "access", lambda *_: False)
    with pytest.raises(RunError, match="notebooks can't be written, so nothing can be stored"):
        store.store(folder=course, readme=README)
    assert not BUILD.exists()


def test_notebooks_are_chosen_by_topic_or_file_name(course):
    path = write(course, "00_first")
    write(course, "07_other")
    for name in ("first", "00_first", "notebooks/00_first.ipynb"):
        assert notebooks.course(course, [name]) == {"first": path}
    with pytest.raises(RunError, match="holds the notebooks themselves"):
        runner.run(folder=course, output=course)
    write(course, "01_first")
    with pytest.raises(RunError, match=r"00_first\.ipynb: another notebook has this topic"):
        notebooks.course(course)
    assert not BUILD.exists()


@pytest.mark.parametrize(("usable", "asked", "threads"), [(1, None, "1"), (2, "3", "3"), (64, None, None)])
def test_a_notebook_computes_with_a_containers_share_of_the_cores(monkeypatch, usable, asked, threads):
    monkeypatch.setattr(machine, "visible_cores", lambda: 64)
    monkeypatch.setattr(machine, "cores", lambda: usable)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(os, "environ", {"OMP_NUM_THREADS": asked} if asked else {})
    ready.ready()
    assert os.environ.get("OMP_NUM_THREADS") == threads


def test_the_command_line_says_what_is_wrong_without_a_traceback(capsys):
    assert main(["run", "no_such_notebook"]) == 1
    assert capsys.readouterr().err.startswith("error: no notebook is called no_such_notebook; there is: ")
    done = python("-S", "-m", "tools", "run")  # `-S` leaves out the packages that are installed
    assert done.returncode == 1
    assert re.match("error: This Python.* has no packaging; .*requirements.txt.* make run", done.stderr)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_ends_the_kernel_and_keeps_what_there_is(course):
    waits = "import time\nprint('waits', flush=True)\ntime.sleep(600)"
    write(course, "00_first", "print('done')")
    write(course, "01_long", "print('so far', flush=True)", waits)
    write(course, "02_never", "print('never')")
    code = "import sys; from pathlib import Path; from tools import runner\n"
    code += f"sys.exit(runner.run(folder=Path({str(course)!r}), output={str(course.parent / 'out')!r}))"
    pipes = {"cwd": notebooks.ROOT, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", code], **pipes)
    started = environments.wait_for(course.parent, psutil.Process(process.pid), r'"so far\n"')
    time.sleep(1)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert not started.is_running()
    assert "interrupted in cell [3], `import time`" in err and "Traceback" not in err
    lines = json.loads(Path("out/summary.json").read_text())["notebooks"]
    assert [line["result"] for line in lines] == ["ok", "interrupted", "not run"]
    assert "not run" in out and "so far" in texts(Path("out/01_long.ipynb"))


def test_store_writes_outputs_and_costs_and_keeps_the_rows_of_notebooks_it_did_not_run(course, monkeypatch):
    monkeypatch.setattr(waiting, "LONG_S", 1e-9)
    static = "import os; print(os.environ['COURSE_STATIC'])"
    path = write(course, "00_first", static, "print('a'); print('b')")
    write(course, "01_second")
    ids = [cell.id for cell in notebooks.read(path).cells]
    assert store.store(folder=course, readme=README) == 0
    notebook = notebooks.read(path)
    assert notebooks.problems(notebook) == [] and [cell.id for cell in notebook.cells] == ids
    assert [dict(cell.metadata) for cell in notebook.cells] == [{}, {"tags": ["parameters"]}, {}, {}]
    assert [cell.execution_count for cell in notebook.cells[1:]] == [1, 2, 3]
    assert [[output.text for output in cell.outputs] for cell in notebook.cells[2:]] == [["1\n"], ["a\nb\n"]]
    cost = store.read_costs(course)["first"]
    assert f"<!-- cost -->{cost}<!-- /cost -->" in notebook.cells[0].source
    assert cost.long_cells.keys() >= {waiting.key(static), waiting.key("print('a'); print('b')")}
    text = README.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n")
    assert "| [00_first](notebooks/00_first.ipynb) | A title |" in text
    assert {item.name for item in course.iterdir()} == {"00_first.ipynb", "01_second.ipynb", "costs.json"}
    path.rename(course / "02_first.ipynb")  # found again, by its topic
    store.store(["second"], folder=course, readme=README)
    assert store.read_costs(course)["first"] == cost
    assert README.read_text().index("01_second") < README.read_text().index("02_first")
    (course / "02_first.ipynb").unlink()
    store.store(["01_second"], folder=course, readme=README)
    assert "first" not in README.read_text()


def test_store_refuses_and_leaves_the_notebook_as_it_was(course, capsys):
    for source, message in (
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("from pathlib import Path; Path.home() / 'x'", "shows a path of this machine"),
        ("import ipywidgets; ipywidgets.IntSlider()", "stores a widget"),
        ("print(('x' * 99 + chr(10)) * 11_000)", "expected less than 1 MB"),
    ):
        path = write(course, "00_first", source)
        before = path.read_bytes()
        assert store.store(folder=course, readme=README) == 1 and message in capsys.readouterr().err
        assert path.read_bytes() == before and "old" in README.read_text()
        assert [item.name for item in course.iterdir()] == ["00_first.ipynb"]


def test_store_refuses_to_start_without_a_place_for_the_cost_or_with_costs_that_are_not_whole(course):
    write(course, "00_first", heading="# A title")
    for place in (r"00_first\.ipynb, first cell", r"README\.md"):
        with pytest.raises(RunError, match=f"{place}: no place for the cost; put <!-- "):
            store.store(folder=course, readme=README)
        README.write_text("no table")
    for text in ('{"first": {"wall_s": 1', "[1]", '{"first": {"wall_s": 1}}'):
        (course / "costs.json").write_text(text)
        with pytest.raises(RunError, match=r"costs.json holds no costs .*get it anew from git"):
            store.read_costs(course)


def test_problems_of_form_and_paths_of_any_machine_are_found_and_nothing_else():
    cell = nbformat.v4.new_code_cell("figure.x(y=0)\nfigure", execution_count=4, metadata={"execution": {}})
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"papermill": {}})
    found = "\n".join(notebooks.problems(notebook))
    for each in ("expected 1 to 1", "holds papermill", "keeps execution metadata", "another cell drew"):
        assert each in found
    notebooks.tidy(notebook)
    cell.update(source="figure = 1\nfigure", execution_count=1)
    assert notebooks.problems(notebook) == []
    someones = ["/home/ada/x.csv", "in /tmp/a/1.py", r"C:\Users\ada", "/Users/ada/course"]
    for text in (*someones, "https://example.org/home/ada", "the cube/root", "data/a.csv", "a/tmp/b"):
        output = nbformat.v4.new_output("stream", text=text)
        cell = nbformat.v4.new_code_cell("print()", execution_count=1, outputs=[output])
        problems = notebooks.problems(nbformat.v4.new_notebook(cells=[cell]))
        assert ["shows a path" in problem for problem in problems] == [True] * (text in someones), text
