"""The benchmark of compression, end to end on a few sentences, with a tiny BERT in place of the real one."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import transformers
from transformers import BertConfig, BertForSequenceClassification

from benchmarks import compression, recipes, serving
from benchmarks.contestants import fit_tfidf
from helpers import assets, data, energy, receipts

ROWS = 40
SIZES = {"hidden_size": 16, "num_hidden_layers": 6, "num_attention_heads": 4, "intermediate_size": 32}


@pytest.fixture(scope="module")
def patched(tmp_path_factory):
    """Forty sentences, a tiny BERT, small windows, and a receipt of our own."""
    folder, load = tmp_path_factory.mktemp("compression"), data.load_reviews
    patch = pytest.MonkeyPatch()
    pretrained = transformers.AutoModelForSequenceClassification
    patch.setattr(data, "load_reviews", lambda split: data.take(load(split), ROWS))
    patch.setattr(
        pretrained,
        "from_pretrained",
        lambda _path, **settings: BertForSequenceClassification(BertConfig(**SIZES | settings)),
    )
    patch.setattr(compression, "RECEIPT", folder / "compression.json")
    patch.setattr(compression, "FOLDER", folder / "models")
    teacher = recipes.FIRST_POSITION | {"rows": ROWS, "batch_size": 8}
    patch.setattr(compression, "MODELS", compression.MODELS | {"teacher": teacher})
    patch.setitem(compression.MODELS, "small", compression.MODELS["small"] | {"units": 16})
    patch.setattr(compression, "SEEDS", (0,))
    sizes = {"at once": [(2, 16)], "in three rounds": [(3, 24), (3, 20), (2, 16)]}
    pruning = compression.PRUNING | {"rows": 24, "sizes": sizes, "shares": [0.0, 0.9]}
    times = {"texts": 12, "rounds": 2, "window_s": 0.01, "idle_s": 0.6, "latency_s": 0.01, "loadgen_s": 0.01}
    parts = {"pruning": pruning, "cascade": serving.CASCADE, "serving": serving.SERVING | times}
    patch.setattr(compression, "PARTS", parts)
    patch.setattr(compression, "PRUNING", parts["pruning"])
    patch.setattr(serving, "SERVING", parts["serving"])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield patch
    torch.set_num_threads(threads)
    patch.undo()


def record(patch, *arguments):
    patch.setattr("sys.argv", ["compression", *arguments])
    compression.main()
    again = receipts.replay(compression.RECEIPT)
    assert again.ok, str(again)
    return again.details


@pytest.fixture(scope="module")
def receipt(patched):
    return record(patched)


@pytest.fixture(scope="module")
def stored():
    """The receipt that ships."""
    return receipts.replay(assets.DATA / "receipts" / "compression.json")


@pytest.fixture(scope="module")
def by_name(receipt):
    return {(run["name"], run["seed"]): run for run in receipt["runs"]}


def test_every_model_is_there_with_what_it_cost(receipt, by_name):
    assert list(by_name) == compression.plan()
    for run in by_name.values():
        assert 0 <= run["test_interval"][0] <= run["test_accuracy"] <= run["test_interval"][1] <= 1
        positive = np.array(run["test_positive_per_mille"].split(), dtype=int)
        assert len(positive) == ROWS and set(run["domains"]) == set(data.DOMAINS)


def test_each_step_makes_it_smaller(by_name):
    size = {name: run["file_bytes"] for (name, seed), run in by_name.items() if seed == 0}
    assert size["2 layers"] < size["3 layers"] < size["4 layers"] < size["teacher"]
    assert size["small int8"] < size["small"] < size["3 layers"] / 2
    assert size["teacher int8"] < size["teacher"] / 2


def test_what_is_exported_and_opened_again_says_the_same(by_name):
    for (name, _), run in by_name.items():
        if name.endswith("int8"):
            assert run["onnx_differs_by"] < 1e-4 and run["reopened_differs_by"] == 0
            assert run["int8_differs_by"] < 0.2


def test_pruned_parts_are_gone_and_zeros_stay_zero(receipt):
    pruning = receipt["pruning"]
    assert [found["share"] for found in pruning["zeros"]] == pytest.approx([0.8, 0.8], abs=0.01)
    assert len({found["encoder_weights"] for found in pruning["sizes"]}) == 1
    assert pruning["untrained"][0] == {"share": 0.0, "accuracy": pruning["whole"]}


def test_the_threshold_is_the_lowest_of_the_best_on_validation(receipt):
    cascade = receipt["cascade"]
    right = {point["threshold"]: np.mean(point["accuracies"]) for point in cascade["curve"]}
    assert right[cascade["chosen"]] == max(right.values())
    assert all(right[at] < right[cascade["chosen"]] for at in right if at < cascade["chosen"])
    asked = [point["asked"] for point in cascade["curve"]]
    assert asked == sorted(asked) and len(cascade["seeds"]) == 1


def test_every_way_is_served_and_every_finalist_loaded(receipt):
    served = receipt["serving"]
    chosen = f"cascade {receipt['cascade']['chosen']:.2f}"
    assert {"one by one, padded to 128", "like lengths", "4 layers int8", "TF-IDF", chosen} <= set(
        served["rounds"]
    )
    for name, load in served["loadgen"].items():
        assert load["offline_per_s"] > 0 and load["single_stream_p90_ms"] > 0, name
        assert served["latency"][name].count > 0
    for name, rounds in served["rounds"].items():
        found = serving.joules_per_1000(rounds, served["texts"])
        assert json.loads(json.dumps(found)) == served["joules_per_1000"][name]


def test_the_receipt_that_ships_is_of_the_settings_that_the_code_holds(stored):
    """Module-wide patches shrink the settings; the code's own are compared in a process without them."""
    code = (
        "import json; from benchmarks import compression as c; "
        "print(json.dumps([c.plan(), c.MODELS, c.PARTS]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=assets.ROOT)
    plan, models, parts = json.loads(done.stdout)
    assert [[run["name"], run["seed"]] for run in stored.details["runs"]] == plan
    for run in stored.details["runs"]:
        assert run["settings"] == models[run["name"]], run["name"]
        assert not run["cost"].disturbed, f"{run['name']} ran beside other programs"
    assert {part: stored.receipt["settings"][part] for part in parts} == parts


def test_a_second_call_keeps_what_holds(patched, receipt):
    before = compression.RECEIPT.read_text()
    assert record(patched) == receipt and compression.RECEIPT.read_text() == before
    settings = compression.MODELS["2 layers"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(compression.MODELS, "2 layers", settings | {"epochs": 1})
        assert record(patched, "--minutes", "0") == receipt  # starts nothing
        kept = compression.kept(compression.Work())
    assert [run["name"] for run in kept["runs"]] == list(compression.MODELS)[:4] and set(kept) == {"runs"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(compression.MODELS, "teacher", compression.MODELS["teacher"] | {"epochs": 2})
        assert compression.kept(compression.Work()) == {"runs": []}  # the students had another teacher
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(compression.PARTS, "cascade", serving.CASCADE | {"measured": [0.7]})
        kept = compression.kept(compression.Work())
        assert set(kept) == {"runs", "pruning"}  # the threshold may be another
        assert len(kept["runs"]) == len(receipt["runs"])


@pytest.fixture
def words():
    """A model that calls a text positive if it is longer than three words."""

    class Longer(torch.nn.Linear):  # whose weights say where it is
        def forward(self, input_ids, attention_mask):
            long = (attention_mask.sum(dim=1) > 5).float()  # with [CLS] and [SEP]
            return transformers.modeling_outputs.SequenceClassifierOutput(
                logits=torch.stack([1 - long, long], dim=1)
            )

    return Longer(1, 1)


@pytest.mark.parametrize(
    "how", [{}, {"batch_size": 1, "pad_to": 128}, {"by_length": False}, {"batch_size": 100}]
)
def test_answers_come_in_the_order_of_the_questions(words, tokenizer, how):
    texts = ["a film", "a b c d", "one", "a b c d e", "two words", "a b c d e f g"]
    assert serving.answer(texts, words, tokenizer, **how) == [0, 1, 0, 1, 0, 1]


def test_a_cascade_asks_only_about_what_the_gate_is_unsure_of():
    gate = fit_tfidf(["good film", "bad film"] * 10, [1, 0] * 10)
    asked = []

    def rest(texts):
        asked.extend(texts)
        return [0] * len(texts)

    texts = ["good film", "no such words", "bad film"]
    assert serving.cascade(texts, gate, 0.8, rest) == [1, 0, 0] and asked == ["no such words"]
    asked.clear()
    assert serving.cascade(texts, gate, 0.0, rest)[0] == 1 and not asked
    assert serving.cascade(texts, gate, 1.1, rest) == [0, 0, 0] and asked == texts


def test_combined_probabilities_are_those_of_the_surer_gate_or_of_the_rest():
    gate, rest = np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([[0.2, 0.8], [0.3, 0.7]])
    assert serving.combined(gate, rest, 0.8).tolist() == [[0.9, 0.1], [0.3, 0.7]]


def test_an_unknown_energy_makes_no_joules():
    with energy.measure("short", country="USA") as meter:
        meter.count(calls=1)
    assert meter.result.energy_wh is None
    assert serving.joules_per_1000([meter.result], 10) is None
