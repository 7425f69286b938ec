"""What the teacher is told: links lead somewhere, commands exist, schedules fit, notes are complete."""

import argparse
import importlib
import json
import re

import pytest

from tools import notebooks

TEACHING = notebooks.ROOT / "teaching"
PAGES = {page.name: page.read_text(encoding="utf-8") for page in TEACHING.glob("*.md")}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    for path, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", PAGES[page]):
        target = TEACHING / (path or page)
        text = target.read_text(encoding="utf-8") if anchor else "# "
        headings = re.findall(r"^#+ \[?(.*?)(?:\]\(.+)?$", text.lower(), re.MULTILINE)
        assert anchor in [re.sub(r"[^\w -]", "", heading).replace(" ", "-") for heading in headings], path
        assert target.exists(), path


@pytest.mark.parametrize("page", PAGES)
def test_every_command_exists(page, monkeypatch):
    code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", PAGES[page], re.DOTALL))
    targets = re.findall(r"^(\w+):", (notebooks.ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"\bmake (\w+)", code)) <= set(targets)
    parse = argparse.ArgumentParser.parse_args  # read the arguments, but stop there
    monkeypatch.setattr("argparse.ArgumentParser.parse_args", lambda *given: exit(f"read {parse(*given)}"))
    for house, arguments in re.findall(r"python -m (capstone|helpers|tools) ([^`'#\n]+)", code):
        with pytest.raises(SystemExit, match="read"):
            importlib.import_module(f"{house}.__main__").main(arguments.split())


@pytest.mark.parametrize(("name", "minutes"), [("Three hours", 180), ("A day", 450)])
def test_a_schedule_adds_up_and_leaves_twice_the_machine_time(name, minutes):
    costs = json.loads((notebooks.NOTEBOOKS / "costs.json").read_text())
    section, clock = PAGES["README.md"].split(f"## {name}\n")[1].split("\n## ")[0], 0
    for start, length, what in re.findall(r"^\| (\d+:\d\d) \| (\d+) \| (.+) \|$", section, re.MULTILINE):
        assert start == f"{clock // 60}:{clock % 60:02}", what
        clock += int(length)
        topics = map(notebooks.topic, re.findall(r"notebooks/(\w+)\.ipynb", what))
        assert 60 * int(length) >= 2 * sum(costs[topic]["wall_s"] for topic in topics), what
    assert clock == minutes


def test_every_notebook_has_its_notes():
    assert re.findall(r"^## .+/\d\d_(\w+)", PAGES["notes.md"], re.MULTILINE) == list(notebooks.course())
