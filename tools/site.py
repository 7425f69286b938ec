"""The stored notebooks as a static site in build/site, which needs no server and no network."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

from helpers import assets
from tools import RunError, kernel, notebooks
from tools.notebooks import ADDRESS, ROOT, TAG

PAGES = ("docs/*.md", "docs/*.png", "teaching/*.md", "data/README.md", "data/facts.csv")
FOLDED = ("# Draws", "# Shows", "# @title", "import ")  # how cells begin that draw or set up
SOLUTION = {"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
LIVE = "*A picture: its controls move in the notebook, some in the [calculators](../calculators.md), too.*"
MATHJAX, FONTS = "tex-chtml.js", "output/chtml/fonts/woff-v2"  # of a package of 24 MB


def build(output: Path = ROOT / "build" / "site") -> None:
    """Write the site anew; what stood in `output` goes."""
    if importlib.util.find_spec("myst_nb") is None:
        raise RunError("the site's packages are missing: make site adds them")
    pages = output.with_name("site-pages")
    for folder in (pages, output):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "site", pages)
    courses, texts = notebooks.course().values(), [p for name in PAGES for p in ROOT.glob(name)]
    inside = {path.relative_to(ROOT) for path in (*courses, *texts)}
    for path in inside:
        (pages / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, pages / path)
        if path.suffix in (".md", ".ipynb"):
            text = linked((ROOT / path).read_text(encoding="utf-8"), path.parent, inside)
            (pages / path).write_text(folded(text) if path.suffix == ".ipynb" else text, encoding="utf-8")
    shutil.copytree(assets.DATA / "receipts", pages / "_static" / "receipts")
    mathjax = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax"
    shutil.copytree(mathjax / FONTS, pages / "_static" / "mathjax" / FONTS)
    shutil.copyfile(mathjax / MATHJAX, pages / "_static" / "mathjax" / MATHJAX)
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-j", "auto", pages, output]
    with kernel.course_kernel():  # computes the page of receipts
        if subprocess.run(command).returncode:
            raise RunError("Sphinx stopped; what it says stands above")
    shutil.rmtree(output / ".doctrees", ignore_errors=True)
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    print(f"{output / 'index.html'}: {size / 1e6:.1f} MB")


def linked(text: str, place: Path, inside: set[Path]) -> str:
    """Give a page whose links to files that the site doesn't have lead to the release on GitHub.

    >>> linked("[a](../cluster/train.py) [b](../docs/b.md#c)", Path("notebooks"), {Path("docs/b.md")})
    '[a](https://github.com/watt-it-takes/watt-it-takes/blob/v0.1.0/cluster/train.py) [b](../docs/b.md#c)'
    """

    def link(match: re.Match) -> str:
        path = Path(os.path.normpath(place / match[1]))
        return match[0] if path in inside else f"]({ADDRESS}/blob/{TAG}/{path.as_posix()}{match[2] or ''})"

    return re.sub(r"\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)", link, text)


def folded(text: str) -> str:
    """Give a notebook with set-up, drawing and solutions folded, and each figure's text where MyST looks."""
    notebook = nbformat.reads(text, as_version=4)
    for cell in list(notebook.cells):
        tags = cell.metadata.setdefault("tags", [])
        if "solution" in tags:
            tags.append("hide-cell")
            cell.metadata["mystnb"] = SOLUTION
        elif "setup" in tags or (cell.cell_type == "code" and cell.source.startswith(FOLDED)):
            tags.append("hide-input")
        shown = [output.get("metadata", {}).get("image/png", {}) for output in cell.get("outputs", [])]
        if alt := next((each["alt"] for each in shown if each.get("alt")), None):
            cell.metadata["mystnb"] = {**cell.metadata.get("mystnb", {}), "image": {"alt": alt}}
        if "widgets.explore(" in cell.source:  # its output is a picture
            notebook.cells.insert(notebook.cells.index(cell) + 1, nbformat.v4.new_markdown_cell(LIVE))
    return nbformat.writes(notebook)
