"""The benchmark of compression, end to end on a few sentences, with a tiny BERT in place of the real one."""

import functools
import itertools
import json
from unittest.mock import Mock, call

import numpy as np
import pytest
import torch
import transformers
from datasets import Dataset

from benchmarks import compression, recipes, sealed, serving
from benchmarks.contestants import fit_tfidf
from helpers import assets, data, receipts, training
from tests.benchmarks.conftest import SIZES
from tests.shared import tiny_bert

ROWS, INT8 = 40, ["teacher int8", "small int8"]
PLAN = [*itertools.product(compression.MODELS, compression.SEEDS)]
PLAN, MODELS, PARTS = json.loads(json.dumps([PLAN, compression.MODELS, compression.PARTS]))  # as in JSON


@pytest.fixture(scope="module")
def patched(tmp_path_factory, small):
    pytest.importorskip("mlperf_loadgen", reason="MLPerf's load generator has no build for this Python")
    folder, names = tmp_path_factory.mktemp("compression"), ["4 layers", "3 layers", "small", *INT8]
    models = {"teacher": recipes.RECIPES["[CLS] alone"] | {"rows": ROWS, "batch_size": 8}}
    models |= {name: compression.MODELS[name] for name in names}
    models["small"] = models["small"] | {"units": 16, "layers": [0]}
    models["tiny"] = compression.MODELS["tiny from scratch"]
    steps = {"zeros": {"at once": [0.8], "in turns": [0.5, 0.8]}, "shares": [0.0, 0.9], "rows": 24}
    steps["sizes"] = {"at once": [(2, 16)], "in turns": [(3, 24), (2, 16)]}
    times = dict.fromkeys(("window_s", "latency_s", "loadgen_s"), 0.01)
    times |= {"texts": 12, "rounds": 2, "idle_s": 0.6, "shares": [0.5]}
    pruning, cascade = compression.PRUNING | steps, serving.CASCADE | {"of": "small int8", "measured": [0.9]}
    parts = {"pruning": pruning, "cascade": cascade, "serving": serving.SERVING | times}
    own = {"RECEIPT": folder / "compression.json", "FOLDER": folder / "models", "MODELS": models}
    for name, value in (own | {"SEEDS": (0,), "PARTS": parts, "PRUNING": pruning}).items():
        small.setattr(compression, name, value)
    served = {"CASCADE": cascade, "SERVING": parts["serving"], "SERVED": ("teacher", "small", *INT8)}
    for name, value in served.items():
        small.setattr(serving, name, value)


@pytest.fixture(scope="module")
def receipt(patched):
    compression.main()
    return receipts.replay(compression.RECEIPT).details


@pytest.fixture(scope="module")
def shipped():
    return receipts.replay(assets.DATA / "receipts" / "compression.json")


def test_every_model_is_there_each_step_makes_it_smaller_and_one_that_is_opened_again_says_the_same(receipt):
    assert receipts.replay(compression.RECEIPT).ok
    plan = itertools.product(compression.MODELS, compression.SEEDS)
    assert [(run["name"], run["seed"]) for run in receipt["runs"]] == [*plan]
    for run in receipt["runs"]:
        assert run["cost"].wall_s > 0 and set(run["domains"]) == set(data.DOMAINS)
        assert len(run["test_positive_per_mille"].split()) == ROWS
    size = {run["name"]: run["file_bytes"] for run in receipt["runs"]}
    assert size["small int8"] < size["small"] < size["3 layers"] < size["4 layers"] < size["teacher"]
    [int8] = [run for run in receipt["runs"] if run["name"] == "small int8"]
    assert int8["onnx_differs_by"] < 1e-4 and int8["int8_differs_by"] < 0.2
    assert int8["reopened_differs_by"] == 0
    assert int8["weights"] == next(run["weights"] for run in receipt["runs"] if run["name"] == "small") > 0


def test_pruned_parts_are_gone_and_zeros_stay_zero(receipt):
    pruning = receipt["pruning"]
    assert [found["share"] for found in pruning["zeros"]] == pytest.approx([0.8, 0.8], abs=0.01)
    assert len({found["encoder_weights"] for found in pruning["sizes"]}) == 1
    assert pruning["untrained"][0] == {"share": 0.0, "accuracy": pruning["whole"]}


@pytest.mark.parametrize("which", ["receipt", "shipped"])
def test_the_threshold_is_the_lowest_of_the_best_and_every_finalist_is_served(which, request):
    found = request.getfixturevalue(which)
    cascade, served = (getattr(found, "details", found)[part] for part in ("cascade", "serving"))
    right = {point["threshold"]: np.mean(point["accuracies"]) for point in cascade["curve"]}
    assert cascade["chosen"] == min(at for at in right if right[at] == max(right.values()))
    finalists = {serving.ONE_BY_ONE, serving.BUCKETED, "TF-IDF", f"cascade {cascade['chosen']:.2f}"}
    assert finalists < set(served["loadgen"]) <= set(served["latency"]) <= set(served["rounds"])
    assert all(load["offline_per_s"] > 0 for load in served["loadgen"].values())
    for name, rounds in served["rounds"].items():
        joules, stored = serving.joules_per_1000(rounds, served["texts"]), served["joules_per_1000"][name]
        assert joules == (stored and pytest.approx(stored)), name  # None: too short to tell


def test_the_receipt_that_ships_is_of_the_settings_that_the_code_holds(shipped):
    assert [[run["name"], run["seed"]] for run in shipped.details["runs"]] == PLAN
    for run in shipped.details["runs"]:
        assert run["settings"] == MODELS[run["name"]], run["name"]
        assert not run["cost"].disturbed, f"{run['name']} ran beside other programs"
    assert {part: shipped.receipt["settings"][part] for part in PARTS} == PARTS


def test_a_second_call_keeps_what_holds(receipt, monkeypatch):
    before, models = compression.RECEIPT.read_text(), compression.MODELS
    compression.main()
    assert compression.RECEIPT.read_text() == before
    for name, left in (("3 layers", ["teacher", "4 layers"]), ("teacher", [])):
        with monkeypatch.context() as patch:
            patch.setitem(models, name, models[name] | {"epochs": 9})
            kept = compression.kept(compression.Work())
        assert [run["name"] for run in kept["runs"]] == left and set(kept) == {"runs"}
    monkeypatch.setitem(compression.PARTS, "cascade", serving.CASCADE | {"measured": [0.7]})
    kept = compression.kept(compression.Work())
    assert set(kept) == {"runs", "pruning"} and len(kept["runs"]) == len(receipt["runs"])


def test_a_student_follows_its_teacher_where_the_labels_lie_and_without_one_it_is_fine_tuning(tokenizer):
    texts, labels = ["a great film", "so very awful a film"] * 30, np.array([1, 0] * 30)
    plain = [Dataset.from_dict({"text": texts, "label": given}) for given in (labels, 1 - labels)]
    true, lies = (data.tokenize(rows, tokenizer) for rows in plain)
    tiny = functools.partial(tiny_bert, **SIZES | {"num_hidden_layers": 2}, initializer_range=0.2)
    settings = {"batch_size": 8, "learning_rate": 3e-3, "precision": "no"}
    teacher = {"logits": np.log(np.eye(2)[labels] + compression.SMALLEST_PROBABILITY), "temperature": 2}
    student, rows = tiny(), {"validation": true, "tokenizer": tokenizer}
    history = compression.distil(student, train=lies, alpha=1, epochs=3, **rows, **teacher, **settings)
    assert history.epochs[-1]["accuracy"] > 0.9  # on the true labels, which it never saw
    assert history.loss[-1] < history.loss[0]
    taught = compression.distil(tiny(), train=true, alpha=0, epochs=1, **rows, **teacher, **settings)
    alone = training.fine_tune(tiny(), true, epochs=1, **rows, **settings)
    np.testing.assert_allclose(taught.loss, alone.loss, rtol=1e-5)


class Longer(torch.nn.Linear):  # its weights say where it is
    """Calls a text positive if it is longer than three words."""

    def forward(self, input_ids, attention_mask):
        long = (attention_mask.sum(dim=1) > 5).float()  # with [CLS] and [SEP]
        logits = torch.stack([1 - long, long], dim=1)
        return transformers.modeling_outputs.SequenceClassifierOutput(logits=logits)


@pytest.mark.parametrize("how", [*serving.WAYS.values(), {"batch_size": 2, "beside": True}])
def test_answers_come_in_the_order_of_the_questions(tokenizer, how):
    texts = ["a film", "a b c d", "one", "a b c d e", "two words", "a b c d e f g"]
    assert serving.answer(texts, Longer(1, 1), tokenizer, **how) == [0, 1, 0, 1, 0, 1]


def test_a_cascade_asks_only_about_what_the_gate_is_unsure_of():
    gate = fit_tfidf(["good film", "bad film"] * 10, [1, 0] * 10)
    texts, rest = ["good film", "no such words", "bad film"], Mock(side_effect=lambda texts: [0] * len(texts))
    assert serving.cascade(texts, gate, 0.8, rest) == [1, 0, 0]
    assert serving.cascade(texts, gate, 0.0, rest)[0] == 1  # and nothing is asked
    assert serving.cascade(texts, gate, 1.1, rest) == [0, 0, 0]
    assert rest.call_args_list == [call(["no such words"]), call(texts)]
    sure, unsure, other = [0.9, 0.1], [0.4, 0.6], [0.3, 0.7]
    assert serving.combined(np.array([sure, unsure]), np.array([other] * 2), 0.8).tolist() == [sure, other]


def test_the_sealed_sentences_train_nothing_and_are_asked_once(patched, receipt, monkeypatch, capsys):
    for name, value in {"RECEIPT": compression.FOLDER / "sealed_again.json", "ROWS": 20, "FOLDS": 2}.items():
        monkeypatch.setattr(sealed, name, value)
    asked, trained = Mock(side_effect=compression.Work.evaluate, autospec=True), Mock(side_effect=recipes.run)
    monkeypatch.setattr(compression.Work, "evaluate", lambda *args: asked(*args))
    monkeypatch.setattr(recipes, "run", trained)
    sealed.main()
    sealed.main()  # has nothing left to ask
    runs = receipts.replay(sealed.RECEIPT).details["runs"]
    assert [(run["name"], run["part"], run["seed"]) for run in runs] == sealed.plan()
    assert {len(run["right"]) for run in runs} == {10}
    splits = [each.args[-1] for each in asked.call_args_list]
    assert splits.count("sealed") == len(runs) and "test" not in splits
    assert {each.args[1]["sealed"] for each in trained.call_args_list} == {range(10), range(10, 20)}
    rows = compression.Work(range(10, 20)).rows
    assert {*rows["train"]["id"]}.isdisjoint(rows["sealed"]["id"]) and len(rows["train"]) == 30
    assert "0.5 points may be lost to naive" in capsys.readouterr().out


def test_a_loss_is_paired_over_all_parts():
    right = {"naive": ["11", "10"], "lean": ["01", "10"], "teacher": ["11", "11"], "small int8": ["11", "11"]}
    runs = [{"name": n, "part": p, "seed": 0, "right": 40 * r} for n in right for p, r in enumerate(right[n])]
    lost = sealed.lost(runs[::-1])
    assert lost["lean"][0] == 0.25 and lost["lean"][1] > 0 and lost["small int8"] == (0, 0, 0)
