"""A receipt gives back what was put in, computes to the same figures, and shows any change."""

import copy
import functools
import json
import operator
import re
import sys
from dataclasses import replace

import jsonschema
import pytest

from helpers import assets, energy, receipts

STORED = [*sorted((assets.DATA / "receipts").glob("*.json")), assets.DATA / "models/pocket-bert/receipt.json"]


def cost(label="x", cpu=1.0, ram=2.0):
    known = energy.Component("CPU", cpu, "modelled", "800 W at most", 800.0)
    parts = known, energy.Component("RAM", ram, "assumed", "constant 20 W", 20.0)
    return energy.Measurement(label, 10.0, 12.0, parts, "USA", 369.0, "369 g/kWh, 2023", 0.02)


@pytest.fixture
def figures():
    runs = {"a": [cost("a", 1, 1)] * 5, "b": [replace(cost("b", 2, 2), wall_s=20.0)] * 5}
    return {
        "fine-tuning": cost("fine-tune"),
        "duel": energy.compare(runs),
        "predictions": energy.Predictions(cost(), 500, (0.1, 0.2, 0.15), 32, 80, 100),
        "hit": energy.Training(cost(), 0.8, ((5.0, 0.7), (9.0, 0.85))),
        "miss": energy.Training(cost(), 0.9, ((5.0, 0.7), (9.0, 0.85))),
    }


@pytest.fixture
def receipt(figures):
    details = {"runs": [{"name": "naive", "cost": cost("naive"), "losses": [0.7, 0.5]}], "target": 0.8}
    inputs = [assets.DATA / "reviews/test.csv"]
    return receipts.make("a test", figures, made_by="a test", seed=0, inputs=inputs, details=details)


def test_it_comes_back_as_it_was_saved(receipt, figures, tmp_path):
    jsonschema.Draft202012Validator.check_schema(json.loads(receipts.SCHEMA.read_text()))
    path = receipts.save(receipt, tmp_path / "one.json")
    assert receipts.load(path) == receipt
    again = receipts.replay(path)
    assert again.ok and "all equal" in str(again)
    assert again.figures == figures | {"details.runs[0].cost": cost("naive")}
    assert again.details["runs"][0] == {"name": "naive", "cost": cost("naive"), "losses": [0.7, 0.5]}
    assert [each.name for each in tmp_path.iterdir()] == ["one.json"], "nothing half-written stays"


def test_it_says_what_it_rests_on_and_where_and_when_it_was_recorded(receipt):
    assert receipt["inputs"] == {"data/reviews/test.csv": assets.data_sums()["reviews/test.csv"]}
    assert receipt["method"] == {"CPU": "modelled: 800 W at most", "RAM": "assumed: constant 20 W"}
    assert receipt["versions"]["codecarbon"]
    assert receipt["hardware"].keys() == {"cpu", "cores", "memory_gb", "gpus"}
    assert receipts.hardware_name(receipt) in receipts.recorded(receipt)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", receipt["recorded"])
    receipts.validate(receipt | {"hardware": receipt["hardware"] | {"memory_gb": None}})


def test_tampering_shows_and_no_new_digest_hides_it(receipt):
    for (*place, last), value, shown in (
        (("figures", "fine-tuning", "results", "energy_wh"), 1.0, "fine-tuning: energy_wh is stored as 1.0"),
        (("figures", "fine-tuning", "raw", "wall_s"), 1.0, "digest does not fit"),
        (("figures", "predictions", "raw", "count"), 5_000, "joules_per_1000"),
        (("figures", "duel", "results", "winner"), "b", "duel: winner is stored as 'b'"),
        (("figures", "miss", "results", "reached"), True, "miss: reached is stored as True"),
        (("hardware", "cpu"), "a faster one", "digest does not fit"),
        (("details", "runs", 0, "cost", "results", "pue"), 1.0, "details.runs[0].cost: pue is stored as 1.0"),
        (("method", "CPU"), "measured: a counter", "The methods are"),
    ):
        changed = copy.deepcopy(receipt)
        functools.reduce(operator.getitem, place, changed)[last] = value
        again = receipts.replay(changed)
        assert not again.ok and "NOT EQUAL" in str(again) and shown in str(again)
    for factor, ok in ((1 + 1e-15, True), (0.999, False)):  # the last bit is rounded as processors do
        receipt["figures"]["fine-tuning"]["results"]["energy_wh"] *= factor
        again = receipts.replay(receipt | {"digest": receipts.digest(receipt)})
        assert again.ok == ok and ("computes to" in str(again)) != ok


def test_what_is_no_receipt_or_makes_none_is_refused(receipt, tmp_path):
    for change, shown in (
        ({"receipt": 2}, "receipt"),
        ({"inputs": {"x": "12"}}, "inputs.x"),
        ({"figures": {"hit": receipt["figures"]["hit"] | {"kind": "guess"}}}, "figures.hit.kind"),
        ({"details": []}, "details"),
        ({"hardware": {}}, "hardware: 'cpu' is a required property"),
    ):
        with pytest.raises(receipts.ReceiptError, match=shown):
            receipts.save(receipt | change, tmp_path / "bad.json")
    assert list(tmp_path.iterdir()) == []
    for figures, details, shown in (
        ({"x": 1.0}, {}, "figures.x: 1.0 is not of type 'object'"),
        ({"x": cost}, {}, "a function is no plain value and no figure, one of measurement"),
        ({}, {"runs": [{"name": "naive"}]}, "There is no figure"),
        ({"x": cost()}, {"loss": float("nan")}, "What is unknown is None"),
    ):
        with pytest.raises(receipts.ReceiptError, match=shown):
            receipts.make("a test", figures, made_by="a test", details=details)


def test_what_cannot_be_read_makes_no_figure_or_is_nested_too_deep_is_refused(receipt, tmp_path):
    with pytest.raises(receipts.ReceiptError, match=r"no receipt one.json"):
        receipts.load(tmp_path / "one.json")
    contents = (b"", b'{"receipt": 1, ', b"\xff\xfe\x00", b"[" * 100_000, b'{"receipt": NaN}', b"[]")
    for content in (*contents, b"9" * 5_000):
        (tmp_path / "one.json").write_bytes(content)
        with pytest.raises(receipts.ReceiptError, match=r"^one\.json is no receipt: .* Get it anew\.$"):
            receipts.load(tmp_path / "one.json")
    with pytest.raises(receipts.ReceiptError, match=f"{tmp_path.name} is no receipt: .*Get it anew"):
        receipts.load(tmp_path)
    figure, inner = receipt["figures"]["predictions"], receipt["details"]
    raw = figure["raw"]
    for change in ({"count": 0}, {"count": None}, {"latencies_s": []}, {"latencies_s": 3}, {"cost": []}):
        figure["raw"] = raw | change
        with pytest.raises(receipts.ReceiptError, match=r"'predictions' make no predictions"):
            receipts.replay(receipt)
    figure["raw"] = raw
    for _ in range(3 * sys.getrecursionlimit()):
        inner["more"] = inner = {}
    with pytest.raises(receipts.ReceiptError, match="nested too deep"):
        receipts.replay(receipt)


def test_unknown_stays_unknown():
    unknown = replace(cost(), components=(energy.Component("CPU", None, None, "too short to tell"),))
    receipt = receipts.make("a test", {}, made_by="a test", details={"runs": [cost(), unknown]})
    assert receipt["method"]["CPU"] == "modelled: 800 W at most" and receipts.replay(receipt).ok
    receipt = receipts.make("a test", {"x": unknown}, made_by="a test")
    assert receipts.replay(receipt).ok


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_stored_receipts_replay(path):
    again = receipts.replay(path)
    assert again.ok and again.figures, str(again)
    for name, digest in again.receipt["inputs"].items():
        if (assets.ROOT / name).exists():
            assert assets.sha256(assets.ROOT / name) == digest, f"{name} changed since: record it again"
