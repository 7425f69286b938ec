"""No stored figure is called measured where nothing was, and none stands without the way it is known."""

import re
from pathlib import Path

import pytest

from tools import notebooks

ROOT = Path(__file__).resolve().parents[2]
NO_COUNTER = "No energy counter can be read here"
FIGURE = re.compile(r"\d[\d.,]*\s*(?:m?Wh|kWh|J|W|joules|watts?)\b")


def seen(notebook):
    """The text that a reader sees under the cells; a quiz explains the word, so it is left out."""
    texts = []
    for cell in notebook.cells:
        if cell.cell_type == "code" and "display_quiz" not in cell.source:
            for output in cell.outputs:
                texts.append(output.get("text", ""))
                texts += [str(text) for kind, text in output.get("data", {}).items() if kind == "text/plain"]
    return "\n".join(texts)


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_every_energy_line_carries_its_method(path):
    for line in re.findall(r"^.*\d s, .* CPU s, .*$", seen(notebooks.read(path)), re.MULTILINE):
        assert re.search(r"Wh (measured|modelled|assumed)|energy unknown", line), line


def test_nothing_is_called_measured_without_a_counter():
    [path] = (ROOT / "notebooks").glob("[0-9][0-9]_measure_energy.ipynb")
    notebook = notebooks.read(path)
    shown = seen(notebook)
    if NO_COUNTER not in shown:
        pytest.skip("it was stored on a machine with a counter")
    assert not [line for line in shown.splitlines() if re.search(r"\bmeasured\b", line)]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for sentence in re.split(r"(?<=[.:?!])\s", cell.source):
                assert not (FIGURE.search(sentence) and re.search(r"\bmeasured\b", sentence)), sentence
