"""The judge measures what it is given, says what it expected, and leaves a receipt or nothing."""

import dataclasses
import functools
import time
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from capstone import judge as judging
from capstone import leaderboard, submission
from capstone.judge import as_labels, judge
from helpers import assets, data, energy, receipts

TASK = {"name": "a test", "target": 0.4, "budget": 1e6, "country": "USA", "window_s": 0.6}
RUN_REFERENCE = judging._reference


def always(answer):
    """A training that learns to give one answer."""
    return lambda train_set, validation_set: lambda texts: [answer] * len(texts)


def reference(country):
    """Work for half a second, in the place of the reference training."""
    with energy.measure("capstone: reference", country=country) as meter:
        end = time.perf_counter() + 0.5
        while time.perf_counter() < end:
            pass
    return meter.result


known = functools.cache(reference)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A sitting of its own, whose reference was known before it began."""
    monkeypatch.setattr(submission, "TRAIN_WINDOW_S", 0.0)
    monkeypatch.setattr(judging, "_reference", known)
    monkeypatch.setattr(judging, "_references", [known("USA")])


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A real judgment: measured, written, and read again."""
    path = tmp_path_factory.mktemp("judged") / "receipts" / "one.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(submission, "TRAIN_WINDOW_S", 0.7)
        patch.setattr(judging, "_references", [])
        patch.setattr(judging, "_reference", reference)
        return judge(always(0), path=path, **TASK)


def test_the_receipt_holds_what_was_measured_of_a_training_and_ten_thousand_predictions(judged, monkeypatch):
    monkeypatch.setattr(submission, "TRAIN_WINDOW_S", 0.7)
    negative = sum(label == 0 for label in submission.hidden_rows()["label"][:])
    entry = submission.read(judged.path)
    assert entry == judged.entry and entry.problems == () and entry.accuracy == negative / 1_000
    assert entry.interval[0] < entry.accuracy < entry.interval[1]
    assert entry.receipt["settings"]["answers"] == "0" * 1_000 and receipts.replay(judged.path).ok
    assert sorted(each.name for each in judged.path.parent.iterdir()) == [judging.COUNT, "one.json"]
    calls = entry.training.work["calls"]
    assert calls > 1, "a short training is repeated"
    assert entry.train_wh == pytest.approx(entry.training.energy_wh / calls)
    assert entry.job_wh == pytest.approx(entry.train_wh + entry.predictions.joules / 3_600 * 10)
    assert entry.job("low_wh") < entry.job_wh < entry.job("high_wh")
    serving_s = entry.predictions.cost.wall_s / entry.predictions.count * 10_000
    before, after = (each.wall_s for each in entry.references)
    assert entry.job() == pytest.approx(entry.training.wall_s / calls + serving_s)
    assert before != after and entry.multiple == pytest.approx(entry.job() / (before + after) * 2)
    assert entry.drift == pytest.approx(after / before - 1)


def test_it_says_what_it_found(judged):
    assert (shown := str(judged)) == repr(judged)
    assert "accuracy 50.9% (95 % interval" in shown and "target 40.0% reached" in shown
    assert "budget 1e+06 x kept" in shown and f"Wh {judged.entry.method} (" in shown
    assert shown.index("time of the job") < shown.index("energy of the job"), "time comes first"
    assert "1 x is the reference training: 0.5" in shown and "hidden rows were asked: 1" in shown
    assert "predictions looked at for 0." in shown, "a short window is said"
    assert "No other entry on this hardware" in shown and shown.endswith("receipt: one.json")
    entry = dataclasses.replace(judged.entry, target=0.99, budget=1e-9)
    assert not entry.reached and not entry.within and not entry.ranked
    said = leaderboard.describe(entry)
    assert "target 99.0% MISSED" in said and "budget 1e-09 x EXCEEDED" in said


def test_the_hidden_rows_are_as_committed_and_in_no_other_split_or_refused(monkeypatch, tmp_path):
    hidden = submission.hidden_rows()
    assert len(hidden) == submission.HIDDEN_ROWS and {*hidden["id"]} < {*data.load_reviews("test")["id"]}
    others = {text for split in ("train", "validation") for text in data.load_reviews(split)["text"]}
    assert not set(hidden["text"]) & others and 0.4 < np.mean(hidden["label"]) < 0.6
    monkeypatch.setattr(submission, "COMMITMENT", "0" * 64)
    monkeypatch.setattr(submission, "hidden_rows", submission.hidden_rows.__wrapped__)  # read anew
    with pytest.raises(submission.CapstoneError, match="expected 000000000000"):
        judge(always(0), path=tmp_path / "x.json", **TASK)
    monkeypatch.setattr(assets, "sha256", lambda path: "0" * 64)
    with pytest.raises(submission.CapstoneError, match="git checkout -- data"):
        judge(pytest.fail, path=tmp_path / "x.json", **TASK)
    assert list(tmp_path.iterdir()) == []


def test_a_try_is_about_validation_and_touches_no_hidden_row(monkeypatch):
    for place, name in [(submission, "hidden_rows"), (judging, "_hand_in"), (judging, "replacing")]:
        monkeypatch.setattr(place, name, pytest.fail)
    seen = set()
    found = judge(lambda *_: lambda texts: [seen.add(text) or 1 for text in texts], **TASK)
    validation = data.load_reviews("validation")
    assert seen == set(validation["text"][:1_000])
    assert found.entry.accuracy == sum(validation["label"][:1_000]) / 1_000
    assert "on 1,000 validation sentences" in str(found) and "hidden" not in str(found)
    assert (found.path, found.placement, isinstance(found.entry, submission.Entry)) == (None, "", False)


def test_each_receipt_says_how_often_its_folder_asked(tmp_path):
    """A try doesn't count, a `predict` that fails does, and so does another name."""
    flaky = iter([*[[0] * 100] * 11, None])  # ten batches of validation and one of the window, then none
    with pytest.raises(submission.CapstoneError, match="returned a NoneType"):
        judge(lambda *_: lambda texts: next(flaky), **TASK | {"window_s": 1e-9}, path=tmp_path / "a.json")
    for name in ("a", "b"):
        judge(always(0), **TASK)
        found = judge(always(0), path=tmp_path / f"{name}.json", **TASK)
    assert [submission.read(tmp_path / f"{name}.json").asked for name in "ab"] == [2, 3]
    assert "hidden rows were asked: 3" in str(found)
    assert (tmp_path / judging.COUNT).read_text() == "3\n", "what a new kernel reads"


def test_a_sitting_runs_one_reference_first_and_one_for_each_receipt(monkeypatch, tmp_path):
    run, once = Mock(), known("USA")
    run.reference.side_effect = [dataclasses.replace(once, wall_s=wall_s) for wall_s in (2.0, 4.0, 8.0)]
    run.train.side_effect = always(0)
    monkeypatch.setattr(judging, "_references", [])
    monkeypatch.setattr(judging, "_reference", run.reference)
    paths = None, tmp_path / "a.json", None, tmp_path / "b.json"
    found = [judge(run.train, path=path, **TASK).entry for path in paths]
    order = [name for name, *_ in run.mock_calls]
    assert order == ["reference", "train", "train", "reference", "train", "train", "reference"]
    assert [entry.reference() for entry in found] == [2.0, 3.0, 4.0, 6.0]
    assert [entry.drift for entry in found] == [0.0, 1.0, 0.0, 1.0]


def test_the_reference_is_a_short_seeded_training(monkeypatch, capsys):
    taken, fine_tune = [], judging.training.fine_tune
    replace = functools.partial(monkeypatch.setattr, judging.training, "fine_tune")
    replace(lambda *how, **more: taken.append(fine_tune(*how, **more)) or taken[-1])
    monkeypatch.setattr(judging, "REFERENCE_ROWS", 32)
    tiny = BertConfig(num_hidden_layers=1, hidden_size=48)  # in the place of the pretrained one
    load = "transformers.AutoModelForSequenceClassification.from_pretrained"
    monkeypatch.setattr(load, lambda *_, **__: BertForSequenceClassification(tiny))
    assert [RUN_REFERENCE("USA").label for _ in range(2)] == ["capstone: reference"] * 2
    assert [len(each.loss) for each in taken] == [1, 2, 1, 2], "one step to warm up, then those measured"
    assert taken[1].loss == taken[3].loss and capsys.readouterr().out == ""
    replace(lambda *_, **__: SimpleNamespace(stopped="interrupted"))
    with pytest.raises(KeyboardInterrupt):
        RUN_REFERENCE("USA")


def test_an_unknown_energy_is_no_zero_and_the_code_may_measure_its_own_parts(tmp_path):
    def train(*_):
        with energy.measure("a part", country="USA") as meter:
            meter.count(steps=3, change=-0.5)
        return always(1)(*_)

    found = judge(train, path=tmp_path / "x.json", **TASK)
    assert [phase.label for phase in found.entry.training.phases] == ["a part"]
    assert found.entry.job_wh is None and found.entry.train_wh is None and found.entry.method is None
    assert found.entry.within and not found.entry.ranked, "its time is known"
    assert "energy of the job unknown" in str(found) and "too short to tell" in str(found)
    assert "No place on the board" in str(found) and submission.read(found.path).problems == ()


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
        (lambda *_: lambda texts: np.array(1), r"predict returned a int"),
    ):
        with pytest.raises(submission.CapstoneError, match=shown) as caught:
            judge(train, path=tmp_path / "x.json", **TASK)
        assert "Expected: train(train_set, validation_set)" in str(caught.value)
        assert ("raised" in shown) == (caught.value.__cause__ is not None), "the line that failed is shown"
    assert list(tmp_path.iterdir()) == []


def test_answers_may_come_in_any_form():
    array = np.array([0, 1, 1])
    of_numbers = array.tolist(), tuple(array), iter([0, 1, 1]), torch.tensor([0, 1, 1])
    for got in (*of_numbers, array, array.astype(bool), array.astype(float)):
        labels = as_labels(got, 3)
        assert labels == [0, 1, 1] and all(type(label) is int for label in labels)


def test_settings_and_the_count_of_askings_are_checked_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr(judging, "_references", [])
    monkeypatch.setattr(judging, "_reference", pytest.fail)
    for setting, shown in (
        *(({"name": name}, "1 to 40 printable") for name in ("", "x" * 41, "two\nlines", "a\u202eb", 7)),
        ({"path": "receipt.txt"}, "ends in .json"),
        ({"target": 84}, "above 0, at most 1"),
        *(({"budget": value}, f"budget is {value}") for value in (float("nan"), None)),
        *(({name: value}, f"{name} is {value}") for name, value in (("target", 0), ("window_s", -1))),
    ):
        with pytest.raises(submission.CapstoneError, match=shown):
            judge(pytest.fail, **({"path": tmp_path / "x.json"} | TASK | setting))
    for text in (b"", b"many", b"-1", b"1.5", b"\xff", b"9" * 5_000):
        (tmp_path / judging.COUNT).write_bytes(text)
        with pytest.raises(submission.CapstoneError, match="Expected how often hidden rows were asked"):
            judge(pytest.fail, path=tmp_path / "x.json", **TASK)


@pytest.mark.parametrize("where", ["train", "predict", "_reference"])
def test_an_interrupt_leaves_nothing_behind(where, tmp_path, monkeypatch):
    stop = Mock(side_effect=KeyboardInterrupt)
    if where == "_reference":  # the one after
        monkeypatch.setattr(judging, where, stop)
    train = {"train": stop, "predict": lambda *_: stop}.get(where, always(0))
    with pytest.raises(KeyboardInterrupt):
        judge(train, path=tmp_path / "x.json", **TASK)
    assert list(tmp_path.iterdir()) == []
    with energy.measure("the meter has stopped", country="USA") as meter:
        pass
    assert meter.result.phases == ()
