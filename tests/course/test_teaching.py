"""What the teacher is told: links lead somewhere, commands exist, schedules fit."""

import json
import re

import pytest

from helpers import assets

PAGES = sorted((assets.ROOT / "teaching").glob("*.md"))
COSTS = json.loads((assets.ROOT / "notebooks" / "costs.json").read_text())
SCHEDULE_MINUTES = {"Three hours": 180, "A day": 450}


def anchors(text: str) -> set[str]:
    """The names by which a page's headings can be linked to."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    for path, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", page.read_text()):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target.read_text()), f"{path}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_exists(page):
    from helpers.__main__ import _parser

    code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", page.read_text(), re.DOTALL))
    makefile = (assets.ROOT / "Makefile").read_text()
    for target in re.findall(r"\bmake (\w+)", code):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for line in re.findall(r"python -m helpers ([^`#\n]+)", code):
        _parser().parse_args(line.replace("*", "one").split())


@pytest.mark.parametrize("name", SCHEDULE_MINUTES)
def test_a_schedule_adds_up_and_leaves_twice_the_machine_time(name):
    section = (assets.ROOT / "teaching" / "README.md").read_text().split(f"## {name}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (\d+):(\d\d) \| (\d+) \| (.+) \|$", section, re.MULTILINE)
    clock = 0
    for hours, minutes, length, what in rows:
        assert 60 * int(hours) + int(minutes) == clock, what
        clock += int(length)
        machine_s = sum(COSTS[stem]["wall_s"] for stem in re.findall(r"notebooks/(\w+)\.ipynb", what))
        assert 60 * int(length) >= 2 * machine_s, what
    assert clock == SCHEDULE_MINUTES[name]
