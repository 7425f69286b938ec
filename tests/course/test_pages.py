"""What the README, the data's card and the teacher are told is so: commands, figures, schedules, notes."""

import argparse
import importlib
import json
import re
import statistics
from collections import defaultdict

import numpy as np
import pytest

from helpers import assets, data, energy, receipts
from helpers.statistics import paired_difference, right_shares
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
    assert re.findall(r"^## .+/\d\d_(\w+)", PAGES["teaching/notes.md"], re.MULTILINE) == [*notebooks.course()]


def test_the_readme_s_ratios_are_the_recorded_ones():
    runs = {}
    for name in ("recipes", "compression"):
        found = receipts.replay(assets.DATA / f"receipts/{name}.json").details
        for run in found["runs"]:
            runs.setdefault(run["name"], []).append(run)
    naive, cost = runs["naive"][0]["to_target"], runs["naive"][0]["cost"]
    as_written, texts = {"seconds": cost.wall_s, "energy_wh": cost.energy_wh}, []
    for name, lead in (("frugal", ""), ("lean", "in bf16 ")):
        mean = {of: statistics.mean(run["to_target"][of] for run in runs[name]) for of in as_written}
        ratios = ([each[of] / mean[of] for of in mean] for each in (as_written, naive))
        (full, full_wh), (stopped, stopped_wh) = ratios
        texts += [f"{lead}{full:.0f} times less (energy: {full_wh:.0f})"]
        texts += [f"{lead}{stopped:.1f} times less", f"(energy: {stopped_wh:.1f})"]
    pairs = ("naive", "frugal"), ("naive", "lean"), ("teacher", "small int8")
    for pair, file in zip(pairs, ("sealed", "sealed_again", "sealed_again"), strict=True):
        asked = receipts.replay(assets.DATA / f"receipts/{file}.json").details["runs"]
        lost = 100 * np.array(paired_difference(*(right_shares(asked, name) for name in pair)))
        texts += ["{:z.1f} points lost ({:z.1f} to {:z.1f};".format(*lost).replace("-", "−")]
    runs["naive"] += runs["padded to the batch"]  # the same training
    right = {name: 100 * statistics.mean(run["test_accuracy"] for run in of) for name, of in runs.items()}
    gaps = (right[first] - right[second] for first, second in pairs)
    texts += ["says {:.1f}, {:.1f} and {:.1f} (a gain)".format(*gaps).replace("-", "−")]
    chosen, rounds = "small int8, side by side", found["serving"]["rounds"]
    for rival, digits in (("one by one, padded to 128", 0), ("like lengths", 1)):
        duel = energy.compare({rival: rounds[rival], chosen: rounds[chosen]})
        mean, low, high, wh = (f"{each:.{digits}f}" for each in (*duel.time[:3], duel.energy.mean))
        texts += [f"{mean} times less, {low} to {high} (energy: {wh})"]
    board = {}
    for run in receipts.replay(assets.DATA / "receipts/gpu.json").details["runs"]:
        if run["name"] == "predict" and run["precision"] == "fp32":
            cost, size = run["cost"], run["batch_size"]
            spent = np.array([cost.wall_s, cost.components[1].energy_wh]) / cost.work["sentences"]
            board[size] = board.get(size, 1.0) * spent ** (1 / 3)
    sooner, more = board[512] / board[128]
    texts += [f"done {1 - sooner:.0%} sooner takes {more - 1:.0%} more energy"]
    assert [text for text in texts if text.replace("%", " %") not in README] == []


def test_the_data_card_counts_right():
    rows = re.findall(r"`reviews/(\w+)\.csv` \| ([\d,]+) \| ([\d.]+)% \| ([\d.]+)", PAGES["data/README.md"])
    assert [name for name, *_ in rows] == [*data.REVIEWS, *data.DOMAINS]
    for name, count, positive, words in rows:
        table = data.load_reviews(name).to_pandas()
        assert len(table) == int(count.replace(",", ""))
        assert table["label"].mean() * 100 == pytest.approx(float(positive), abs=0.051)
        assert table["text"].str.split().str.len().mean() == pytest.approx(float(words), abs=0.051)


def test_the_page_on_other_data_prints_what_was_recorded(tokenizer):
    page, found = PAGES["teaching/other_data.md"], defaultdict(lambda: defaultdict(list))
    for run in receipts.replay(assets.DATA / "receipts/other_data.json").details["runs"]:
        for who, right in run["right"].items():
            share = 100 * right.count("1") / len(right)
            found[run["name"], who][run["train_rows"], run["epochs"]].append(share)
    for (name, who), shares in found.items():
        row = [f"{np.mean(shares[size]):.1f}" for size in ((100, 10), (300, 3), (1_000, 1))]
        assert f" | {' | '.join(row)} |\n" in page, (name, who)
        if name == who:
            rows = data.tokenize(data.read_sentences(assets.DATA / name), tokenizer)
            tokens, words = np.mean(rows["length"]), np.mean([len(text.split()) for text in rows["text"]])
            assert f"| {(tokens - 2) / words:.2f} | {tokens:.1f} |" in page
            assert f"{min(shares[100, 1]):.0f} to {max(shares[100, 1]):.0f} %" in page
            assert f"{np.mean(rows['label']) * 100:.1f} %" in page
