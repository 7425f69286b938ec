"""The form of the stored notebooks: what a reader, GitHub, Binder, Colab and the next maintainer count on."""

import ast
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tools import notebooks, runner, store

ROOT = Path(__file__).resolve().parent.parent
PATHS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
PARAMETER = re.compile(r"^\w+: [\w.\[\], |]+ = .+  # \S")


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return notebooks.read(path)


def setup_source() -> str:
    if not PATHS:
        pytest.skip("there is no notebook yet")
    return notebooks.tagged(notebooks.read(PATHS[0]), "setup")[0].source


def test_it_is_stored_as_a_run_from_a_fresh_kernel(notebook):
    assert notebooks.problems(notebook) == []


def test_it_is_stored_as_any_machine_would(path, notebook):
    assert notebook.metadata.kernelspec == notebooks.KERNEL
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert path.read_bytes().endswith(b"}\n")
    assert b"\r\n" not in path.read_bytes()


def test_it_opens_with_title_parameters_and_setup(notebook):
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")
    assert notebooks.tagged(notebook, "parameters") == [notebook.cells[1]]
    assert notebooks.tagged(notebook, "setup") == [notebook.cells[2]]


def frees_what_it_needs(source):
    """Names that a cell takes from an earlier cell and lets go of: run again, it doesn't find them."""
    needed, made, freed = set(), set(), set()
    for statement in ast.parse(source).body:
        names = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
        stored = {node.id for node in names if isinstance(node.ctx, ast.Store)}
        # What a function, a loop or a `with` binds for itself, it doesn't take from an earlier cell.
        own = set() if isinstance(statement, ast.Assign) else stored
        own = own | {node.arg for node in ast.walk(statement) if isinstance(node, ast.arg)}
        needed |= {node.id for node in names if isinstance(node.ctx, ast.Load)} - made - own
        if isinstance(statement, ast.Delete):
            needed |= (deleted := {node.id for node in names}) - made
            freed |= deleted
        elif isinstance(statement, ast.Assign) and getattr(statement.value, "value", 0) is None:
            freed |= stored
        made |= set() if isinstance(statement, ast.FunctionDef) else stored
    return freed & needed


def test_a_cell_finds_what_it_needs_when_it_is_run_again(notebook):
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    assert {name for source in cells for name in frees_what_it_needs(source)} == set()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("print(model)\nmodel = None", {"model"}),
        ("del model", {"model"}),
        ("model = 1\nprint(model)\ndel model", set()),
        ("model = None\nmodel = new(model)", set()),
        ("for model in models:\n    print(model)\nmodel = None", set()),
        ("def f(model):\n    return model\nmodel = f(1)\nmodel = None", set()),
    ],
)
def test_cells_that_free_what_they_need_are_found(source, found):
    assert frees_what_it_needs(source) == found


def test_its_parameters_are_annotated_and_explained(notebook):
    lines = [
        line
        for line in notebook.cells[1].source.splitlines()
        if line and not line.startswith(("#", "import"))
    ]
    assert lines, "a parameters cell holds at least one parameter"
    assert [line for line in lines if not PARAMETER.match(line)] == []


def test_its_badges_lead_to_itself_at_the_tag_of_the_setup_cell(path, notebook):
    head, setup = notebook.cells[0].source, notebook.cells[2].source
    tag = re.search(r"--branch=(v[\w.]+)", setup)[1]
    repository = re.search(r"https://github\.com/([\w-]+/[\w-]+)", setup)[1]
    links = re.findall(r"\((https://(?:mybinder\.org/v2|colab\.research\.google\.com/github)/[^)]+)\)", head)
    assert len(links) == 2, "a badge for Binder and one for Colab"
    for link in links:
        assert repository in link and tag in link and f"{path.stem}.ipynb" in link


def test_its_cost_is_the_recorded_one(path, notebook):
    recorded = json.loads((ROOT / "notebooks" / store.COSTS).read_text())
    opening, closing = store.COST_MARKS
    stored = notebook.cells[0].source.split(opening)[1].split(closing)[0]
    assert stored == str(store.Cost(**recorded[path.stem]))
    assert recorded[path.stem]["wall_s"] < 240, "a notebook takes less than 4 minutes on 2 cores"
    assert recorded[path.stem]["peak_memory_gb"] < 1.5, "a laptop has a browser open too; Binder ends at 2"


def test_its_solutions_are_folded_and_tagged(notebook):
    solutions = notebooks.tagged(notebook, "solution")
    assert solutions, "no exercise has a solution"
    for cell in solutions:
        assert cell.metadata.get("jupyter", {}).get("source_hidden") is True, cell.source
        if cell.cell_type == "code":
            assert cell.metadata.get("cellView") == "form", "Colab folds by cellView"
    for cell in notebook.cells:
        if re.match(r"#+ *(\*\*)?solution\b", cell.source, re.IGNORECASE):
            assert cell in solutions, f"a solution without its tag: {cell.source}"


def test_its_code_cells_are_short(notebook):
    long = [
        cell.source
        for cell in notebook.cells[3:]
        if cell.cell_type == "code" and cell.source.count("\n") >= 25
    ]
    assert long == []


def test_it_installs_nothing_and_hides_no_figure(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code" and "setup" not in cell.metadata.get("tags", []):
            assert not re.search(
                r"^\s*[!%]\s*(pip|conda)\b|MPLBACKEND|matplotlib\.use", cell.source, re.MULTILINE
            )


def test_no_cell_expects_an_error(notebook):
    """Papermill stops at it: an error that is shown is caught and printed."""
    assert notebooks.tagged(notebook, "raises-exception") == []


def test_all_have_the_same_setup_cell():
    sources = {path.stem: notebooks.read(path).cells[2].source for path in PATHS}
    assert len(set(sources.values())) <= 1, f"setup cells differ: {sorted(sources)}"


def test_profiles_name_what_there_is():
    runner.profile_parameters(None)
    for profile in ("quick", "gpu") if PATHS else ():
        assert runner.profile_parameters(profile)


def test_the_readme_holds_the_recorded_table():
    costs = store._read_costs(ROOT / "notebooks" / store.COSTS)
    if not costs:
        pytest.skip("nothing is recorded yet")
    assert costs.keys() == {path.stem for path in PATHS}
    opening, closing = store.TABLE_MARKS
    stored = (ROOT / "README.md").read_text().split(opening)[1].split(closing)[0]
    assert stored.strip() == store.cost_table(costs)


def test_setup_says_when_helpers_is_not_found(tmp_path):
    """A kernel of another program, opened somewhere else. `-S` leaves out what .venv has installed."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", setup_source()],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
    )
    assert "ModuleNotFoundError: This kernel cannot find `helpers`" in done.stderr
    assert "make lab" in done.stderr and "pip install -e ." in done.stderr


def test_setup_says_when_the_kernel_lacks_packages():
    command = [sys.executable, "-S", "-c", setup_source()]
    done = subprocess.run(command, cwd=ROOT / "notebooks", capture_output=True, text=True)
    assert f"ModuleNotFoundError: This Python, {sys.executable}, has no packaging" in done.stderr
    assert "requirements.txt" in done.stderr


def test_setup_finds_helpers_that_are_not_installed():
    """The kernel has the packages, but the course was never installed into it."""
    code = "import sys; sys.meta_path = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]\n"
    code += setup_source() + "\nprint(environment.__file__)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT / "notebooks", capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()) == ROOT / "helpers/environment.py"


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_setup_on_colab_clones_the_tag_and_moves_into_it(tmp_path):
    """Colab is imitated: its module is there, and the address and the clone are temporary folders."""
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "helpers", origin / "helpers", ignore=skip)
    shutil.copy(ROOT / "pyproject.toml", origin)
    (origin / "notebooks").mkdir()
    (origin / "notebooks/keep").touch()
    git = ["git", "-C", str(origin), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"], ["tag", "v0.1.0"]):
        subprocess.run([*git, *arguments], check=True)
    source = setup_source().replace("/content/watt-it-takes", str(clone))
    source = re.sub(r"https://github\.com/[\w/-]+", origin.as_uri(), source)
    assert str(clone) in source and origin.as_uri() in source
    code = f"""
        import os, sys, types
        sys.modules["google.colab"] = types.ModuleType("google.colab")
        for _ in range(2):  # running the cell twice is harmless
            exec({source!r})
        print(os.getcwd(), environment.__file__)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(clone / "notebooks"), str(clone / "helpers/environment.py")]


def test_no_notebook_imports_what_is_not_declared():
    from importlib.metadata import packages_distributions

    from packaging.utils import canonicalize_name

    from helpers import environment

    owners, declared = packages_distributions(), {canonicalize_name(name) for name in environment.packages()}
    for path in PATHS:
        for cell in notebooks.read(path).cells:
            lines = [line for line in cell.source.splitlines() if not line.lstrip().startswith(("%", "!"))]
            if cell.cell_type != "code":
                continue
            for node in ast.walk(ast.parse("\n".join(lines))):
                modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                modules += [node.module] if isinstance(node, ast.ImportFrom) else []
                for module in (
                    {name.split(".")[0] for name in modules} - sys.stdlib_module_names - {"helpers"}
                ):
                    names = {canonicalize_name(name) for name in owners.get(module, [])}
                    assert names & declared, (
                        f"{path.stem} imports {module}, which pyproject.toml does not declare"
                    )


def test_pretraining_decides():
    """“Fine-tune a BERT”'s claims, in its recorded runs and in the run that is stored."""
    receipt = json.loads((ROOT / "data" / "receipts" / "contestants.json").read_text())
    full = [run for run in receipt["runs"] if run["train_rows"] == 7_070]
    pretrained = [run for run in full if run["name"] == "pretrained"]
    others = {run["name"]: run["accuracy"] for run in full if run["name"] != "pretrained"}
    assert len(pretrained) >= 3 and set(others) == {"TF-IDF", "from scratch"}
    assert statistics.mean(run["accuracy"] for run in pretrained) >= 0.88
    assert all(run["wall_s"] < 240 for run in pretrained)
    assert max(others.values()) < 0.83

    notebook = notebooks.read(ROOT / "notebooks" / "06_fine_tune_bert.ipynb")
    printed = notebooks.printed(notebook)
    accuracy = float(re.search(r"pretrained BERT: accuracy ([\d.]+)%", printed)[1])
    assert 85 < accuracy < 91
