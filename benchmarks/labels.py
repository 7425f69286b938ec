"""Records what pretraining buys on the film reviews, by number of labels.

    python -m benchmarks.labels --minutes 5    # as often as it takes; each goes on from the last

One network, which reads the mean of all tokens, and three starts: random weights, pocket-bert, and
pocket-bert after a little more pretraining on the training reviews without their labels. Each is fine-tuned
on the first n sentences of the training split and scored on the whole test split. Writes
data/receipts/labels.json, which “Pretrain a BERT” shows. Each of the first two gets the learning rate that
does best on the validation split.
"""

import argparse
import json
import os
import time

import torch
import transformers
from accelerate.utils import set_seed

from benchmarks import recording
from helpers import assets, data, energy, pretraining, training, transformer

RECEIPT = assets.DATA / "receipts" / "labels.json"
CONTINUED = assets.ROOT / "artifacts" / "pretrain-continued"
COUNTRY = "USA"
LENGTH = 64
EPOCHS = {200: 10, 1_000: 4, 7_070: 2}  # few sentences need more passes
RATES = (2e-4, 5e-4, 1e-3)
SETTINGS = {"batch_size": 16, "head_learning_rate": 1e-3}
TUNING_ROWS = 1_000
CONTINUE = {"steps": 300, "batch_size": 16, "learning_rate": 5e-4, "warmup_steps": 15, "decay_steps": 285}
STARTS = ("from scratch", "pocket-bert", "continued")
SEEDS = {1_000: 5, 200: 5, 7_070: 3}


def plan() -> list[tuple[str, int, int]]:
    """Start, rows and seed of each run; continued pretraining at one size."""
    runs = []
    for seed in range(max(SEEDS.values())):
        for rows in SEEDS:
            if seed < SEEDS[rows]:
                runs += [(start, rows, seed) for start in STARTS[: 3 if rows == 1_000 else 2]]
    return runs


def classifier(start: str, seed: int) -> torch.nn.Module:
    """Make the network with a new head: the start's weights, or random ones."""
    set_seed(seed)
    path = CONTINUED if start == "continued" else assets.resolve_model("pocket-bert")
    if start == "from scratch":
        return transformer.mean_classifier(transformers.BertConfig.from_pretrained(path))
    return transformer.mean_classifier(path)


def continue_pretraining(tokenizer) -> dict:
    """Pretrain a little more on the training reviews, and return what that cost and changed."""
    model = transformers.BertForMaskedLM.from_pretrained(assets.resolve_model("pocket-bert"))
    # The held-out reviews of the corpus stay out here as well, to score on.
    corpora = {split: data.load_corpus(split).to_pandas() for split in ("train", "held_out")}
    texts = {split: table.loc[table["source"] == "reviews", "text"] for split, table in corpora.items()}
    sequences = {split: pretraining.pack(rows, tokenizer, LENGTH) for split, rows in texts.items()}
    before = pretraining.evaluate_masked(model, sequences["held_out"], tokenizer)
    with energy.measure("continued pretraining", country=COUNTRY) as meter:
        history = pretraining.pretrain(model, sequences["train"], tokenizer, **CONTINUE)
    after = pretraining.evaluate_masked(model, sequences["held_out"], tokenizer)
    model.save_pretrained(CONTINUED)
    print(before, after, meter.result, sep=" | ", flush=True)
    return {
        "loss_before": before.loss,
        "loss_after": after.loss,
        "tokens": history.tokens,
        "cost": meter.result.to_dict(),
    }


def fit(start: str, train, watched, tokenizer, rate: float, seed: int) -> tuple:
    """Train one classifier; return it and what that cost."""
    model, epochs = classifier(start, seed), EPOCHS[len(train)]
    with energy.measure(start, country=COUNTRY) as meter:
        training.fine_tune(
            model, train, watched, tokenizer, epochs=epochs, learning_rate=rate, seed=seed, **SETTINGS
        )
    return model, meter.result


def best_rates(train, validation, watched, tokenizer) -> dict:
    """Accuracy on validation by start and learning rate; continued pretraining gets its parent's rate."""
    found = {}
    for start in STARTS[:2]:
        for rate in RATES:
            model, _ = fit(start, data.take(train, TUNING_ROWS), watched, tokenizer, rate, seed=0)
            accuracy = training.evaluate(model, validation, tokenizer).accuracy
            found.setdefault(start, {})[str(rate)] = accuracy
            print(start, rate, accuracy, "on validation", sep=" | ", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--minutes", type=float, default=5.0, help="start no run later than this (default: 5)"
    )
    deadline = time.monotonic() + 60 * parser.parse_args().minutes
    tokenizer = transformers.BertTokenizer.from_pretrained(assets.resolve_model("pocket-bert"))
    train, validation, test = (
        data.tokenize(data.load_reviews(split), tokenizer, LENGTH)
        for split in ("train", "validation", "test")
    )
    watched = data.take(validation, 20, "validation rows")
    receipt = json.loads(RECEIPT.read_text()) if RECEIPT.exists() else new_receipt()
    if "continued" not in receipt or not CONTINUED.exists():
        receipt["continued"] = continue_pretraining(tokenizer)
    if "tuning" not in receipt:
        receipt["tuning"] = best_rates(train, validation, watched, tokenizer)
        recording.save(RECEIPT, receipt)
    rates = {start: float(max(found, key=found.get)) for start, found in receipt["tuning"].items()}
    rates["continued"] = rates["pocket-bert"]
    done = {(run["name"], run["train_rows"], run["seed"]) for run in receipt["runs"]}
    for start, rows, seed in plan():
        if (start, rows, seed) in done or time.monotonic() > deadline:
            continue
        model, cost = fit(start, data.take(train, rows), watched, tokenizer, rates[start], seed)
        result = training.evaluate(model, test, tokenizer)
        print(start, rows, seed, result, cost, sep=" | ", flush=True)
        receipt["runs"].append(
            {"name": start, "train_rows": rows, "epochs": EPOCHS[rows], "seed": seed}
            | {"learning_rate": rates[start]}
            | {"accuracy": result.accuracy, "interval": result.interval, "f1": result.f1}
            | cost.to_dict()
        )
        recording.save(
            RECEIPT, receipt
        )  # after each run, so that an interrupt loses only the one it cuts short
    print(f"{len(plan()) - len(receipt['runs'])} runs are left")


def new_receipt() -> dict:
    header = recording.header(
        what="test accuracy with and without pretraining, by number of labeled sentences",
        made_by="python -m benchmarks.labels",
        packages=("torch", "transformers", "codecarbon"),
        files=("reviews/train.csv", "reviews/test.csv", "models/pocket-bert/model.safetensors"),
    )
    return header | {"settings": {"epochs": EPOCHS, "continued": CONTINUE, **SETTINGS}, "runs": []}


if __name__ == "__main__":
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    transformers.utils.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    os.environ["COURSE_STATIC"] = "1"
    main()
