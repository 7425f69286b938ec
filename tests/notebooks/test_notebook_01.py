"""What “Pretrained models” says of its own figures, held to the run that is stored."""

import re
from pathlib import Path

import pytest

from helpers import facts
from tools import notebooks

ROOT = Path(__file__).resolve().parent.parent
PATH = ROOT / "notebooks" / "01_pretrained_models.ipynb"


@pytest.fixture(scope="module")
def notebook():
    return notebooks.read(PATH)


@pytest.fixture(scope="module")
def printed(notebook):
    return notebooks.printed(notebook)


def test_pretraining_groups_sentences_without_labels(printed):
    shares = {
        name: float(re.search(rf"^{name}\s+([\d.]+)% of the nearest", printed, re.MULTILINE)[1])
        for name in ("pretrained", "counting words", "random weights")
    }
    assert shares["pretrained"] > 75
    assert 35 < shares["random weights"] < 65, "above the chance of 25 %, far from the pretrained"
    assert abs(shares["random weights"] - shares["counting words"]) < 15


def test_few_labels_go_furthest_from_pretrained_vectors(printed):
    rows = {
        int(labels): [float(share) for share in re.findall(r"([\d.]+)%", rest)]
        for labels, rest in re.findall(r"^(\d+)((?:\s+[\d.]+%){3})$", printed, re.MULTILINE)
    }
    assert set(rows) == {20, 60, 200, 600}
    for pretrained, words, untrained in rows.values():
        assert pretrained > words + 2 and pretrained > untrained + 5
    assert rows[20][0] > 53 and max(rows[20][1:]) < 53
    assert rows[600][0] > 66


def test_neighbors_agree_more_than_a_coin_and_not_by_much(printed):
    for share in re.findall(r"nearest, ([\d.]+)% share the verdict", printed):
        assert 54 < float(share) < 72


def test_digits_gain_early_and_little_late(printed):
    found = re.findall(r"(\d+) labels a digit, (\d+) steps:\s+([+-][\d.]+) points, \+- ([\d.]+)", printed)
    gain = {(int(labels), int(steps)): float(points) for labels, steps, points, _ in found}
    assert len(gain) == 6
    assert min(gain[5, 20], gain[100, 20]) > 3, "ahead after 20 steps"
    for labels in (5, 20, 100):
        assert -2 < gain[labels, 80] < 4, "nearly met after 80"


def test_the_numbers_in_its_prose_are_those_of_the_facts(notebook):
    value = {name: fact.value for name, fact in facts.load().items()}
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for number in (
        f"{value['minilm_pairs'] / 1e9:.2f} billion pairs",
        f"{value['compute_growth']:,.0f} times",
        f"{value['finetunings_mnli']:.0f} to {value['finetunings_rte']:,.0f} fine-tunings",
        f"{value['query_classification']} kWh",
        f"{value['query_generation']} kWh",
        f"{value['query_image']} kWh",
        f"{value['nas_carbon_claimed']:.0f} t",
        f"{value['nas_carbon_actual']} t",
        f"{value['bloom_energy']:,.0f} kWh",
        f"{value['bloom_carbon_dynamic']} t",
        f"{value['llama31_carbon']:,.0f} t",
    ):
        assert number in text, number
    assert 8 < value["query_classification"] / value["query_distilbert"] < 10, "9 times less"
    assert value["query_image"] > 1_000 * value["query_classification"]
    assert 85 < value["nas_carbon_claimed"] / value["nas_carbon_actual"] < 90
    assert 90 < value["llama3_carbon"] / value["bloom_carbon_dynamic"] < 95, "ninety times"
    assert 12 < value["llama3_energy"] / value["bloom_energy"] < 13, "about twelve are energy"
    assert 280 < value["llama31_energy"] / 1e3 / value["t5_energy"] < 340, "a factor of 300"


def test_its_references_are_in_the_bibliography(notebook):
    keys = set(re.findall(r"^@\w+\{(\w+),", (ROOT / "references.bib").read_text(), re.MULTILINE))
    named = re.findall(r"`(\w+)`", notebook.cells[-1].source.split("**References**")[1])
    assert named == sorted(named) and len(named) > 20
    assert set(named) <= keys
