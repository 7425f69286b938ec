"""What the README, the data's card and the teacher are told is so: commands, figures, schedules, notes."""

import argparse
import importlib
import json
import re
import runpy
import statistics

import pytest

from helpers import assets, data
from tools import notebooks

FILES = [assets.ROOT / "README.md", assets.DATA / "README.md", *assets.ROOT.glob("teaching/*.md")]
PAGES = {page.relative_to(assets.ROOT).as_posix(): page.read_text(encoding="utf-8") for page in FILES}
README = PAGES["README.md"]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_exists(page, monkeypatch):
    code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", PAGES[page], re.DOTALL))
    targets = re.findall(r"^(\w+):", (assets.ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"\bmake (\w+)", code)) <= set(targets)
    parse = argparse.ArgumentParser.parse_args  # read the arguments, but stop there
    monkeypatch.setattr("argparse.ArgumentParser.parse_args", lambda *given: exit(f"read {parse(*given)}"))
    for house, arguments in re.findall(r"python -m (capstone|helpers|tools) ([^`'#&\n]+)", code):
        with pytest.raises(SystemExit, match="read"):
            importlib.import_module(f"{house}.__main__").main(arguments.split())


@pytest.mark.parametrize(("name", "minutes"), [("Three hours", 180), ("A day", 450)])
def test_a_schedule_adds_up_and_leaves_twice_the_machine_time(name, minutes):
    costs = json.loads((notebooks.NOTEBOOKS / "costs.json").read_text())
    section, clock = PAGES["teaching/README.md"].split(f"## {name}\n")[1].split("\n## ")[0], 0
    for start, length, what in re.findall(r"^\| (\d+:\d\d) \| (\d+) \| (.+) \|$", section, re.MULTILINE):
        assert start == f"{clock // 60}:{clock % 60:02}", what
        clock += int(length)
        topics = map(notebooks.topic, re.findall(r"notebooks/(\w+)\.ipynb", what))
        assert 60 * int(length) >= 2 * sum(costs[topic]["wall_s"] for topic in topics), what
    assert clock == minutes


def test_every_notebook_has_its_notes():
    headings = re.findall(r"^## .+/\d\d_(\w+)", PAGES["teaching/notes.md"], re.MULTILINE)
    assert headings == [*notebooks.course()]


def test_the_readme_s_ratios_are_the_recorded_ones():
    runs = {}
    for run in json.loads((assets.DATA / "receipts" / "recipes.json").read_text())["details"]["runs"]:
        runs.setdefault(run["name"], []).append(run)
    naive = runs["naive"][0]
    frugal_wh = statistics.mean(run["to_target"]["energy_wh"] for run in runs["frugal"])
    ends_wh = (naive["cost"]["results"]["energy_wh"], naive["to_target"]["energy_wh"])
    training = [end_wh / frugal_wh for end_wh in ends_wh]
    right = runs["frugal"], runs["naive"] + runs["padded to the batch"]  # padding is masked
    receipt = json.loads((assets.DATA / "receipts" / "compression.json").read_text())["details"]
    joules = {name: found[0] for name, found in receipt["serving"]["joules_per_1000"].items()}
    chosen = joules[f"cascade {receipt['cascade']['chosen']:.2f}"]
    answering = [joules[rival] / chosen for rival in ("one by one, padded to 128", "like lengths")]
    answers = receipt["cascade"]["seeds"], [run for run in receipt["runs"] if run["name"] == "teacher"]
    for ratios, digits, both in ((training, 0, right), (answering, 1, answers)):
        means = (statistics.mean(run["test_accuracy"] for run in some) for some in both)
        ours, theirs = (round(mean, 6) for mean in means)  # a mean of 0.8715 may be stored as 0.87149999
        ends = f"{ours:.1%} right instead of {theirs:.1%} | {ratios[1]:.{digits}f} times"
        assert f"| {ratios[0]:.0f} times less; {ends}".replace("%", " %") in README


def test_the_picture_is_the_stored_one():
    picture = runpy.run_path(str(assets.ROOT / "docs/picture.py"))
    assert picture["stored_picture"]() == picture["PICTURE"].read_bytes(), "run `python docs/picture.py`"


def test_the_data_card_counts_right():
    rows = re.findall(r"`reviews/(\w+)\.csv` \| ([\d,]+) \| ([\d.]+)% \| ([\d.]+)", PAGES["data/README.md"])
    assert [name for name, *_ in rows] == [*data.REVIEWS, *data.DOMAINS]
    for name, count, positive, words in rows:
        table = data.load_reviews(name).to_pandas()
        assert len(table) == int(count.replace(",", ""))
        assert table["label"].mean() * 100 == pytest.approx(float(positive), abs=0.051)
        assert table["text"].str.split().str.len().mean() == pytest.approx(float(words), abs=0.051)
