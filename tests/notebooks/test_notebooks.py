"""The form of the stored notebooks: what a reader, GitHub, Binder, Colab and the next maintainer count on."""

import ast
import functools
import itertools
import re

import nbformat
import pytest

from tests.shared import printed
from tools import notebooks, store
from tools.notebooks import ROOT

PATHS = [*notebooks.course().values()]
read = functools.cache(notebooks.read)  # which validates it, and takes longer than what is asked of it
PARAMETER = re.compile(r"^\w+: [\w.\[\], |]+ = .+  # \S")
FIGURE = re.compile(r"\d[\d.,]*\s*(?:m?Wh|kWh|J|W|joules|watts?)\b")
# A ratio of energies, in what a notebook says, prints or writes at a chart; and a time beside it. What is
# told of rebound and of the job's parts is computed from given energies, not read off a meter.
RATIO = r"(?i)\d[^.;:\n]{0,30} energy\b|energy[^.:\n]{0,40}(\d times| = 1\b|ratio)|E_2 / E_1|less energy"
TIME = r"(?i)\btime\b|(second|minute|hour)s?\b|as long|\d s\b|rebound|of the job's energy"
READ = r"counter|, 20\d\d\)"  # in a paragraph: the energy itself was read, by a counter or by others
EXTRA = ROOT / "extras/tensorflow/tensorflow.ipynb"
and_the_extra = pytest.mark.parametrize("path", [*PATHS, EXTRA], ids=lambda path: path.stem)


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return read(path)


@and_the_extra
def test_it_is_stored_as_a_run_from_a_fresh_kernel_of_any_machine(path, notebook):
    assert notebooks.problems(notebook) == [] and notebook.metadata.kernelspec == notebooks.KERNEL
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert path.read_bytes().endswith(b"}\n") and b"\r\n" not in path.read_bytes()


def test_it_opens_with_title_parameters_and_setup_and_its_references_are_in_the_bibliography(notebook):
    assert notebook.cells[0].cell_type == "markdown"
    assert re.match(r"# [A-Z]\D+\n", notebook.cells[0].source), "a title, without the number"
    assert notebooks.tagged(notebook, "parameters") == [notebook.cells[1]]
    assert notebooks.tagged(notebook, "setup") == [notebook.cells[2]]
    _, _, references = notebook.cells[-1].source.partition("**References**")
    known = re.findall(r"^@\w+\{(\w+),", (ROOT / "references.bib").read_text(), re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", references)) <= set(known)


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
    assert frees_what_it_needs("print(model)\nmodel = None\ndel other") == {"model", "other"}
    cells = [cell.source for cell in notebook.cells[3:] if cell.cell_type == "code"]
    assert {name for source in cells for name in frees_what_it_needs(source)} == set()


def test_its_cost_is_the_recorded_one(path, notebook):
    opening, closing = store.COST_MARKS
    cost = store.read_costs()[notebooks.topic(path)]
    assert notebook.cells[0].source.split(opening)[1].split(closing)[0] == str(cost)
    assert cost.wall_s < 240, "a notebook takes less than 4 minutes on 2 cores"
    assert cost.peak_memory_gb < 1.5, "a laptop has a browser open too; Binder ends at 2"


def test_its_minutes_follow_from_its_words_its_code_and_its_exercises(path, notebook):
    words = sum(len(cell.source.split()) for cell in notebook.cells if cell.cell_type == "markdown")
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and "jupyter" not in cell.metadata]
    lines = sum(bool(line.strip()) for cell in code for line in cell.source.splitlines())
    exercises = [6 if "def " in cell.source else 2 for cell in notebooks.tagged(notebook, "solution")]
    stated = re.search(r"and do\*\* \| (\d+) minutes(?:, and (\d+) at home)?", notebook.cells[0].source)
    here, home = (int(minutes or 0) for minutes in stated.groups())
    later = [*map(int, re.findall(r"\b(\d+) minutes, at home\)", str(notebook.cells)))]
    assert abs(words / 180 + lines / 10 + sum(exercises) - 6 * len(later) - here) <= 3
    assert home == sum(later) and here <= 60 and lines <= 400


def test_its_solutions_are_folded_and_tagged_and_no_cell_needs_one(notebook):
    solutions = notebooks.tagged(notebook, "solution")
    assert solutions, "no exercise has a solution"
    for cell in solutions:
        folded = cell.metadata.get("jupyter", {})
        assert folded.get("source_hidden") is True, f"JupyterLab should fold it: {cell.source}"
        assert cell.metadata.get("cellView") == "form", f"Colab should fold it: {cell.source}"
        hidden = cell.cell_type == "markdown" or folded.get("outputs_hidden") is True
        assert hidden, f"its output gives it away: {cell.source}"
        assert not re.search(r"\banswer\b", cell.source), "it would overwrite what the learner tried"
    for cell in notebook.cells:
        if re.match(r"#+ *(\*\*)?solution\b", cell.source, re.IGNORECASE):
            assert cell in solutions, f"a solution without its tag: {cell.source}"
        needs = cell.cell_type == "code" and re.search(r"(?<!\.)\bsolution\b", cell.source)
        assert cell in solutions or not needs, f"`make learner` leaves solutions out: {cell.source}"


@and_the_extra
def test_its_parameters_are_annotated_and_explained_and_its_code_cells_are_short(notebook):
    """Of a cell's lines, imports don't count, nor blank ones, which the formatter asks for."""
    lines = [line for line in notebook.cells[1].source.splitlines() if line and not line.startswith("#")]
    assert lines and [line for line in lines if not PARAMETER.match(line)] == []
    for cell in (cell for cell in notebook.cells[3:] if cell.cell_type == "code"):
        lines = [line for line in cell.source.splitlines() if not re.match(r"import |from |$", line)]
        assert len(lines) <= 25, cell.source


def test_it_installs_nothing_hides_no_figure_and_expects_no_error(notebook):
    """Papermill stops at an error that a tag allows: one that is shown is caught and printed."""
    assert notebooks.tagged(notebook, "raises-exception") == []
    bad = re.compile(r"^\s*[!%]\s*(pip|conda)\b|MPLBACKEND|matplotlib\.use", re.MULTILINE)
    for cell in (cell for cell in notebook.cells if cell not in notebooks.tagged(notebook, "setup")):
        assert cell.cell_type != "code" or not bad.search(cell.source)


@and_the_extra
def test_what_says_that_the_figure_shows_something_stands_below_one_and_each_can_be_read_aloud(notebook):
    """One that a helper returns shows only as the last value of its cell."""
    figures, missing, alts = [], [], []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            figures = [output for output in cell.outputs if "image/png" in output.get("data", {})]
            alts += [figure.metadata.get("image/png", {}).get("alt", "") for figure in figures]
        elif re.match(r"The (left |right )?figures? ", cell.source) and not figures:
            missing.append(cell.source[:80])
    assert missing == []
    assert [alt for alt in alts if not 60 <= len(alt) <= 250] == []


def test_enough_cells_are_compared_when_they_run_again():
    """Those tagged are, and one without an output compares next to nothing."""
    tagged = [cell for path in PATHS for cell in notebooks.tagged(read(path), "nbval-check-output")]
    assert sum(bool(cell.outputs) for cell in tagged) >= 120


def test_nothing_is_called_measured_without_a_counter():
    notebook = read(notebooks.course()["measure_energy"])
    shown = printed(notebook)
    if "No energy counter can be read here" not in shown:
        pytest.skip("it was stored on a machine with a counter")
    assert not [line for line in shown.splitlines() if re.search(r"\bmeasured\b", line)]
    for cell in (cell for cell in notebook.cells if cell.cell_type == "markdown"):
        for sentence in re.split(r"(?<=[.:?!])\s", cell.source):
            assert not (FIGURE.search(sentence) and re.search(r"\bmeasured\b", sentence)), sentence


def shown_by(notebook):
    """Yield each paragraph, what each code cell prints as a whole, and each text that it gives to a chart."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            told = cell.source.partition("**References.**")[0].split("\n\n")
            yield from (text for text in told if not re.search(READ, text))
            continue
        yield printed(nbformat.v4.new_notebook(cells=[cell]))
        for call in ast.walk(ast.parse(re.sub(r"^([ \t]*)[!%].*", r"\1pass", cell.source, flags=re.M))):
            if isinstance(call, ast.Call) and getattr(call.func, "attr", "").startswith("set"):
                yield from map(ast.unparse, [*call.args, *(word.value for word in call.keywords)])


@and_the_extra
def test_every_energy_line_carries_its_method_and_a_ratio_of_energies_the_time_beside_it(notebook):
    """Where power is a model, energy is time in other units, and time is what was measured."""
    for line in re.findall(r"^.*\d s, .* CPU s, .*$", printed(notebook), re.MULTILINE):
        assert re.search(r"Wh (measured|modelled|assumed)|energy unknown", line), line
    ratios = [text for text in shown_by(notebook) if re.search(RATIO, text)]
    assert [text for text in ratios if not re.search(TIME, text)] == []


def test_ratios_of_energies_are_found():
    for text in "4.4 times the energy", "a uses less energy: 0.5", "energy; naive = 1", "E_2 / E_1 = 0.96":
        assert re.search(RATIO, text) and not re.search(TIME, text), text


def glossary(notebook):
    words = notebook.cells[-1].source.partition("Words for the glossary")[2].partition("**Where next")[0]
    found = re.findall(r"\*([^*]+)\*(?:, \*([^*]+)\*)?: ", words)
    terms = [re.sub(r" \(.*\)", "", term) for terms in found for term in terms if term]
    return [each for term in terms for each in term.split(", ")]


def test_a_term_in_bold_stands_in_the_glossary():
    """Bold in a sentence is for a new term; what opens a line, or ends with a mark, is a kind of heading."""
    listed = re.findall(r"^- \*\*(.+?)\*\*", (ROOT / "docs/glossary.md").read_text("utf-8"), re.MULTILINE)
    known = {re.sub(r" \(.*", "", term).casefold() for terms in listed for term in terms.split(", ")}
    assert len(listed) == len({*listed}) > 120
    bold, missing = re.compile(r"(?<=[^*\s|-] )(?<!\d\. )\*\*([^*]+[^*.?:!])\*\*"), []
    for topic, path in notebooks.course().items():
        prose = "\n".join(c.source for c in read(path).cells[:-1] if c.cell_type == "markdown")
        terms = [term for term in bold.findall(prose) if not {term.casefold(), term[:-1].casefold()} & known]
        missing += [(topic, term) for term in terms]
    assert missing == []


def test_a_term_is_explained_once_where_it_is_used_first():
    """Who knows Python and gradients, and no Transformers, needs no other page up to “Fine-tune a BERT”."""
    words, explained, early = "", set(), []
    # Not what stands in code, in formulas, in titles of notebooks and papers, and in the glossary itself.
    other = re.compile(r"`[^`]*`|\$+[^$]*\$+|\]\(.*?\)|\*\*References.*|\*\*Words for.*", re.DOTALL)
    stressed = re.compile(r"(\*\*?)[^*\n]+\1|^##.*", re.MULTILINE)  # as what is being explained is
    for topic in itertools.takewhile(lambda topic: topic != "measure_energy", notebooks.course()):
        notebook = read(notebooks.course()[topic])
        prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
        here = other.sub("", "\n".join(prose[1:]))
        for term in glossary(notebook):
            before, first = (re.search(rf"(?i)(?<![\w-]){term}s?\b", text) for text in (words, here))
            shown = first and any(m.start() <= first.start() < m.end() for m in stressed.finditer(here))
            early += [] if shown and not before and term not in explained else [(topic, term)]
        explained |= set(glossary(notebook))
        words += here
    assert len(explained) > 50 and early == []
