"""The judge measures what it is given, says what it expected, and leaves a receipt or nothing."""

import dataclasses

import numpy as np
import pytest
import torch

from capstone import submission
from capstone.judge import as_labels, judge
from capstone.leaderboard import describe
from helpers import assets, data, energy, receipts

TASK = {"name": "a test", "target": 0.4, "budget_wh": 1_000.0, "country": "USA", "window_s": 0.6}


def always(answer):
    """A training that learns to give one answer."""
    return lambda train_set, validation_set: lambda texts: [answer] * len(texts)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(submission, "TRAIN_WINDOW_S", 0.0)


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A real judgment: measured, written, and read again."""
    path = tmp_path_factory.mktemp("judged") / "receipts" / "one.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(submission, "TRAIN_WINDOW_S", 0.7)
        return judge(always(0), path=path, **TASK)


def test_the_receipt_holds_what_was_measured(judged, monkeypatch):
    monkeypatch.setattr(submission, "TRAIN_WINDOW_S", 0.7)
    negative = sum(label == 0 for label in submission.hidden_rows()["label"][:])
    entry = submission.read(judged.path)
    assert entry == judged.entry and entry.problems == () and entry.accuracy == negative / 1_000
    assert entry.interval[0] < entry.accuracy < entry.interval[1]
    assert entry.receipt["settings"]["answers"] == "0" * 1_000 and receipts.replay(judged.path).ok
    assert [each.name for each in judged.path.parent.iterdir()] == ["one.json"]


def test_the_job_is_one_of_the_trainings_and_ten_thousand_predictions(judged):
    entry, calls = judged.entry, judged.entry.training.work["calls"]
    assert calls > 1, "a short training is repeated"
    assert entry.train_wh == pytest.approx(entry.training.energy_wh / calls)
    assert entry.job_wh == pytest.approx(entry.train_wh + entry.predictions.joules / 3_600 * 10)
    assert entry.job_range_wh[0] < entry.job_wh < entry.job_range_wh[1]


def test_it_says_what_it_found(judged):
    assert (shown := str(judged)) == repr(judged)
    assert "accuracy 50.9% (95 % interval" in shown and "target 40.0% reached" in shown
    assert "budget 1000 Wh kept" in shown and f"Wh {judged.entry.method} (" in shown
    assert "predictions looked at for 0." in shown, "a short window is said"
    assert "No other entry on this hardware" in shown and shown.endswith("receipt: one.json")
    entry = dataclasses.replace(judged.entry, target=0.99, budget_wh=1e-9)
    assert not entry.reached and not entry.within and not entry.ranked
    said = describe(entry)
    assert "target 99.0% MISSED" in said and "budget 1e-09 Wh EXCEEDED" in said


def test_the_hidden_rows_are_as_committed_and_in_no_other_split():
    hidden = submission.hidden_rows()
    assert len(hidden) == submission.HIDDEN_ROWS
    assert set(hidden["id"]) < set(data.load_reviews("test")["id"])
    others = {text for split in ("train", "validation") for text in data.load_reviews(split)["text"]}
    assert not set(hidden["text"]) & others and 0.4 < np.mean(hidden["label"]) < 0.6


def test_other_data_is_refused_before_anything_runs(monkeypatch, tmp_path):
    monkeypatch.setattr(submission, "hidden_rows", submission.hidden_rows.__wrapped__)  # read anew
    for where, name, value, shown in (
        (submission, "COMMITMENT", "0" * 64, "expected 000000000000"),
        (assets, "sha256", lambda path: "0" * 64, "git checkout -- data"),
    ):
        with monkeypatch.context() as patch, pytest.raises(submission.CapstoneError, match=shown):
            patch.setattr(where, name, value)
            judge(pytest.fail, path=tmp_path / "x.json", **TASK)
    assert list(tmp_path.iterdir()) == []


def test_the_code_may_measure_its_own_parts(tmp_path):
    def train(*_):
        with energy.measure("a part", country="USA") as meter:
            meter.count(steps=3, change=-0.5)
        return lambda texts: [0] * len(texts)

    found = judge(train, path=tmp_path / "x.json", **TASK)
    assert [phase.label for phase in found.entry.training.phases] == ["a part"]
    assert "Flagged" not in str(found)


def test_an_unknown_energy_is_no_zero(tmp_path):
    found = judge(always(1), path=tmp_path / "x.json", **TASK)
    assert found.entry.job_wh is None and found.entry.train_wh is None and found.entry.method is None
    assert not found.entry.within
    assert "energy unknown" in str(found) and "too short to tell" in str(found)
    assert "No place on the Pareto front" in str(found) and submission.read(found.path).problems == ()


def test_what_is_wrong_with_the_code_is_said(tmp_path):
    for train, shown in (
        ("a pipeline", r"train is a str, not a function"),
        (lambda train_set: None, r"train raised TypeError: .*takes 1 positional argument"),
        (lambda train_set, validation_set: {}["gone"], r"train raised KeyError: 'gone'"),
        (lambda train_set, validation_set: None, r"train returned a NoneType, not a function"),
        (lambda *_: lambda texts: 1 / 0, r"predict raised ZeroDivisionError: division by zero"),
        (lambda *_: lambda texts: "0" * len(texts), r"predict returned a str"),
        (lambda *_: lambda texts: [1], r"predict got 100 sentences and returned 1 answers"),
        (lambda *_: lambda texts: ["positive"] * 100, r"returned the answer 'positive'\. Expected"),
        (lambda *_: lambda texts: [2] * 100, r"returned the answer 2\. Expected"),
        (lambda *_: lambda texts: [0.7] * 100, r"returned the answer 0\.7\. Scores of classes\?"),
        (lambda *_: lambda texts: np.zeros((100, 2)), r"answer \[0\.0, 0\.0\]\. Scores .*argmax"),
        (lambda *_: lambda texts: [float("nan")] * 100, r"returned the answer nan"),
        (lambda *_: lambda texts: np.array(1), r"predict returned a int"),
    ):
        with pytest.raises(submission.CapstoneError, match=shown) as caught:
            judge(train, path=tmp_path / "x.json", **TASK)
        assert "Expected: train(train_set, validation_set)" in str(caught.value)
        assert ("raised" in shown) == (caught.value.__cause__ is not None), "the line that failed is shown"
    assert list(tmp_path.iterdir()) == []


def test_answers_may_come_in_any_form():
    array = np.array([0, 1, 1])
    as_they_are = [*array], tuple(array), iter([0, 1, 1]), torch.tensor([0, 1, 1])
    for got in (*as_they_are, array, array.astype(bool), array.astype(float)):
        labels = as_labels(got, 3)
        assert labels == [0, 1, 1] and all(type(label) is int for label in labels)


def test_settings_are_checked_before_training(tmp_path):
    for setting, shown in (
        *(({"name": name}, "1 to 40 printable") for name in ("", "x" * 41, "two\nlines", "a\u202eb", 7)),
        ({"path": "receipt.txt"}, "ends in .json"),
        ({"target": 0}, "target is 0"),
        ({"target": 84}, "above 0, at most 1"),
        ({"budget_wh": float("nan")}, "budget_wh is nan"),
        ({"budget_wh": None}, "budget_wh is None"),
        ({"window_s": -1}, "window_s is -1"),
    ):
        with pytest.raises(submission.CapstoneError, match=shown):
            judge(pytest.fail, **({"path": tmp_path / "x.json"} | TASK | setting))


@pytest.mark.parametrize("where", ["train", "predict"])
def test_an_interrupt_leaves_nothing_behind(where, tmp_path):
    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge(stop if where == "train" else lambda *_: stop, path=tmp_path / "x.json", **TASK)
    assert list(tmp_path.iterdir()) == []
    with energy.measure("the meter has stopped", country="USA") as meter:
        pass
    assert meter.result.phases == ()
