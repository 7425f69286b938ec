"""Records what it costs to fine-tune to one accuracy, from the naive recipe to the frugal one.

    python -m benchmarks.recipes    # an hour on 2 quiet cores; after an interrupt it goes on

The target was fixed before any run: the validation accuracy of "naive" after its last epoch, with seed 0,
rounded down to a whole percent. Each run has two costs: in all, and to the target, which is what it had cost
after its first evaluation of the whole validation split at or above it. Loading, tokenizing and every
evaluation are on the clock; that of the test split at the end is not. A run that never gets there is a miss.
Writes data/receipts/recipes.json, which “Train with less” shows.
"""

import math
import time
from collections.abc import Sequence

import numpy as np
import peft
import torch
import transformers

from benchmarks import COUNTRY, RECEIPTS, begin, record, recorded, save
from benchmarks.labels import MeanClassifier
from helpers import assets, data, energy, training, transformer

RECEIPT = RECEIPTS / "recipes.json"
LOOK_ROWS = 300  # of validation, for an evaluation within an epoch

# The article's listing, its gaps closed. A further recipe says what it changes, or adds: "precision" (bf16),
# "attention" ("eager" is plain matrix products: the fused one's way back is slow in bf16), and "mean", which
# reads the mean of all tokens, as the pretrained model was meant to be read, instead of [CLS].
NAIVE = {
    "rows": 7_070,  # sentences to train on, before the next line
    "least_rating": 0.0,  # those on which the raters' mean is nearer to 0 than this are left out
    "pad_to": 128,  # tokens; None pads a batch to its own longest sentence
    "like_lengths": False,  # length bucketing, instead of batches of any lengths
    "fused": False,  # AdamW in one pass over the weights
    "batch_size": 32,
    "epochs": 3,
    "learning_rate": 2e-5,
    "head_learning_rate": 2e-5,  # of the pooler and the classifier
    "warmup_share": None,  # fraction of the steps, then linear decay; None: constant rate, nothing clipped
    "dropout": 0.1,
    "freeze_embeddings": False,
    "layers": 6,  # of the model's six, from the words up; the others are cut off
    "freeze_layers": 0,  # from the words up
    "lora_rank": 0,  # above 0, only the head and low-rank updates of queries and values are trained
    "first_position": False,  # the last layer computes [CLS] alone: the same answer
    "look_steps": None,  # between two evaluations on LOOK_ROWS; one at the target asks all of validation
}
BETTER_RATE = {"learning_rate": 1e-4, "head_learning_rate": 3e-4, "warmup_share": 0.1}
STEPS = {  # the next recipes, each by what it changes in the one before
    "padded to the batch": {"pad_to": None},
    "like lengths": {"like_lengths": True, "fused": True},
    "better rate": BETTER_RATE | {"epochs": 1, "dropout": 0.0},
    "embeddings frozen": {"freeze_embeddings": True},
    "[CLS] alone": {"first_position": True},
    "frugal": {"layers": 5},
    "in bf16": {"precision": "bf16"},
    "plain attention": {"attention": "eager"},
    "lean": {"mean": True, "first_position": False, "head_learning_rate": 1e-3},
}
RECIPES = {"naive": NAIVE}
for name, changes in STEPS.items():
    RECIPES[name] = [*RECIPES.values()][-1] | changes
LEAN = RECIPES["lean"]
# Two rivals had eight tries each on validation, with seed 0, kept in the receipt. Of equals the first won.
TRIES = {
    "lean": [{"layers": n, "learning_rate": rate} for n in (5, 6) for rate in (5e-5, 1e-4, 2e-4, 4e-4)],
    "LoRA": [{"lora_rank": n, "learning_rate": rate} for n in (8, 32) for rate in (1e-3, 2e-3, 4e-3, 8e-3)],
}
RECIPES |= {
    "lean, 6 layers": LEAN | {"layers": 6, "learning_rate": 2e-4},
    "lean in fp32": {name: LEAN[name] for name in LEAN if name not in ("precision", "attention")},
    "early stop": LEAN | {"look_steps": 40},
    "batches of 64": LEAN | {"batch_size": 64, "learning_rate": 1.5 * LEAN["learning_rate"]},
    "2 layers frozen": LEAN | {"freeze_layers": 2},
    "clear ratings": LEAN | {"least_rating": 1.2},
    "half the sentences": LEAN | {"rows": 3_535},
    "LoRA": LEAN | {"lora_rank": 8, "learning_rate": 4e-3},
}
# Padding is masked, so "padded to the batch" is naive's training, but for dropout's draws: its second seed.
SEEDS = {"padded to the batch": (1,)} | dict.fromkeys(("frugal", "clear ratings"), range(3))
SEEDS |= dict.fromkeys(("lean", "LoRA"), range(5))
PLAN = [(name, seed) for name in RECIPES for seed in SEEDS.get(name, (0,))]  # naive's first gives the target


def new_model(settings: dict) -> torch.nn.Module:
    """Load the pretrained model with a new head, and make what is not trained fixed."""
    rates = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), settings["dropout"])
    build = MeanClassifier if settings.get("mean") else transformers.AutoModelForSequenceClassification
    how = {"num_hidden_layers": settings["layers"], "attn_implementation": settings.get("attention")} | rates
    model = build.from_pretrained(assets.fetch_model(), num_labels=2, **how)
    if settings["first_position"]:
        transformer.first_position_only(model)
    model.bert.encoder.layer[: settings["freeze_layers"]].requires_grad_(False)
    model.bert.embeddings.requires_grad_(not settings["freeze_embeddings"])
    if rank := settings["lora_rank"]:
        parts = {"target_modules": ["query", "value"], "modules_to_save": ["pooler", "classifier"]}
        model = peft.get_peft_model(model, peft.LoraConfig(r=rank, lora_alpha=2 * rank, **parts))
    return model


def new_optimizer(model, settings: dict, steps: int) -> tuple:
    """AdamW with one learning rate for the head and one for the rest, and the schedule of both."""
    head, body = training.split_head(model)
    groups = [{"params": body}, {"params": head, "lr": settings["head_learning_rate"]}]
    optimizer = torch.optim.AdamW(groups, lr=settings["learning_rate"], fused=settings["fused"] or None)
    if settings["warmup_share"] is None:
        return optimizer, transformers.get_constant_schedule(optimizer)
    warm_up = int(settings["warmup_share"] * steps)
    return optimizer, transformers.get_linear_schedule_with_warmup(optimizer, warm_up, steps)


def batches(rows, tokenizer, settings: dict, shuffle: bool, seed: int = 0):
    """Batches in the recipe's order, each padded as the recipe says."""
    if settings["like_lengths"]:
        return data.batches(rows, tokenizer, settings["batch_size"], shuffle=shuffle, seed=seed)
    how = {"padding": "max_length" if settings["pad_to"] else "longest", "max_length": settings["pad_to"]}
    collate, draw = transformers.DataCollatorWithPadding(tokenizer, **how), torch.Generator()
    more = {"shuffle": shuffle, "collate_fn": collate, "generator": draw.manual_seed(seed)}
    rows = rows.select_columns(["input_ids", "label"])
    return torch.utils.data.DataLoader(rows, settings["batch_size"], **more)


def logits_of(model, batch: dict, settings: dict) -> torch.Tensor:
    """The model's logits in fp32, computed in the recipe's precision."""
    with torch.autocast("cpu", torch.bfloat16, enabled="precision" in settings):
        return model(batch["input_ids"], batch["attention_mask"]).logits.float()


def accuracy(model, rows, tokenizer, settings: dict) -> float:
    """Fraction of the rows that the model gets right, in batches as the recipe has them."""
    model.eval()
    right = 0
    with torch.inference_mode():
        for batch in batches(rows, tokenizer, settings, shuffle=False):
            right += (logits_of(model, batch, settings).argmax(dim=-1) == batch["labels"]).sum().item()
    model.train()
    training.release_memory()
    return right / len(rows)


def training_steps(model, train, tokenizer, settings: dict, seed: int):
    """Take one step after the other, and give after each how many there were."""
    per_epoch = math.ceil(len(train) / settings["batch_size"])
    optimizer, schedule = new_optimizer(model, settings, settings["epochs"] * per_epoch)
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    step = 0
    model.train()
    for epoch in range(settings["epochs"]):
        for batch in batches(train, tokenizer, settings, shuffle=True, seed=seed + epoch):
            torch.nn.functional.cross_entropy(logits_of(model, batch, settings), batch["labels"]).backward()
            if settings["warmup_share"] is not None:
                torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            step += 1
            if step % training.RETURN_MEMORY_STEPS == 0:
                training.release_memory(collect=False)
            yield step


def without(rows, sealed: Sequence[int]):
    """The training sentences without those that benchmarks/sealed.py keeps to itself."""
    return rows.select([row for row in range(len(rows)) if row not in sealed])


def run(name: str, settings: dict, seed: int, target: float = math.inf) -> tuple:
    """Train by a recipe; return the model, its evaluations and the `Measurement`.

    With `look_steps`, training ends where all of validation confirms that the target is reached.
    """
    evaluations, phases = [], []

    def phase(label: str):
        phases.append(energy.measure(label, country=COUNTRY))
        return phases[-1]

    def evaluate(rows) -> float:
        with phase("validate"):
            right = accuracy(model, rows, tokenizer, settings)
        spent = [each.result.energy_wh for each in phases]
        found = {"step": step, "rows": len(rows), "accuracy": right, "seconds": time.perf_counter() - began}
        evaluations.append(found | {"energy_wh": None if None in spent else sum(spent)})
        return right

    with energy.measure(name, country=COUNTRY) as meter:
        began = time.perf_counter()  # the meter's own start isn't the recipe's
        with phase("load"):
            tokenizer = transformers.AutoTokenizer.from_pretrained(assets.fetch_model())
            splits = [data.tokenize(data.load_reviews(split), tokenizer) for split in data.REVIEWS[:2]]
            whole, validation = without(splits[0], settings.get("sealed", ())), splits[1]
            train = data.take(whole, min(settings["rows"], len(whole)))
            train = train.select(np.flatnonzero(np.abs(train["rating"][:]) >= settings["least_rating"]))
            transformers.set_seed(seed)
            model = new_model(settings)
        per_epoch = math.ceil(len(train) / settings["batch_size"])
        part = data.take(validation, min(LOOK_ROWS, len(validation)), "validation rows")
        steps, step, last = training_steps(model, train, tokenizer, settings, seed), 0, 0
        while last < settings["epochs"] * per_epoch:
            # until the next evaluation: at the end of the epoch, or before it
            last = (step // per_epoch + 1) * per_epoch
            last = min(last, step + settings["look_steps"]) if settings["look_steps"] else last
            with phase("train"):
                while step < last:
                    step = next(steps)
            if step % per_epoch and evaluate(part) < target:
                continue
            if evaluate(validation) >= target and settings["look_steps"]:
                break
    return model, evaluations, meter.result


def to_target(run: dict, target: float, rows: int) -> dict | None:
    """The first evaluation of all validation rows at or above the target; None for a miss."""
    return next((e for e in run["evaluations"] if e["rows"] == rows and e["accuracy"] >= target), None)


def find_target(runs: list[dict]) -> float | None:
    """The target; None before naive's first run is there."""
    last = [run["evaluations"][-1] for run in runs if run["name"] == "naive" and run["seed"] == 0]
    return math.floor(100 * last[0]["accuracy"]) / 100 if last else None


def keep(found: dict) -> None:
    """Write the receipt: the runs in the order of the recipes, and what follows from them."""
    target, names = find_target(found["runs"]), list(RECIPES)
    validation_rows = len(data.load_reviews("validation"))
    runs = sorted(found["runs"], key=lambda run: (names.index(run["name"]), run["seed"]))
    if target is not None:
        runs = [run | {"to_target": to_target(run, target, validation_rows)} for run in runs]
    what = "time and energy to one validation accuracy, by recipe of fine-tuning"
    files = [f"reviews/{split}.csv" for split in data.REVIEWS]
    settings = {"look_rows": LOOK_ROWS, "validation_rows": validation_rows}
    details = {"target": target, "runs": runs, "tuning": found.get("tuning", [])}
    save(RECEIPT, "benchmarks.recipes", what, files, settings, details)


def main() -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(assets.fetch_model())
    test = data.tokenize(data.load_reviews("test"), tokenizer)
    found = recorded(RECEIPT)[0]
    runs = found["runs"] = [run for run in found["runs"] if run["settings"] == RECIPES.get(run["name"])]

    def tune(name: str, tried: dict) -> dict:
        _, evaluations, cost = run(name, RECIPES[name] | tried, seed=0)
        return {"accuracy": evaluations[-1]["accuracy"], "cost": cost}

    def make(name: str, seed: int) -> dict:
        target, settings = find_target(runs), RECIPES[name]
        model, evaluations, cost = run(name, settings, seed, math.inf if target is None else target)
        result = training.evaluate(model, test, tokenizer)
        trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
        made = {"settings": settings, "trained_weights": trained, "evaluations": evaluations, "cost": cost}
        return made | {"test_accuracy": result.accuracy, "test_interval": result.interval}

    record(found, PLAN, ("name", "seed"), make, keep)
    tries = [(name, settings) for name in TRIES for settings in TRIES[name]]
    record(found, tries, ("name", "settings"), tune, keep, "tuning")


if __name__ == "__main__":
    begin(__doc__)
    main()
