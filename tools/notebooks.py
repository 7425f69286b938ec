"""Which notebooks there are, what a stored one looks like, and what is wrong with one."""

import ast
import re
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import nbformat

from helpers.values import replacing
from tools import RunError

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
ADDRESS = "https://github.com/watt-it-takes/watt-it-takes"
TAG = f"v{tomllib.loads((ROOT / 'pyproject.toml').read_text(encoding='utf-8'))['project']['version']}"
FOLDER = ADDRESS.rsplit("/", 1)[-1]
SETUP = f"""\
# On Colab, this fetches the course and what else is missing. Elsewhere it checks that everything is here.
if "google.colab" in str(get_ipython()):
    %cd -q /content
    ![ -d {FOLDER} ] || git clone -q --depth=1 -b {TAG} {ADDRESS}
    %cd -q {FOLDER}/notebooks
%run ../tools/ready.py"""
MAX_BYTES = 1_000_000  # GitHub shows no notebook that is much larger
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE = {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"}
LANGUAGE["pygments_lexer"] = "ipython3"
RUN_METADATA = ("papermill", "execution", "ExecuteTime", "widgets")
WIDGET = "application/vnd.jupyter.widget-view+json"
ANYONES = r"(?<![\w.])(?:/(?:home|Users|root|tmp|private/var|var/folders)/|[A-Z]:\\+Users\\)[\w.\\/-]*"


def topic(path: Path | str) -> str:
    """Give a notebook's name without folder, number and ending.

    >>> topic("notebooks/06_waste_heat.ipynb"), topic("waste_heat")
    ('waste_heat', 'waste_heat')
    """
    return re.sub(r"^\d\d_", "", Path(path).name.removesuffix(".ipynb"))


def course(folder: Path = NOTEBOOKS, names: Sequence[str] = ()) -> dict[str, Path]:
    """Give the notebooks of a folder by topic, in the order of their numbers, or those of these names.

    `names` are topics or file names. One that means none, no notebook, or two of one topic raise RunError.
    """
    paths = sorted(folder.glob("[0-9][0-9]_*.ipynb")) or sorted(folder.glob("*.ipynb"))
    known = {topic(path): path for path in paths}
    if twice := [path.name for path in paths if path not in known.values()]:
        raise RunError(f"{', '.join(twice)}: another notebook has this topic; remove or rename one of them")
    asked = {Path(name).name.removesuffix(".ipynb") for name in names}
    unknown = sorted(asked - known.keys() - {path.stem for path in paths})
    if unknown or not known:
        there = ", ".join(known) or f"none in {folder}"
        raise RunError(f"no notebook is called {', '.join(unknown) or 'NN_*.ipynb'}; there is: {there}")
    return {name: path for name, path in known.items() if not asked or asked & {name, path.stem}}


def read(path: Path) -> nbformat.NotebookNode:
    """Read a notebook in the current format, with cell ids; a RunError names a file that is none."""
    try:
        return nbformat.read(path, as_version=4)
    except Exception as error:  # a folder, half a file, other JSON: nbformat has an error for each
        reason = str(error).strip().partition("\n")[0][:100]
        raise RunError(f"{path.name} can't be read as a notebook ({reason}); get it anew from git") from None


def write(texts: Mapping[Path, str]) -> None:
    """Write files with Unix line ends, all of them whole; if one can't be, all stay as they were."""
    try:
        with ExitStack() as stack:
            for path, text in texts.items():
                stack.enter_context(replacing(path)).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        names = " and ".join(str(path) for path in texts)
        raise RunError(f"{names} can't be written ({error.strerror}); nothing was changed") from None


def tagged(notebook: nbformat.NotebookNode, tag: str) -> list[nbformat.NotebookNode]:
    """List a notebook's cells with this tag."""
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def parameters(notebook: nbformat.NotebookNode) -> dict[str, object]:
    """Give the annotated names of the cell tagged `parameters`, each with its value, which is a constant."""
    lines = [line for cell in tagged(notebook, "parameters") for line in ast.parse(cell.source).body]
    return {ast.unparse(x.target): ast.literal_eval(x.value) for x in lines if isinstance(x, ast.AnnAssign)}


def title(notebook: nbformat.NotebookNode) -> str:
    """Give a notebook's title, the heading that its first cell begins with."""
    return notebook.cells[0].source.partition("\n")[0].removeprefix("# ")


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Remove, in place, what differs from one run or one machine to the next and teaches nothing."""
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": LANGUAGE})
    for cell in notebook.cells:
        empty = ["tags"] if not cell.metadata.get("tags") else []  # papermill adds them
        for key in (*RUN_METADATA, *empty):
            cell.metadata.pop(key, None)


def describe(notebook: nbformat.NotebookNode) -> None:
    """Give each figure, in place, a text for those who can't see it: how the caption below it begins."""
    for place, cell in enumerate(notebook.cells):
        after = [each.source for each in notebook.cells[place:] if each.cell_type == "markdown"] or [""]
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)|[*`$]", r"\1", after[0].strip()).split("\n")[0]
        short = (re.match(r".{20,250}[.?!](?=\s|$)", plain) or [plain[:250]])[0]
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.metadata.setdefault("image/png", {}).setdefault("alt", short)


def problems(notebook: nbformat.NotebookNode) -> list[str]:
    """List what keeps an executed notebook from being stored; an empty list means nothing does."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    counts = [cell.execution_count for cell in code]
    found = []
    if counts != list(range(1, len(code) + 1)):
        found.append(f"its cells count {counts}, expected 1 to {len(code)}: run it from a fresh kernel")
    if extra := sorted(set(notebook.metadata) - {"kernelspec", "language_info"}):
        found.append(f"its metadata holds {', '.join(extra)}: it records a run or a program, remove it")
    for cell in code:
        where = f"cell [{cell.execution_count}] ({first_line(cell.source)})"
        found += [f"{where} {problem}" for problem in _cell_problems(cell)]
    if (size := len(nbformat.writes(notebook).encode())) >= MAX_BYTES:
        found.append(f"it takes {size / 1e6:.1f} MB, expected less than 1 MB: show smaller figures")
    return found


def first_line(source: str) -> str:
    """Give the first line of a cell that is neither empty nor only a comment, or else its first line."""
    lines = [line.strip() for line in source.splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith("#")), lines[0] if lines else "")


def _cell_problems(cell: nbformat.NotebookNode) -> list[str]:
    keys = [key for key in RUN_METADATA if key in cell.metadata]
    found = [f"keeps {key} metadata: it records a run, remove it" for key in keys]
    if re.search(r"(?m)^figure\s*\Z", cell.source) and not re.search(r"(?m)^figure(, \w+)? = ", cell.source):
        found.append("shows a figure that another cell drew: draw its own")
    for output in cell.outputs:
        if output.output_type == "error":
            found.append(f"ends in {output.ename}: {output.evalue}")
        if output.get("name") == "stderr":
            found.append(f"warns a reader, in red, of {output.text.strip()[:80]!r}: mend what it warns of")
        if WIDGET in output.get("data", {}):
            found.append("stores a widget, which shows nothing without a kernel: run it with COURSE_STATIC=1")
        if path := _local_path(output):
            found.append(f"shows a path of this machine, {path[0]}: print a relative one")
    return found


def _local_path(output: nbformat.NotebookNode) -> re.Match | None:
    """Find a path of someone's machine in an output's text. Images are left out: base64 spells anything."""
    texts = [str(text) for kind, text in output.get("data", {}).items() if not kind.startswith("image/")]
    texts += [output.get("text", ""), *output.get("traceback", [])]
    here = "|".join(re.escape(str(place)) for place in (ROOT, Path.home(), tempfile.gettempdir()))
    return re.search(rf"(?<![\w.])(?:{here})(?![\w.-])[\w./\\-]*|{ANYONES}", "\n".join(texts))
