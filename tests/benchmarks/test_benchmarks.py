"""`python -m benchmarks` on little work, and what its stored record says of the course's speed."""

import json

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import contestants, domains, labels, pocket_bert
from helpers import assets, energy, receipts
from tools import notebooks


def test_our_loop_is_as_fast_as_trainer_and_others_defaults_are_several_times_as_slow():
    record = receipts.replay(assets.ROOT / "benchmarks" / "record.json")
    assert record.ok and record.receipt["settings"]["precision"] in ("fp32", "bf16")
    pairs = {(pair["first"], pair["second"]): pair for pair in record.details["pairs"]}
    for pair in pairs.values():
        assert {len(seconds) for seconds in pair["seconds"].values()} == {benchmarks.ROUNDS}
        low, high = pair["time_interval"]
        assert low <= pair["time_ratio"] <= high
    assert pairs["trainer", "ours"]["time_interval"][1] >= 1.0
    peak_gb = pairs["trainer", "ours"]["peak_gb"]
    assert peak_gb["ours"] <= peak_gb["trainer"] and pairs["run_glue", "ours"]["time_interval"][0] > 2
    assert pairs["naive", "frugal"]["time_interval"][0] > 3


def test_the_plain_transformer_is_within_a_tenth_of_the_library_s_speed():
    works = receipts.replay(assets.DATA / "receipts" / "plain.json").details.values()
    highs = [energy.compare({name: runs[name] for name in ("plain", "library")}).time.high for runs in works]
    assert len(highs) == 2 and max(highs) < 1.1


@pytest.mark.parametrize("loop", benchmarks.LOOPS)
def test_a_loop_trains_once_and_prints_what_that_cost(loop, capsys, monkeypatch, small):
    monkeypatch.setattr("sys.argv", ["benchmarks", "--loop", loop, "8"])
    benchmarks.main()
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert energy.Measurement.from_raw(found["raw"]).label == loop and found["peak_bytes"] > 1e8


def test_the_rest_of_its_table(monkeypatch, small):
    for name, value in {"ROUNDS": 1, "MATRIX_S": 0.01}.items():
        monkeypatch.setattr(benchmarks, name, value)
    assert benchmarks.fraction_of_matrix_rate(8)["share"] > 0


@pytest.mark.parametrize(("name", "plan"), [("labels", labels.PLAN), ("contestants", contestants.PLAN)])
def test_the_receipt_that_ships_holds_the_planned_runs(name, plan):
    runs = receipts.replay(assets.DATA / "receipts" / f"{name}.json").details["runs"]
    assert sorted((run["name"], run["train_rows"], run["seed"]) for run in runs) == sorted(plan)


def test_the_search_for_a_text_is_of_the_notebooks_shape_and_gaps_and_the_card_of_its_receipt():
    notebook = notebooks.read(notebooks.course()["pretrain_bert"])
    asked, shape = notebooks.parameters(notebook), domains.SHAPE
    of_search = (domains.LENGTH, shape["hidden_size"], shape["num_hidden_layers"])
    assert (asked["length"], asked["hidden_size"], asked["layers"]) == of_search
    [cell] = [cell.source for cell in notebook.cells if cell.source.startswith("GAPS = ")]
    exec(cell, names := {})
    assert names["GAPS"] == domains.GAPS
    runs = receipts.replay(domains.RECEIPT).details["runs"]
    assert [(run["name"], run["vocab_size"], run["heads"]) for run in runs] == domains.CANDIDATES
    stored, short = map(receipts.replay, (pocket_bert.TARGET / "receipt.json", pocket_bert.SHORT_RECEIPT))
    for found, planned in ((stored, pocket_bert.LONG), (short, pocket_bert.SHORT)):
        assert planned.items() <= found.receipt["settings"].items()
    assert pocket_bert.card(stored) == (pocket_bert.TARGET / "README.md").read_text(encoding="utf-8")
