"""A notebook's number stands in its file name alone: files are renamed, and `links` does the rest."""

import re
import shutil

import pytest

import helpers
from tools import links, notebooks, runner, store
from tools.__main__ import main
from tools.notebooks import ADDRESS, ROOT, SETUP, TAG

LINK = re.compile(r"\]\((?!https?:)([^)#{]*)(?:#([^)]+))?\)")


@pytest.fixture(scope="module")
def renamed(tmp_path_factory):
    """A copy of the course's notebooks and texts, where a gap was made: all from 06 on moved by one."""
    root = tmp_path_factory.mktemp("course")
    for path in {path for pattern in (*links.TEXTS, "notebooks/[!.]*.*") for path in ROOT.glob(pattern)}:
        (root / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, root / path.relative_to(ROOT))
    for path in sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb"), reverse=True):
        if (number := int(path.name[:2])) >= 6:
            path.rename(path.with_name(f"{number + 1:02}{path.name[2:]}"))
    links.update(root)
    assert links.update(root) == []
    return root


def test_every_link_leads_somewhere(renamed):
    """Among a notebook's code may be what looks like a link to another kind of file."""
    for path in {path for pattern in links.TEXTS for path in renamed.glob(pattern)}:
        for target, anchor in LINK.findall(path.read_text(encoding="utf-8")):
            there = (path.parent / target).resolve() if target else path
            if path.suffix == ".md" or target.endswith((".md", ".ipynb")):
                # Here or where what was not copied is; a page of the site begins at the course's folder.
                places = there, ROOT / there.relative_to(renamed), renamed / target, ROOT / target
                assert any(place.exists() for place in places), f"{path}: {target}"
            if path.suffix == ".md" and anchor:
                lines = there.read_text(encoding="utf-8").lower()
                headings = re.findall(r"^#+ \[?(.*?)(?:\]\(.+)?$", lines, re.MULTILINE)
                anchors = [re.sub(r"[^\w -]", "", heading).replace(" ", "-") for heading in headings]
                assert anchor in anchors, f"{path.name}: {target}#{anchor}"


def test_badges_and_the_setup_cell_are_those_of_the_release(renamed):
    for path in notebooks.course(renamed / "notebooks").values():
        notebook = notebooks.read(path)
        place = ADDRESS.removeprefix("https://github.com/")
        binder = f"https://mybinder.org/v2/gh/{place}/{TAG}?urlpath=lab/tree/notebooks/{path.name}"
        colab = f"https://colab.research.google.com/github/{place}/blob/{TAG}/notebooks/{path.name}"
        assert [notebook.cells[0].source.count(f"]({link})") for link in (binder, colab)] == [1, 1]
        assert [cell.source for cell in notebooks.tagged(notebook, "setup")] == [SETUP]


def test_profiles_and_costs_are_found_by_topic(renamed):
    topics = notebooks.course(renamed / "notebooks").keys()
    assert runner.profile_parameters("quick", renamed / "notebooks").keys() == topics
    assert runner.profile_parameters("gpu") and runner.profile_parameters("quick", ROOT / "extras/tensorflow")
    assert store.read_costs(renamed / "notebooks").keys() == topics == notebooks.course().keys()
    rows = re.findall(r"^\| \[(\d\d_\w+)\]", (renamed / "README.md").read_text(), re.MULTILINE)
    assert rows == [path.stem for path in notebooks.course(renamed / "notebooks").values()]


def test_what_is_committed_is_up_to_date_and_in_form(capsys):
    assert main(["lint", "--tag", f"v{helpers.__version__}"]) == 0, capsys.readouterr().out
    assert main(["lint", "--tag", "v9.9.9"]) == 1, "a tag of another version"
    assert f"the tag is v9.9.9, but pyproject.toml's version means {TAG}" in capsys.readouterr().out
    assert f"\nversion: {helpers.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {helpers.__version__}" in (ROOT / "CHANGELOG.md").read_text()
