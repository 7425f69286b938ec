"""`python -m tools run` and `store`, on notebooks made here that take a second each."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import nbformat
import psutil
import pytest

from helpers.__main__ import main
from tools import kernel, notebooks, runner, store

COST = "<!-- cost --><!-- /cost -->"


def write(folder: Path, stem: str, *sources: str, heading: str = f"# A title\n\n{COST}") -> Path:
    """Write a notebook: a heading, a `parameters` cell, and one code cell for each source."""
    parameters = nbformat.v4.new_code_cell("rows: int = 5  # how many", metadata={"tags": ["parameters"]})
    cells = [nbformat.v4.new_markdown_cell(heading), parameters, *map(nbformat.v4.new_code_cell, sources)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata.kernelspec = {
        "display_name": "Of no one",
        "language": "python",
        "name": "no-such-kernel",
    }
    path = folder / f"{stem}.ipynb"
    nbformat.write(notebook, path)
    return path


@pytest.fixture
def course(tmp_path):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    return folder


@pytest.fixture
def build(tmp_path):
    return tmp_path / "build"


def kernels() -> set[psutil.Process]:
    """The living kernels that this process, or one it started, runs."""
    return {process for process in psutil.Process().children(recursive=True) if is_kernel(process)}


def is_kernel(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and "ipykernel_launcher" in " ".join(
            process.cmdline()
        )
    except psutil.Error:
        return False


def texts(path: Path) -> str:
    return notebooks.printed(notebooks.read(path))


def test_run_executes_in_order_with_this_python_and_sums_up(course, build, capsys):
    write(course, "01_second", "print(rows)")
    first = write(
        course,
        "00_first",
        "import os, sys, helpers; print(sys.executable, os.path.basename(os.getcwd()), helpers.__name__)",
        "data = bytearray(300_000_000)\nimport time; time.sleep(0.7)",
    )
    stored = first.read_bytes()
    assert runner.run(folder=course, output=build) == 0
    shown = capsys.readouterr().out
    assert shown.index("00_first") < shown.index("01_second") < shown.index("total")
    assert "2 of 2 ok" in shown
    assert texts(build / "00_first.ipynb").split() == [sys.executable, "notebooks", "helpers"]
    assert first.read_bytes() == stored, "run only reads the stored notebooks"
    line = json.loads((build / "summary.json").read_text())["notebooks"][0]
    assert line["result"] == "ok"
    assert 0.3 < line["peak_memory_gb"] < 1
    assert 0.7 < line["wall_s"] < 60
    if line["energy_wh"] is None:
        assert "unknown" in shown
    else:
        assert line["energy_wh"] > 0
        assert f"Wh {line['energy_method']}" in shown
    assert not kernels()


def test_a_failed_notebook_is_named_and_the_rest_goes_on(course, build, capsys):
    write(course, "00_breaks", "print('so far')", "# Divide\n1 / 0", "print('never')")
    write(course, "01_works", "print('still here')")
    assert runner.run(folder=course, output=build) == 1
    shown = capsys.readouterr()
    assert "00_breaks: cell [3], `1 / 0`: ZeroDivisionError: division by zero" in shown.err
    assert "00_breaks.ipynb" in shown.err
    assert "1 of 2 ok" in shown.out
    assert "so far" in texts(build / "00_breaks.ipynb")
    assert "never" not in texts(build / "00_breaks.ipynb")
    assert "still here" in texts(build / "01_works.ipynb")


def test_a_kernel_that_dies_is_a_failure_with_its_cell(course, build, capsys):
    write(course, "00_dies", "print('so far')", "import os; os._exit(9)")
    assert runner.run(folder=course, output=build) == 1
    assert "cell [3], `import os; os._exit(9)`: DeadKernelError" in capsys.readouterr().err
    assert not kernels()


def test_a_process_that_a_notebook_leaves_behind_is_ended(course, build):
    source = "import subprocess; print(subprocess.Popen(['sleep', '600'], start_new_session=True).pid)"
    write(course, "00_leaves", source)
    runner.run(folder=course, output=build)
    assert not any("sleep" in process.name() for process in psutil.Process().children(recursive=True))


def test_energy_that_is_unknown_is_never_zero():
    line = str(runner.Outcome("00_first", "ok", 12.0, 0.5, None, None))
    assert line.endswith("unknown")
    assert str(runner.Outcome("00_first", "ok", 12.0, 0.5, 1.94, "modelled")).endswith("1.9 Wh modelled")


def test_one_unknown_energy_makes_the_total_unknown(tmp_path, capsys):
    outcomes = [
        runner.Outcome("00_a", "ok", 1, 1, None, None),
        runner.Outcome("01_b", "ok", 1, 1, 2.0, "modelled"),
    ]
    runner._summarise(outcomes, tmp_path)
    total = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("total"))
    assert total.endswith("unknown")


def test_profile_changes_parameters(course, build):
    write(course, "00_first", "print(rows)")
    (course / "profiles.toml").write_text("[quick.00_first]\nrows = 2\n")
    assert runner.run(folder=course, output=build, profile="quick") == 0
    assert texts(build / "00_first.ipynb").strip() == "2"
    assert runner.run(folder=course, output=build) == 0
    assert texts(build / "00_first.ipynb").strip() == "5"


@pytest.mark.parametrize(
    ("toml", "profile", "message"),
    [
        ("[quick.00_first]\nrow = 2", "quick", r"\[quick.00_first\] sets row, but.*cell has: rows"),
        ("[gpu.09_none]\nrows = 2\n[quick]", "quick", r"\[gpu.09_none\] names no notebook"),
        ("[quick]", "gpu", "no profile gpu; it has: quick"),
        ("[quick", "quick", "not valid TOML"),
        ("quick = 3", "quick", "expected tables"),
        ("[quick]\n00_first = 3", "quick", "expected a table"),
    ],
)
def test_a_bad_profile_is_refused_before_anything_runs(course, build, toml, profile, message):
    write(course, "00_first", "print(rows)")
    (course / "profiles.toml").write_text(toml)
    with pytest.raises(runner.RunError, match=message):
        runner.run(folder=course, output=build, profile=profile)
    assert not build.exists()


def test_an_unknown_notebook_is_refused_with_what_there_is(course, build):
    write(course, "00_first")
    with pytest.raises(runner.RunError, match="no notebook is called 07_none; there is: 00_first"):
        runner.run(["07_none"], folder=course, output=build)
    assert not build.exists()
    assert [path.stem for path in runner.choose(["notebooks/00_first.ipynb"], course)] == ["00_first"]


def test_copies_never_replace_the_notebooks(course):
    path = write(course, "00_first")
    before = path.read_bytes()
    with pytest.raises(runner.RunError, match="holds the notebooks themselves"):
        runner.run(folder=course, output=course)
    assert path.read_bytes() == before


def test_the_command_line_reports_it_without_a_traceback(capsys):
    assert main(["run", "no_such_notebook"]) == 1
    assert capsys.readouterr().err.startswith("error: no notebook is called no_such_notebook; there is: ")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_ends_the_kernel_and_keeps_what_there_is(course, build):
    write(course, "00_first", "print('done')")
    write(
        course,
        "01_long",
        "print('so far', flush=True)",
        "import time\nprint('waits', flush=True)\ntime.sleep(600)",
    )
    write(course, "02_never", "print('never')")
    code = f"""
        import sys
        from pathlib import Path
        from tools import runner
        sys.exit(runner.run(folder=Path({str(course)!r}), output={str(build)!r}))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    running = psutil.Process(process.pid)
    deadline = time.monotonic() + 120
    copy = build / "01_long.ipynb"
    while not (copy.exists() and '"status": "running"' in copy.read_text() and "so far" in copy.read_text()):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.2)
    time.sleep(1)
    children = running.children(recursive=True)
    assert any(is_kernel(child) for child in children)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert not any(child.is_running() and is_kernel(child) for child in children)
    assert "interrupted in cell [3], `import time`" in err
    assert "Traceback" not in err
    results = {
        line["notebook"]: line["result"]
        for line in json.loads((build / "summary.json").read_text())["notebooks"]
    }
    assert results == {"00_first": "ok", "01_long": "interrupted", "02_never": "not run"}
    assert "02_never" in out and "not run" in out
    assert "so far" in texts(copy)


@pytest.fixture
def readme(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("before\n<!-- notebooks -->old<!-- /notebooks -->\nafter\n")
    return path


def test_store_writes_outputs_and_costs(course, readme):
    path = write(
        course, "00_first", "import os; print(os.environ['COURSE_STATIC'])", "print('a'); print('b')"
    )
    ids = [cell.id for cell in notebooks.read(path).cells]
    assert store.store(folder=course, readme=readme) == 0
    notebook = notebooks.read(path)
    assert notebooks.problems(notebook) == []
    assert [cell.id for cell in notebook.cells] == ids
    assert notebook.metadata.kernelspec.name == "python3"
    assert [cell.execution_count for cell in notebook.cells[1:]] == [1, 2, 3]
    assert notebook.cells[2].outputs[0].text == "1\n"
    assert [output.text for output in notebook.cells[3].outputs] == ["a\nb\n"]
    cost = json.loads((course / "costs.json").read_text())["00_first"]
    assert cost["title"] == "A title"
    assert "it took" in notebook.cells[0].source and "GB at its peak" in notebook.cells[0].source
    text = readme.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n")
    assert "| [00_first](notebooks/00_first.ipynb) | A title |" in text
    assert sorted(item.name for item in course.iterdir()) == ["00_first.ipynb", "costs.json"]


def test_store_keeps_the_rows_of_notebooks_it_did_not_run(course, readme):
    write(course, "00_first")
    write(course, "01_second")
    store.store(folder=course, readme=readme)
    before = json.loads((course / "costs.json").read_text())
    store.store(["01_second"], folder=course, readme=readme)
    after = json.loads((course / "costs.json").read_text())
    assert before["00_first"] == after["00_first"]
    assert "00_first" in readme.read_text()
    (course / "00_first.ipynb").unlink()
    store.store(["01_second"], folder=course, readme=readme)
    assert "00_first" not in readme.read_text()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("from pathlib import Path; print(Path.cwd().resolve())", "shows a path of this machine"),
        ("from pathlib import Path; Path.home() / 'x'", "shows a path of this machine"),
        ("import ipywidgets; ipywidgets.IntSlider()", "stores a widget"),
        ("print(('x' * 99 + chr(10)) * 11_000)", "expected less than 1 MB"),
    ],
)
def test_store_refuses_and_leaves_the_notebook_as_it_was(course, readme, capsys, source, message):
    path = write(course, "00_first", source)
    before = path.read_bytes()
    assert store.store(folder=course, readme=readme) == 1
    assert message in capsys.readouterr().err
    assert path.read_bytes() == before
    assert "old" in readme.read_text()
    assert [item.name for item in course.iterdir()] == ["00_first.ipynb"]


def test_store_refuses_to_start_without_a_place_for_the_cost(course, readme):
    write(course, "00_first", heading="# A title")
    with pytest.raises(runner.RunError, match=r"00_first\.ipynb: no place for the cost; put <!-- cost -->"):
        store.store(folder=course, readme=readme)
    write(course, "00_first")
    readme.write_text("no table")
    with pytest.raises(runner.RunError, match=r"README\.md: no place for the cost"):
        store.store(folder=course, readme=readme)


def test_problems_of_form():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", id="a", execution_count=4)])
    assert "expected 1 to 1" in notebooks.problems(notebook)[0]
    notebook.cells[0].execution_count = 1
    notebook.metadata["papermill"] = {}
    notebook.cells[0].metadata["execution"] = {}
    assert "holds papermill" in notebooks.problems(notebook)[0]
    assert "keeps execution metadata" in notebooks.problems(notebook)[1]
    notebooks.tidy(notebook)
    assert notebooks.problems(notebook) == []


@pytest.mark.parametrize(
    "text", ["/home/ada/x.csv", "in /tmp/ipykernel_3/1.py", r"C:\Users\ada", "/Users/ada/course"]
)
def test_a_path_of_any_machine_is_found(text):
    output = nbformat.v4.new_output("stream", text=text)
    cell = nbformat.v4.new_code_cell("print()", execution_count=1, outputs=[output])
    assert "shows a path" in notebooks.problems(nbformat.v4.new_notebook(cells=[cell]))[0]


@pytest.mark.parametrize(
    "text", ["https://example.org/home/ada", "the cube/root", "data/reviews/train.csv", "a/tmp/b"]
)
def test_what_only_looks_like_a_path_is_not(text):
    output = nbformat.v4.new_output("stream", text=text)
    cell = nbformat.v4.new_code_cell("print()", execution_count=1, outputs=[output])
    assert notebooks.problems(nbformat.v4.new_notebook(cells=[cell])) == []


def test_parameters_are_read_with_their_values():
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("a: int = 3\nb = 'x'\nc: float = 1 / 3")]
    )
    notebook.cells[0].metadata["tags"] = ["parameters"]
    assert notebooks.parameters(notebook) == {"a": 3, "b": "x", "c": None}


def test_course_kernel_leaves_the_environment_as_it_was(monkeypatch):
    monkeypatch.delenv("JUPYTER_PATH", raising=False)
    with kernel.course_kernel():
        assert "JUPYTER_PATH" in os.environ
    assert "JUPYTER_PATH" not in os.environ
