"""The recipes of fine-tuning, each run on a few sentences with a tiny BERT in the place of the real one."""

import pytest
import torch

from benchmarks import recipes
from helpers import assets, data, receipts

SHIPPED, SHIPPED_TRIES = recipes.RECIPES, recipes.TRIES


@pytest.fixture(autouse=True)
def own(small, monkeypatch, tmp_path):
    smaller = {name: settings | {"batch_size": 8} for name, settings in SHIPPED.items()}
    changed = {"RECEIPT": tmp_path / "recipes.json", "LOOK_ROWS": 8, "TRIES": {"LoRA": [{"lora_rank": 4}]}}
    for name, value in (changed | {"RECIPES": smaller}).items():
        monkeypatch.setattr(recipes, name, value)


def record(monkeypatch, plan):
    monkeypatch.setattr(recipes, "PLAN", plan)
    recipes.main()
    again = receipts.replay(recipes.RECEIPT)
    assert again.ok and again.receipt["made_by"] == "python -m benchmarks.recipes"
    return again.details


def test_a_receipt_holds_what_each_run_was_and_cost(monkeypatch):
    names = ["naive", "frugal", "LoRA"]
    receipt = record(monkeypatch, [(name, 0) for name in names[::-1]])
    assert [run["name"] for run in receipt["runs"]] == names  # in the order of the recipes
    assert receipt["target"] == recipes.find_target(receipt["runs"])
    assert [each["settings"] for each in receipt["tuning"]] == [{"lora_rank": 4}]
    for run in receipt["runs"]:
        whole = [entry["step"] for entry in run["evaluations"] if entry["rows"] == 40]
        assert whole == [5 * (epoch + 1) for epoch in range(run["settings"]["epochs"])]
        assert {phase.label for phase in run["cost"].phases} == {"load", "train", "validate"}
        assert run["evaluations"][-1]["seconds"] <= run["cost"].wall_s + 0.1


def test_what_is_frozen_is_not_trained():
    weights = {}
    for name, settings in recipes.RECIPES.items():
        model = recipes.new_model(settings)
        weights[name] = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert weights["frugal"] < weights["[CLS] alone"]
    assert weights["LoRA"] < weights["2 layers frozen"] < weights["lean"] < weights["[CLS] alone"]
    assert weights["[CLS] alone"] == weights["embeddings frozen"] < weights["better rate"] == weights["naive"]


def test_the_target_is_naives_last_accuracy_rounded_down_and_its_cost_that_of_the_first_whole_evaluation():
    frugal = {"name": "frugal", "seed": 0, "evaluations": [{"accuracy": 0.99}]}
    naive = {"name": "naive", "seed": 0, "evaluations": [{"accuracy": 0.912}, {"accuracy": 0.879}]}
    assert recipes.find_target([frugal, naive]) == 0.87 and recipes.find_target([frugal]) is None
    pairs = ((8, 0.9), (40, 0.86), (40, 0.87), (40, 0.95))
    part, low, high, higher = ({"rows": rows, "accuracy": accuracy} for rows, accuracy in pairs)
    assert recipes.to_target({"evaluations": [part, low, high, higher]}, 0.87, 40) == high
    assert recipes.to_target({"evaluations": [part, low]}, 0.87, 40) is None


def test_early_stop_stops_at_the_target():
    settings = recipes.RECIPES["early stop"] | {"look_steps": 2}
    seen = {0.0: [(2, 8), (2, 40)], 1.1: [(2, 8), (4, 8), (5, 40)]}  # at once, and never
    for target, expected in seen.items():
        _, evaluations, _ = recipes.run("early stop", settings, 0, target)
        assert [(entry["step"], entry["rows"]) for entry in evaluations] == expected


def test_a_second_call_goes_on_from_the_first(monkeypatch):
    first = record(monkeypatch, [("frugal", 0)])["runs"]
    second = record(monkeypatch, [("frugal", 0), ("frugal", 1)])["runs"]
    assert [run["seed"] for run in second] == [0, 1] and second[:1] == first
    monkeypatch.setitem(recipes.RECIPES, "frugal", recipes.RECIPES["naive"] | {"epochs": 1})
    changed = record(monkeypatch, [("frugal", 0)])["runs"]
    assert len(changed) == 1 and changed[0]["settings"]["epochs"] == 1


def test_the_receipt_that_ships_is_of_the_recipes_that_the_code_holds_and_two_have_the_best_of_eight_tries():
    stored = receipts.replay(assets.DATA / "receipts" / "recipes.json").details
    runs, target = stored["runs"], stored["target"]
    assert [(run["name"], run["seed"]) for run in runs] == recipes.PLAN
    assert target == recipes.find_target(runs)
    for run in runs:
        assert run["settings"] == SHIPPED[run["name"]], run["name"]
        assert run["to_target"] == recipes.to_target(run, target, rows=1_000), run["name"]
        assert not run["cost"].disturbed, f"{run['name']} ran beside other programs"
    for name, tries in SHIPPED_TRIES.items():
        tried = [each for each in stored["tuning"] if each["name"] == name]
        assert [each["settings"] for each in tried] == tries and len(tries) == 8
        assert max(tried, key=lambda each: each["accuracy"])["settings"].items() <= SHIPPED[name].items()


def test_padding_changes_the_work_and_not_the_gradient(tokenizer):
    rows = data.tokenize(data.load_reviews("train"), tokenizer)
    gradients, widths = [], []
    for name in ("naive", "padded to the batch"):
        settings = recipes.RECIPES[name]
        model = recipes.new_model(settings).eval()
        for batch in recipes.batches(rows, tokenizer, settings, shuffle=True, seed=3):
            widths.append(batch["input_ids"].shape[1])
            model(batch["input_ids"], batch["attention_mask"], labels=batch["labels"]).loss.backward()
        gradients.append(model.bert.encoder.layer[0].intermediate.dense.weight.grad)
    assert widths[:5] == [128] * 5 and max(widths[5:]) < 128
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-4)
