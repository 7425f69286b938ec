"""Write anew what a notebook's file name and the course's release decide: `python -m tools links`."""

import base64
import re
from pathlib import Path

import nbformat

from tools import notebooks, store
from tools.notebooks import ADDRESS, ROOT, SETUP, TAG

TEXTS = ("*.md", ".github/*/*.yml", "data/*.md", "docs/*.md", "extras/*/*.md", "site/*.md", "teaching/*.md")
TEXTS += ("cluster/*.md", "cluster/*.ipynb", "extras/*/*.ipynb", "notebooks/*.md", "notebooks/*.ipynb")
NAME = r"[\w.-]+"
WORDS = re.compile(r"\*([^*]+)\*(?:, \*([^*]+)\*)?: ([^*]+)[.;](?= |$)")  # *a word*, *another*: its meaning.


def update(root: Path = ROOT, write: bool = True) -> list[str]:
    """Bring links, set-up cells, the README's table and the glossary up to date; list what wasn't."""
    folder, stale = root / "notebooks", []
    stems = {topic: path.stem for topic, path in notebooks.course(folder).items()}
    history = root / "CHANGELOG.md"  # what was true of a release stays as it was
    for path in sorted({path for pattern in TEXTS for path in root.glob(pattern)} - {history}):
        old = path.read_text(encoding="utf-8")
        new = fresh(old, stems)
        if path == root / "README.md":
            new = store.with_table(new, folder)
        elif path == root / "docs/glossary.md":
            new = glossary(folder)
        elif path.parent == folder and path.suffix == ".ipynb":
            notebooks.read(path)  # or a RunError that names it
            notebook = nbformat.reads(new, as_version=4)
            for cell in notebooks.tagged(notebook, "setup"):
                if cell.source != SETUP:
                    cell.source = SETUP
                    new = nbformat.writes(notebook) + "\n"
        if new != old:
            stale.append(path.relative_to(root).as_posix())
            if write:
                notebooks.write({path: new})
    for path in root.glob("docs/learning_curve.png"):
        if (picture := learning_curve(folder)) != path.read_bytes():
            stale.append(path.relative_to(root).as_posix())
            if write:
                path.write_bytes(picture)
    return stale


def lint(tag: str | None = None) -> list[str]:
    """List what is stale, what is wrong with a stored notebook's form, and a tag that isn't the version's."""
    found = [f"{name}: not up to date; run `python -m tools links`" for name in update(write=False)]
    for path in notebooks.course().values():
        found += [f"{path.name}: {problem}" for problem in notebooks.problems(notebooks.read(path))]
    wrong = f"the tag is {tag}, but pyproject.toml's version means {TAG}: change one of them"
    return found + ([wrong] if tag not in (None, TAG) else [])


def fresh(text: str, stems: dict[str, str]) -> str:
    """Give a text with each notebook's file name as it is now, by topic, and links to this release.

    >>> fresh("[Heat](../notebooks/02_heat.ipynb)", {"heat": "03_heat"})
    '[Heat](../notebooks/03_heat.ipynb)'
    """
    place = ADDRESS.removeprefix("https://github.com/")
    text = re.sub(rf"(mybinder\.org/v2/gh)/{NAME}/{NAME}/{NAME}", rf"\1/{place}/{TAG}", text)
    text = re.sub(rf"(google\.com/github)/{NAME}/{NAME}/blob/{NAME}", rf"\1/{place}/blob/{TAG}", text)
    return re.sub(r"\b\d\d_(\w+)(?=\.ipynb)", lambda match: stems.get(match[1], match[0]), text)


def glossary(folder: Path) -> str:
    """Give the page of the words that the notebooks explain at their end, each with its notebook."""
    about = "The words that each notebook explains, written from there by `python -m tools links`."
    lines = []
    for path in notebooks.course(folder).values():
        notebook = notebooks.read(path)
        place, last = f"[{notebooks.title(notebook)}](../notebooks/{path.name})", notebook.cells[-1].source
        for *terms, meaning in WORDS.findall(last.partition("Words for the glossary")[2].split("\n")[0]):
            lines.append(f"- **{', '.join(filter(None, terms))}**: {meaning} ({place})")
    return "\n".join(["# Glossary", "", about, "", *sorted(lines, key=str.casefold), ""])


def learning_curve(folder: Path) -> bytes:
    """Give the README's picture, as it is stored in “Fine-tune a BERT”: PNG."""
    cells = notebooks.read(notebooks.course(folder)["fine_tune_bert"]).cells
    [cell] = [cell for cell in cells if 'xlabel="labeled sentences to train on"' in cell.source]
    return base64.b64decode(next(output.data["image/png"] for output in cell.outputs if "data" in output))
