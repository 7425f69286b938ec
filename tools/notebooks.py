"""What a stored notebook looks like: read it, tidy it, and say what is wrong with it."""

from __future__ import annotations

import ast
import re
import tempfile
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
MAX_BYTES = 1_000_000  # GitHub shows no notebook that is much larger
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE = {
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "pygments_lexer": "ipython3",
}
RUN_METADATA = ("papermill", "execution", "ExecuteTime", "widgets")
WIDGET = "application/vnd.jupyter.widget-view+json"
ANYONES_PATH = re.compile(
    r"(?<![\w.])(?:/home/|/Users/|/root/|/tmp/|/private/var/|/var/folders/|[A-Z]:\\+Users\\)[\w.\\/-]*"
)


def read(path: Path) -> nbformat.NotebookNode:
    """Read a notebook in the current format, with cell ids."""
    return nbformat.read(path, as_version=4)


def tagged(notebook: nbformat.NotebookNode, tag: str) -> list[nbformat.NotebookNode]:
    """List a notebook's cells with this tag."""
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def parameters(notebook: nbformat.NotebookNode) -> dict[str, object]:
    """Give the names assigned in the cells tagged `parameters`, each with its value.

    Returns
    -------
    dict of str to object
        Name to value; None where the value is an expression rather than a constant.
    """
    found: dict[str, object] = {}
    for cell in tagged(notebook, "parameters"):
        for line in ast.parse(cell.source).body:
            targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
            for target in targets:
                if isinstance(target, ast.Name):
                    found[target.id] = _constant(line.value)
    return found


def title(notebook: nbformat.NotebookNode) -> str:
    """Give a notebook's first heading; empty if there is none."""
    for cell in notebook.cells:
        heading = re.search(r"^# +(.+)$", cell.source, re.MULTILINE) if cell.cell_type == "markdown" else None
        if heading:
            return heading[1].strip()
    return ""


def printed(notebook: nbformat.NotebookNode) -> str:
    """Join what the stored cells printed, their tables included: what a test holds the prose to."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Remove, in place, what differs from one run or one machine to the next and teaches nothing."""
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": LANGUAGE})
    for cell in notebook.cells:
        for key in RUN_METADATA:
            cell.metadata.pop(key, None)


def problems(notebook: nbformat.NotebookNode) -> list[str]:
    """List what keeps an executed notebook from being stored; an empty list means nothing does."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    counts = [cell.execution_count for cell in code]
    found = []
    if counts != list(range(1, len(code) + 1)):
        found.append(
            f"the cells' numbers are {counts}, expected 1 to {len(code)}: run it from a fresh kernel"
        )
    if extra := sorted(set(notebook.metadata) - {"kernelspec", "language_info"}):
        found.append(f"its metadata holds {', '.join(extra)}: it records a run or a program, remove it")
    for cell in code:
        where = f"cell [{cell.execution_count}] ({first_line(cell.source)})"
        found += [f"{where} {problem}" for problem in _cell_problems(cell)]
    ids = [cell.get("id") for cell in notebook.cells]
    if None in ids or len(set(ids)) < len(ids):
        found.append("cell ids are missing or repeated: save it once with JupyterLab")
    if (size := len(nbformat.writes(notebook).encode())) >= MAX_BYTES:
        found.append(
            f"it takes {size / 1e6:.1f} MB, expected less than {MAX_BYTES / 1e6:.0f} MB: show smaller figures"
        )
    return found


def first_line(source: str) -> str:
    r"""Give the first line of a cell that is neither empty nor only a comment.

    Examples
    --------
    >>> first_line("# Load\n\nx = 1\ny = 2")
    'x = 1'
    """
    lines = [line.strip() for line in source.splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith("#")), lines[0] if lines else "")


def _cell_problems(cell: nbformat.NotebookNode) -> list[str]:
    found = [
        f"keeps {key} metadata: it records a run, remove it" for key in RUN_METADATA if key in cell.metadata
    ]
    for output in cell.outputs:
        if output.output_type == "error":
            found.append(f"ends in {output.ename}: {output.evalue}")
        if WIDGET in output.get("data", {}):
            found.append("stores a widget, which shows nothing without a kernel: run it with COURSE_STATIC=1")
        if path := _local_path(output):
            found.append(f"shows a path of this machine, {path}: print a relative one")
    return found


def _local_path(output: nbformat.NotebookNode) -> str | None:
    """Find a path of someone's machine in an output's text. Images are left out: base64 spells anything."""
    texts = [str(text) for kind, text in output.get("data", {}).items() if not kind.startswith("image/")]
    text = "\n".join([output.get("text", ""), *output.get("traceback", []), *texts])
    for place in (str(ROOT), str(Path.home()), tempfile.gettempdir()):
        if match := re.search(rf"(?<![\w.]){re.escape(place)}(?![\w.-])[\w./\\-]*", text):
            return match[0]
    match = ANYONES_PATH.search(text)
    return match[0] if match else None


def _constant(node: ast.expr | None) -> object:
    try:
        return ast.literal_eval(node) if node is not None else None
    except ValueError:
        return None
