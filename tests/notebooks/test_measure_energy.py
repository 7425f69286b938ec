"""“Measure energy”: no figure is called measured where nothing was, and its claims hold in the stored run."""

import json
import re
from pathlib import Path

import pytest

from helpers import energy, receipts
from tools import notebooks

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "notebooks" / "07_measure_energy.ipynb"
RECEIPT = ROOT / "data" / "receipts" / "prediction.json"
NO_COUNTER = "No energy counter can be read here"
FIGURE = r"\d[\d.,]*\s*(?:m?Wh|kWh|J|W|joules|watts?)\b"


def outputs(notebook, images=False):
    """The text that a reader sees under the cells; the quiz explains the word, so it is left out."""
    texts = []
    for cell in notebook.cells:
        if cell.cell_type != "code" or "display_quiz" in cell.source:
            continue
        for output in cell.outputs:
            texts.append(output.get("text", ""))
            texts += [
                str(text) for kind, text in output.get("data", {}).items() if not kind.startswith("image")
            ]
    return "\n".join(texts)


def printed(notebook, marker):
    [cell] = [cell for cell in notebook.cells if cell.cell_type == "code" and marker in cell.source]
    return "".join(output.get("text", "") for output in cell.outputs)


@pytest.fixture(scope="module")
def notebook():
    return notebooks.read(NOTEBOOK)


def test_nothing_is_called_measured_without_a_counter(notebook):
    seen = outputs(notebook)
    if NO_COUNTER not in seen:
        pytest.skip("it was stored on a machine with a counter")
    assert re.findall(r".*\bmeasured\b.*", seen) == ["what “Measure energy” measured"] * seen.count(
        "what “Measure energy” measured"
    )
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for sentence in re.split(r"(?<=[.:?!])\s", cell.source):
                assert not (re.search(FIGURE, sentence) and re.search(r"\bmeasured\b", sentence)), sentence
        elif "matplotlib" not in cell.source:
            drawn = re.findall(
                r"(?:title|label|xlabel|ylabel|set_title)\(?=?\s*f?[\"']([^\"']*)", cell.source
            )
            assert not [text for text in drawn if "measured" in text]


def test_every_energy_line_carries_its_method(notebook):
    lines = re.findall(r"^.*\d s, .* CPU s, .*$", outputs(notebook), re.MULTILINE)
    assert len(lines) >= 3
    for line in lines:
        assert re.search(r"Wh (measured|modelled|assumed)|energy unknown", line), line


def test_the_formula_agrees_with_the_tool(notebook):
    pairs = re.findall(r"the tool says ([\d.]+) Wh, by hand ([\d.]+) Wh", outputs(notebook))
    assert len(pairs) == 6
    for tool, hand in pairs:
        assert float(hand) == pytest.approx(float(tool), rel=0.5)


def test_batches_of_like_length_use_less(notebook):
    """The claim of the text, in the stored run and in the recorded receipt."""
    again = receipts.replay(RECEIPT)
    assert again.ok
    comparison = again.figures["comparison"]
    assert comparison.winner == "like lengths in batches of 32" and comparison.ratio > 2
    assert all(phase.cost.wall_s >= 10 for phase in again.figures.values() if hasattr(phase, "count"))
    ratio = re.search(r"one by one, padded to 128 / .*?</td><td>([\d.]+)</td>", outputs(notebook))
    assert float(ratio[1]) > 2


def test_a_target_is_reached_by_one_and_missed_by_the_other(notebook):
    text = printed(notebook, "pretrained_run.cost.breakdown()")
    assert re.search(r"^reached 70\.0%", text, re.MULTILINE)
    assert re.search(r"^missed 70\.0%", text, re.MULTILINE)


def test_loadgen_gave_both_figures(notebook):
    text = printed(notebook, "Scenario.SingleStream")
    latency_ms = float(re.search(r"p90 latency ([\d.]+) ms", text)[1])
    rate = float(re.search(r"offline: +(\d+) sentences", text)[1])
    assert 0 < latency_ms < 1_000
    assert rate * latency_ms / 1_000 > 1, "all at once is quicker than one after the other"


def test_a_changed_receipt_shows(notebook):
    text = printed(notebook, "nobody will notice?")
    assert "all equal" in text and "NOT EQUAL" in text


def test_a_run_beside_forty_percent_foreign_load_is_marked(monkeypatch):
    """The notebook's own cell, with a made-up neighbor."""
    import time

    import psutil

    from helpers.energy import sources

    began = time.perf_counter()
    monkeypatch.setattr(
        sources,
        "busy_cpu_seconds",
        lambda: 0.4 * psutil.cpu_count() * (time.perf_counter() - began) + sources.own_cpu_seconds(),
    )
    with energy.measure("a sleep beside a neighbor", country="USA") as meter:
        time.sleep(0.8)
    assert meter.result.marked
    assert meter.result.foreign_load == pytest.approx(0.4, abs=0.05)
    assert "40%" in str(meter.result) or "39%" in str(meter.result) or "41%" in str(meter.result)


def test_the_recorded_receipt_says_its_methods():
    receipt = json.loads(RECEIPT.read_text())
    assert set(receipt["method"]) >= {"CPU", "RAM"}
    assert receipt["inputs"] and receipt["hardware"]["cores"] >= 1
