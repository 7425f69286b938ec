"""The stored notebooks as a static site in build/site, which needs no server and no network."""

from __future__ import annotations

import html
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd

from helpers import assets, energy, facts, receipts
from tools import RunError, notebooks
from tools.notebooks import ADDRESS, ROOT, TAG

PAGES = ("docs/*.md", "docs/*.png", "teaching/*.md", "data/README.md")
FOLDED = ("# Draws", "# Shows", "# @title", "import ")  # how cells begin that draw or set up
POCKET_BERT = "models/pocket-bert/receipt.json"
MATHJAX = ("tex-chtml.js", "output/chtml/fonts/woff-v2")  # of a package of 24 MB


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
        if path.suffix == ".png":
            shutil.copy(ROOT / path, pages / path)
            continue
        text = linked((ROOT / path).read_text(encoding="utf-8"), path.parent, inside)
        (pages / path).write_text(folded(text) if path.suffix == ".ipynb" else text, encoding="utf-8")
    (pages / "facts.md").write_text(fact_page(), encoding="utf-8")
    write_receipts(pages)
    mathjax = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax"
    for name in MATHJAX:
        copy = shutil.copytree if (mathjax / name).is_dir() else shutil.copyfile
        (pages / "_static" / "mathjax" / name).parent.mkdir(parents=True, exist_ok=True)
        copy(mathjax / name, pages / "_static" / "mathjax" / name)
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-j", "auto", pages, output]
    if subprocess.run(command, env=os.environ | {"PYTHONWARNINGS": "ignore"}).returncode:
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
    for cell in notebook.cells:
        tags = cell.metadata.setdefault("tags", [])
        if "solution" in tags:
            tags.append("hide-cell")
        elif "setup" in tags or (cell.cell_type == "code" and cell.source.startswith(FOLDED)):
            tags.append("hide-input")
        alts = [
            output.get("metadata", {}).get("image/png", {}).get("alt") for output in cell.get("outputs", [])
        ]
        if alt := next(filter(None, alts), None):
            cell.metadata["mystnb"] = {"image": {"alt": alt}}
    return nbformat.writes(notebook)


def fact_page() -> str:
    """Give the page of published figures, a table that can be sorted."""
    heads = ("what", "value", "unit", "year", "basis", "source", "where", "caveat")
    rows = []
    for fact in facts.load().values():
        cells = [f"<td>{html.escape(str(getattr(fact, head)))}</td>" for head in heads]
        cells[1] = f'<td data-value="{fact.value!r}">{fact.value:,.10g}</td>'
        rows.append(f'<tr id="{fact.id}">{"".join(cells)}</tr>')
    head = "".join(f'<th scope="col">{each}</th>' for each in heads)
    body = "\n".join(rows)
    return f"""\
# Published figures

Every figure of others that the course prints, with its place in the source and what to mind
([data/facts.csv]({ADDRESS}/blob/{TAG}/data/facts.csv)). Click a heading to sort. The sources are in
[references.bib]({ADDRESS}/blob/{TAG}/references.bib).

<table class="table sortable"><thead><tr>{head}</tr></thead><tbody>
{body}
</tbody></table>
"""


RECEIPTS = """\
# Receipts

What took too long for a notebook was recorded beforehand. Each receipt holds the raw readings of every run;
the pages here were made by computing each figure again from them, and each has them to download. How that
works, and how a forged one is found out, is in [Measure energy](notebooks/07_measure_energy.ipynb).

```{toctree}
"""


def write_receipts(pages: Path) -> None:
    """Write a page for each receipt, computed again from its raw readings, which lie beside it."""
    folder, listing = pages / "receipts", RECEIPTS
    folder.mkdir()
    for path in (*sorted((assets.DATA / "receipts").glob("*.json")), assets.DATA / POCKET_BERT):
        name = "pocket_bert_long" if path.stem == "receipt" else path.stem
        again = receipts.replay(path)
        shutil.copyfile(path, folder / f"{name}.json")
        (folder / f"{name}.md").write_text(receipt_page(again, f"{name}.json"), encoding="utf-8")
        listing += f"receipts/{name}.md\n"
    (pages / "receipts.md").write_text(f"{listing}```\n", encoding="utf-8")


def receipt_page(again: receipts.Replay, file: str) -> str:
    """Give a receipt's page: what, where and when, whether it is whole, each figure."""
    receipt, rows = again.receipt, []
    for place, figure in again.figures.items():
        cost = figure if isinstance(figure, energy.Measurement) else None
        rows.append(
            (
                place,
                *((cost.label, cost.wall_s, cost.energy_wh, cost.method) if cost else ("", None, None, "")),
            )
        )
    table = pd.DataFrame(rows, columns=["place", "what", "seconds", "Wh", "how the energy is known"])
    whole = (
        "and every figure came out as it was recorded"
        if again.ok
        else "and NOT every figure came out as recorded"
    )
    return f"""\
# {receipt["what"][0].upper()}{receipt["what"][1:]}

R{receipts.recorded(receipt)[1:]}, by `{receipt["made_by"]}`.
Computed again from the raw readings, {whole}. {{download}}`The receipt with all its raw readings <{file}>`

{table.to_html(classes="table sortable", border=0, index=False, float_format="{:.4g}".format, na_rep="")}

<details><summary>Its settings, and the sums of what it read</summary>

```json
{json.dumps({key: receipt[key] for key in ("settings", "inputs", "versions")}, indent=1, ensure_ascii=False)}
```

</details>
"""
