"""Slides for a class: teaching/slides as pages of reveal.js, with the figures of the stored notebooks."""

import html
import importlib
import re
import shutil
from pathlib import Path

from tools import RunError, notebooks
from tools.notebooks import ROOT

SOURCES = ROOT / "teaching" / "slides"


def build(output: Path = ROOT / "build" / "slides") -> None:
    """Write the decks, and beside them what their shell, deck.html, names of two packages."""
    decks = {name: filled(f"include: {name}.md") for name in ("90_minutes", "three_hours")}
    shell = (SOURCES / "deck.html").read_text("utf-8")
    for package, name in re.findall(r'"(sphinx[\w-]+)/([^"]+)"', shell):
        source = Path(importlib.import_module(package).__file__).parent / name
        (output / package / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, output / package / name)
    for name, slides in decks.items():
        (output / f"{name}.html").write_text(shell.replace("{slides}", slides), "utf-8")
        print(output / f"{name}.html")


def filled(text: str) -> str:
    """Give a deck's text with the parts that it includes, and what it takes from cells: `![output](a#b)`."""
    text = re.sub(r"(?m)^include: (.+)$", lambda part: filled((SOURCES / part[1]).read_text("utf-8")), text)
    return re.sub(r"!\[(\w*)\]\((\w+)#([\w-]+)\)", _taken, text)


def _taken(match: re.Match) -> str:
    kind, topic, name = match.groups()
    [path] = notebooks.course(names=[topic]).values()
    found = {}
    for cell in (cell for cell in notebooks.read(path).cells if cell.id == name):
        found["cell"] = cell.source if cell.cell_type == "markdown" else f"```python\n{cell.source}\n```"
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "image/png" in data:
                alt, png = html.escape(output.metadata["image/png"]["alt"]), data["image/png"].strip()
                found["figure"] = f'<img alt="{alt}" src="data:image/png;base64,{png}">'
            elif "text/html" in data:
                found["output"] = re.sub(r"(?s)<style.*?</style>|\n\s*", "", data["text/html"])
            elif "text" in output:
                found["output"] = f"```text\n{output.text.strip()}\n```"
    if kind not in found:
        there = f"{path.name} has for this id: {', '.join(found) or 'nothing'}"
        raise RunError(f"{match[0]}: {there}; teaching/slides/README.md says what a slide can name")
    return found[kind]
