"""What the README points at is there, and its picture is the one that “Fine-tune a BERT” drew."""

import importlib.util
import json
import re
import statistics

import pytest

from helpers import assets

README = (assets.ROOT / "README.md").read_text()
CARD = (assets.DATA / "README.md").read_text()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\((?!https?:)([^)#]+)\)", README))))
def test_every_file_it_links_to_exists(path):
    assert (assets.ROOT / path).exists()


def test_every_command_it_names_exists():
    makefile = (assets.ROOT / "Makefile").read_text()
    for target in set(re.findall(r"(?:`|^)make (\w+)", README, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_its_ratios_are_the_recorded_ones():
    runs = {}
    for run in json.loads((assets.DATA / "receipts" / "recipes.json").read_text())["details"]["runs"]:
        runs.setdefault(run["name"], []).append(run)
    naive = runs["naive"][0]
    frugal_wh = statistics.mean(run["to_target"]["energy_wh"] for run in runs["frugal"])
    ends_wh = (naive["cost"]["results"]["energy_wh"], naive["to_target"]["energy_wh"])
    training = [end_wh / frugal_wh for end_wh in ends_wh]
    same = runs["naive"] + runs["padded to the batch"]  # padding is masked
    right = [statistics.mean(run["test_accuracy"] for run in some) for some in (runs["frugal"], same)]
    receipt = json.loads((assets.DATA / "receipts" / "compression.json").read_text())["details"]
    joules = {name: found[0] for name, found in receipt["serving"]["joules_per_1000"].items()}
    chosen = joules[f"cascade {receipt['cascade']['chosen']:.2f}"]
    teachers = [run for run in receipt["runs"] if run["name"] == "teacher"]
    answering = [joules[rival] / chosen for rival in ("one by one, padded to 128", "like lengths")]
    answers = [
        statistics.mean(run["test_accuracy"] for run in some)
        for some in (receipt["cascade"]["seeds"], teachers)
    ]
    for ratios, digits, accuracies in ((training, 0, right), (answering, 1, answers)):
        ours, theirs = (round(each, 6) for each in accuracies)  # a mean of 0.8715 may be stored as 0.87149999
        ends = f"{ours:.1%} right instead of {theirs:.1%} | {ratios[1]:.{digits}f} times"
        assert f"| {ratios[0]:.0f} times less; {ends}".replace("%", " %") in README


def test_the_picture_is_the_stored_one():
    spec = importlib.util.spec_from_file_location("picture", assets.ROOT / "docs" / "picture.py")
    picture = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(picture)
    assert picture.stored_picture() == picture.PICTURE.read_bytes(), "run `python docs/picture.py`"


def test_the_data_card_counts_right():
    from helpers import data

    rows = re.findall(r"`reviews/(\w+)\.csv` \| ([\d,]+) \| ([\d.]+)% \| ([\d.]+)", CARD)
    assert [name for name, *_ in rows] == [*data.REVIEWS, *data.DOMAINS]
    for name, count, positive, words in rows:
        table = data.load_reviews(name).to_pandas()
        assert len(table) == int(count.replace(",", ""))
        assert table["label"].mean() * 100 == pytest.approx(float(positive), abs=0.051)
        assert table["text"].str.split().str.len().mean() == pytest.approx(float(words), abs=0.051)
