"""Records what smaller models are worth beside the fine-tuned BERT, and what each costs to make and to use.

    python -m benchmarks.compression                # all of it, about 45 minutes on 2 quiet cores
    python -m benchmarks.compression --minutes 5    # start no part later than 5 minutes from now

The teachers have all six layers and are fine-tuned by the recipe "[CLS] alone" of benchmarks/recipes.py. Each
model is made with three seeds, a student from the teacher with its seed. A student has some of the teacher's
layers, learns from its probabilities, and is trained as long as the others. Every choice, the cascade's
threshold among them, is made on validation; each model met the test split once. The cascade met it twice,
because a first rule for its threshold was given up after the test: “Compress the model” tells of it.

The models stay in artifacts/compress. Writes data/receipts/compression.json, which “Compress the model” shows. A
part that is there already, with the same settings on the same machine and data, is kept: after an interrupt,
the same call goes on.
"""

import argparse
import datetime
import json
import math
import os
import time
from functools import partial

import numpy as np
import torch
import transformers
from accelerate.utils import set_seed

from benchmarks import recipes, recording, serving
from helpers import assets, compression, data, energy, training, transformer

RECEIPT = assets.DATA / "receipts" / "compression.json"
FOLDER = assets.ROOT / "artifacts" / "compress"
COUNTRY = "USA"
DOMAIN_ROWS = 400
IMPORTANCE_ROWS = 512

STUDENT = {
    "layers": [0, 2, 5],  # of the teacher's six
    "units": None,  # in each feed-forward part; all 1,536 if None
    "trimmed": False,  # True keeps the tokens of the training sentences alone
    "scratch": None,  # the shape of a model from random weights, instead of the teacher's layers
    "epochs": 2,
    "learning_rate": 1e-4,
    "head_learning_rate": 3e-4,
    "temperature": 2,
    "share": 0.9,  # of the teacher's term in the loss; 0 is the labels alone
}
TINY = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 512}
FROM_SCRATCH = STUDENT | {
    "layers": None,
    "scratch": TINY,
    "epochs": 4,
    "learning_rate": 1e-3,
    "head_learning_rate": 1e-3,
}
MODELS = {
    "teacher": recipes.FIRST_POSITION,
    "4 layers": STUDENT | {"layers": [0, 2, 4, 5]},
    "3 layers": STUDENT,
    "3 layers, no teacher": STUDENT | {"share": 0},
    "2 layers": STUDENT | {"layers": [0, 5]},
    "2 layers, no teacher": STUDENT | {"layers": [0, 5], "share": 0},
    "tiny from scratch": FROM_SCRATCH,
    "tiny from scratch, no teacher": FROM_SCRATCH | {"share": 0},
    "small": STUDENT | {"units": 768, "trimmed": True},
    "teacher int8": {"of": "teacher"},
    "4 layers int8": {"of": "4 layers"},
    "small int8": {"of": "small"},
}
SEEDS = (0, 1, 2)

PRUNING = {
    "of": "3 layers",
    "shares": [0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],  # of zeros, without any training after it
    "rows": 2_400,  # sentences to train on after pruning, in all rounds together
    "learning_rate": 5e-5,
    "zeros": {"at once": [0.8], "in three rounds": [0.5, 0.7, 0.8]},
    "sizes": {"at once": [(6, 768)], "in three rounds": [(10, 1_280), (8, 1_024), (6, 768)]},
}
CASCADE = {
    "of": "4 layers int8",  # answers what TF-IDF is not sure of
    "thresholds": [round(0.5 + 0.02 * step, 2) for step in range(26)],
    "measured": [0.6, 0.7, 0.8, 0.9],
}
SERVED = (
    "teacher",
    "4 layers",
    "3 layers",
    "2 layers",
    "small",
    "teacher int8",
    "4 layers int8",
    "small int8",
)
SERVING = {"texts": 256, "rounds": 5, "window_s": 1.2, "idle_s": 5.0, "latency_s": 3.0, "loadgen_s": 3.0}

PARTS = {"pruning": PRUNING, "cascade": CASCADE, "serving": SERVING}


class Work:
    """The data, the models as files, and what they answered."""

    def __init__(self) -> None:
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(assets.fetch_model())
        self.rows = {split: data.load_reviews(split) for split in data.REVIEWS}
        for name in data.DOMAINS:
            rows = data.load_reviews(name).shuffle(seed=0)
            self.rows[name] = data.take(rows, min(DOMAIN_ROWS, len(rows)))
        self.rows = {name: data.tokenize(rows, self.tokenizer) for name, rows in self.rows.items()}
        self.splits = ("validation", "test", *data.DOMAINS)

    def path(self, name: str, seed: int, ending: str = ""):
        return FOLDER / f"{name.replace(' ', '-').replace(',', '')}-{seed}{ending}"

    def load(self, name: str, seed: int):
        """The model from its file, computing what its head reads and no more."""
        if "of" in MODELS[name]:
            return compression.OnnxClassifier(self.path(name, seed, ".onnx"))
        return transformer.first_position_only(compression.load(self.path(name, seed)))

    def answers(self, name: str, seed: int) -> dict[str, np.ndarray]:
        """Probabilities by split, as `ask` kept them."""
        with np.load(self.path(name, seed, ".npz")) as file:
            return dict(file)

    def ask(self, model, name: str, seed: int, **more) -> dict[str, np.ndarray]:
        """The model's probabilities for each split, kept in a file together with `more`."""
        found = {
            split: training.evaluate(model, self.rows[split], self.tokenizer).probabilities
            for split in self.splits
        }
        np.savez(self.path(name, seed, ".npz"), **found, **more)
        return found

    def outcome(self, probabilities: dict[str, np.ndarray]) -> dict:
        """How good the answers are, as plain values."""
        scored = {
            split: training.score(np.array(self.rows[split]["label"]), probabilities[split])
            for split in self.splits
        }
        test = scored["test"]
        return {
            "validation_accuracy": scored["validation"].accuracy,
            "test_accuracy": test.accuracy,
            "test_interval": test.interval,
            "test_recall": (test.confusion.diagonal() / test.confusion.sum(axis=1)).tolist(),
            "test_positive_per_mille": " ".join(str(round(1_000 * p)) for p in test.probabilities[:, 1]),
            "domains": {
                name: {"accuracy": scored[name].accuracy, "interval": scored[name].interval}
                for name in data.DOMAINS
            },
        }


def fine_tuned(work: Work, name: str, seed: int) -> dict:
    """Make a teacher, and let it answer the training sentences, once for all its students."""
    model, evaluations, cost = recipes.run(name, MODELS[name], seed)
    with energy.measure("answers", country=COUNTRY) as meter:
        train = training.evaluate(model, work.rows["train"], work.tokenizer).probabilities
    compression.save(model, work.path(name, seed))
    found = work.ask(model, name, seed, train=train)
    return of_model(model, work.path(name, seed) / "model.safetensors", cost) | {
        "answers_cost": meter.result.raw(),
        "answers_results": meter.result.results(),
        "epochs": evaluations,
        **work.outcome(found),
    }


def new_student(settings: dict, teacher, work: Work):
    """A model for `compression.distil` to train."""
    if settings["scratch"]:
        rates = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), 0.0)
        shape = settings["scratch"] | rates | {"vocab_size": teacher.config.vocab_size}
        build = transformers.BertForSequenceClassification
        return transformer.first_position_only(build(transformers.BertConfig(**shape, num_labels=2)))
    if settings["units"]:
        some = data.take(work.rows["train"], min(IMPORTANCE_ROWS, len(work.rows["train"])))
        scores = compression.importance(teacher, some, work.tokenizer)
        teacher = compression.shrink(teacher, units=settings["units"], scores=scores)
    student = compression.student(teacher, settings["layers"])
    if settings["trimmed"]:
        student = compression.trim(student, work.rows["train"], work.tokenizer)
    student.bert.embeddings.requires_grad_(False)
    return student


def taught(work: Work, name: str, seed: int) -> dict:
    """Make a student of the teacher with the same seed."""
    settings = MODELS[name]
    teacher, answers = work.load("teacher", seed), work.answers("teacher", seed)["train"]
    with energy.measure(name, country=COUNTRY) as meter:
        set_seed(seed)
        student = new_student(settings, teacher, work)
        chosen = ("epochs", "learning_rate", "head_learning_rate", "temperature", "share")
        history = compression.distil(
            student,
            answers,
            work.rows["train"],
            work.rows["validation"],
            work.tokenizer,
            batch_size=MODELS["teacher"]["batch_size"],
            seed=seed,
            **{key: settings[key] for key in chosen},
        )
    compression.save(student, work.path(name, seed))
    found = work.ask(student, name, seed)
    return of_model(student, work.path(name, seed) / "model.safetensors", meter.result) | {
        "epochs": history.epochs,
        **work.outcome(found),
    }


def quantized(work: Work, name: str, seed: int) -> dict:
    """Write a model's weights in 8 bits; the fp32 ONNX file stays beside it."""
    of = MODELS[name]["of"]
    model, path = work.load(of, seed), work.path(name, seed, ".onnx")
    with energy.measure(name, country=COUNTRY) as meter:
        exported = compression.export(model, work.path(f"{of} onnx", seed, ".onnx"))
        small = compression.quantize(exported.path, path)
    found = work.ask(small, name, seed)
    again = training.evaluate(compression.OnnxClassifier(path), work.rows["validation"], work.tokenizer)
    by_torch = work.answers(of, seed)["validation"]
    by_onnx = training.evaluate(exported, work.rows["validation"], work.tokenizer).probabilities
    return of_model(model, path, meter.result) | {
        "onnx_bytes": exported.path.stat().st_size,
        "onnx_differs_by": float(np.abs(by_onnx - by_torch).max()),
        "int8_differs_by": float(np.abs(found["validation"] - by_torch).max()),
        "reopened_differs_by": float(np.abs(again.probabilities - found["validation"]).max()),
        **work.outcome(found),
    }


def of_model(model, path, cost: energy.Measurement) -> dict:
    """Its size, and what it cost to make."""
    weights = sum(weight.numel() for weight in model.parameters())
    results = {"weights": weights, "file_bytes": path.stat().st_size}
    return results | {"cost": cost.raw(), "results": cost.results()}


def tuned(model, work: Work, first: int, rows: int, keep_zeros: bool):
    """Train a pruned model on some of the sentences; what is zero stays zero."""
    linears = [part for part in model.bert.encoder.modules() if isinstance(part, torch.nn.Linear)]
    masks = [(linear.weight, linear.weight != 0) for linear in linears if keep_zeros]

    def set_zeros() -> None:
        with torch.no_grad():
            for weight, mask in masks:
                weight *= mask

    def loss(model, batch: dict) -> torch.Tensor:
        set_zeros()
        del batch["index"]
        return model(**batch).loss

    some = work.rows["train"].select(range(first, first + rows))
    few = data.take(work.rows["validation"], min(32, len(work.rows["validation"])))
    settings = {"epochs": 1, "learning_rate": PRUNING["learning_rate"], "compute_loss": loss}
    training.fine_tune(model, some, few, work.tokenizer, **settings)
    set_zeros()
    return model


def pruned(work: Work) -> dict:
    """Validation accuracy of a student with zeros, or with parts removed; test has no part in it."""
    start, validation = work.load(PRUNING["of"], 0), work.rows["validation"]
    start.bert.embeddings.requires_grad_(False)
    rows = min(PRUNING["rows"], len(work.rows["train"]))

    def accuracy(model) -> float:
        return training.evaluate(model, validation, work.tokenizer).accuracy

    untrained = [
        {"share": share, "accuracy": accuracy(compression.prune(start, share))} for share in PRUNING["shares"]
    ]
    zeros, sizes = [], []
    for how, shares in PRUNING["zeros"].items():
        model, part = start, rows // len(shares)
        with energy.measure(how, country=COUNTRY) as meter:
            for turn, share in enumerate(shares):
                model = tuned(compression.prune(model, share), work, turn * part, part, keep_zeros=True)
        found = {"how": how, "share": compression.zeros(model), "accuracy": accuracy(model)}
        zeros.append(found | {"cost": meter.result.raw(), "results": meter.result.results()})
    for how, steps in PRUNING["sizes"].items():
        model, part = start, rows // len(steps)
        with energy.measure(how, country=COUNTRY) as meter:
            for turn, (heads, units) in enumerate(steps):
                some = data.take(work.rows["train"], min(IMPORTANCE_ROWS, rows))
                scores = compression.importance(model, some, work.tokenizer)
                cut = compression.shrink(model, heads=heads, units=units, scores=scores)
                before = accuracy(cut) if turn == len(steps) - 1 else None
                model = tuned(cut, work, turn * part, part, keep_zeros=False)
        found = {"how": how, "heads": heads, "units": units, "untrained": before, "accuracy": accuracy(model)}
        weights = sum(weight.numel() for weight in model.bert.encoder.parameters())
        found |= {"encoder_weights": weights, "cost": meter.result.raw()}
        sizes.append(found | {"results": meter.result.results()})
    return {"whole": accuracy(start), "untrained": untrained, "zeros": zeros, "sizes": sizes}


def gate_of(work: Work):
    train = work.rows["train"]
    return serving.fit_gate(train["text"][:], train["label"][:])


def cascaded(work: Work) -> dict:
    """The cascade's curve on validation, the threshold that follows from it, and one look at test."""
    [cost] = energy.repeat({"TF-IDF": partial(gate_of, work)}, 1, country=COUNTRY, window_s=1.0)["TF-IDF"]
    gate = gate_of(work)
    gates = {split: gate.predict_proba(work.rows[split]["text"][:]) for split in work.splits}
    model, labels = CASCADE["of"], np.array(work.rows["validation"]["label"])
    rest = [work.answers(model, seed) for seed in SEEDS]

    def accuracies(threshold: float) -> list[float]:
        both = [serving.combined(gates["validation"], each["validation"], threshold) for each in rest]
        return [training.score(labels, probabilities).accuracy for probabilities in both]

    curve = [
        {
            "threshold": threshold,
            "asked": float((gates["validation"].max(axis=1) < threshold).mean()),
            "accuracies": accuracies(threshold),
        }
        for threshold in CASCADE["thresholds"]
    ]
    alone = accuracies(math.inf)
    chosen = max(curve, key=lambda point: np.mean(point["accuracies"]))["threshold"]  # the lowest of the best
    return {
        "gate": work.outcome(gates) | {"cost": cost.raw(), "results": cost.results()},
        "alone": alone,
        "curve": curve,
        "chosen": chosen,
        "asked_of_test": float((gates["test"].max(axis=1) < chosen).mean()),
        "seeds": [
            {"seed": seed}
            | work.outcome({s: serving.combined(gates[s], each[s], chosen) for s in work.splits})
            for seed, each in zip(SEEDS, rest, strict=True)
        ],
    }


def ways_to_serve(work: Work, threshold: float) -> dict:
    """By name, a function from texts to classes."""
    whole, tokenizer = compression.load(work.path("teacher", 0)), work.tokenizer
    ways = {
        "one by one, padded to 128": {"model": whole, "batch_size": 1, "pad_to": serving.MAX_LENGTH},
        "one by one": {"model": whole, "batch_size": 1},
        "as they come": {"model": whole, "by_length": False},
        "like lengths": {"model": whole},
    }
    ways |= {name: {"model": work.load(name, 0)} for name in SERVED}
    ways["small onnx"] = {"model": compression.OnnxClassifier(work.path("small onnx", 0, ".onnx"))}
    functions = {name: partial(serving.answer, tokenizer=tokenizer, **way) for name, way in ways.items()}
    gate = gate_of(work)
    functions["TF-IDF"] = lambda texts: gate.predict_proba(list(texts)).argmax(axis=1).tolist()
    for at in sorted({*CASCADE["measured"], threshold}):
        rest = functions[CASCADE["of"]]
        functions[f"cascade {at:.2f}"] = partial(serving.cascade, gate=gate, threshold=at, rest=rest)
    return functions


def served(work: Work, threshold: float) -> dict:
    """Energy of answering the same texts in each way, in turns; latency one by one; LoadGen."""
    texts = work.rows["test"]["text"][: SERVING["texts"]]
    ways = ways_to_serve(work, threshold)
    before = energy.idle(SERVING["idle_s"])
    runs = energy.repeat(
        {name: partial(way, texts) for name, way in ways.items()},
        SERVING["rounds"],
        country=COUNTRY,
        window_s=SERVING["window_s"],
    )
    latencies, loads = {}, {}
    chosen = f"cascade {threshold:.2f}"
    finalists = ["one by one, padded to 128", "like lengths", *MODELS, "TF-IDF", chosen]
    asked = {"one by one, padded to 128", "like lengths", "small int8", CASCADE["of"], "TF-IDF", chosen}
    for name in (name for name in finalists if name in ways):
        way = ways[name]
        found = energy.per_1000(name, way, texts, country=COUNTRY, window_s=SERVING["latency_s"])
        latencies[name] = {"raw": found.raw(), "results": found.results()}
        if name not in asked:
            continue
        seconds = np.median([run.wall_s / run.work["calls"] for run in runs[name]])
        loads[name] = serving.loadgen(way, texts, SERVING["loadgen_s"], len(texts) / seconds)
        print(found, loads[name], sep="\n", flush=True)
    for name, rounds in runs.items():
        print(name, serving.joules_per_1000(rounds, len(texts)), flush=True)
    return {
        "texts": len(texts),
        "threads": torch.get_num_threads(),
        "idle": [reading.reading.raw() for reading in (before, energy.idle(SERVING["idle_s"]))],
        "rounds": {name: [run.raw() for run in each] for name, each in runs.items()},
        "joules_per_1000": {name: serving.joules_per_1000(each, len(texts)) for name, each in runs.items()},
        "latency": latencies,
        "loadgen": loads,
    }


def plan() -> list[tuple[str, int]]:
    """Every model with every seed, a teacher before its students."""
    return [(name, seed) for name in MODELS for seed in SEEDS]


def made(work: Work, name: str, seed: int) -> dict:
    """Make one model."""
    settings = MODELS[name]
    make = fine_tuned if name == "teacher" else quantized if "of" in settings else taught
    run = {"name": name, "seed": seed, "date": datetime.date.today().isoformat(), "settings": settings}
    return run | make(work, name, seed)


def recorded(work: Work) -> dict:
    """Parts of an earlier call that still hold: the same machine, data and settings, and the models there."""
    if not RECEIPT.is_file():
        return {"runs": []}
    receipt = json.loads(RECEIPT.read_text())
    if not recording.still_holds(receipt) or receipt["settings"]["domain_rows"] != DOMAIN_ROWS:
        return {"runs": []}
    there = {(run["name"], run["seed"]): run for run in receipt["runs"]}
    kept = {}
    for name, seed in plan():  # what a model rests on comes before it
        run = there.get((name, seed))
        below = MODELS[name].get("of", None if name == "teacher" else "teacher")
        holds = run is not None and run["settings"] == plain(MODELS[name])
        if holds and (below is None or (below, seed) in kept) and work.path(name, seed, ".npz").is_file():
            kept[name, seed] = run
    found = {"runs": list(kept.values())}
    rests_on = {
        "pruning": {(PRUNING["of"], 0)},
        "cascade": {(CASCADE["of"], seed) for seed in SEEDS},
        "serving": {(name, 0) for name in SERVED},
    }
    for part, settings in PARTS.items():
        holds = rests_on[part] <= kept.keys() and (part != "serving" or "cascade" in found)  # its threshold
        if part in receipt and holds and receipt["settings"][part] == plain(settings):
            found[part] = receipt[part]
    return found


def plain(settings) -> object:
    """Settings as a file gives them back."""
    return json.loads(json.dumps(settings))


def save(found: dict) -> None:
    """Write the receipt: the models in their order, and what rests on them."""
    head = recording.header(
        "accuracy, size and energy of a fine-tuned BERT made smaller, and of ways to serve it",
        "python -m benchmarks.compression",
        ("torch", "transformers", "codecarbon", "onnxruntime", "scikit-learn", "mlcommons-loadgen"),
        [f"reviews/{name}.csv" for name in data.REVIEWS + data.DOMAINS],
    )
    order = plan()
    runs = sorted(found["runs"], key=lambda run: order.index((run["name"], run["seed"])))
    settings = plain(PARTS) | {"domain_rows": DOMAIN_ROWS, "seeds": SEEDS}
    recording.save(RECEIPT, head | {"settings": settings} | found | {"runs": runs})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=math.inf, help="start no part later than this")
    asked = parser.parse_args()
    deadline = time.monotonic() + 60 * asked.minutes
    os.environ["COURSE_STATIC"] = "1"  # no bars
    transformers.utils.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    FOLDER.mkdir(parents=True, exist_ok=True)
    work = Work()
    found = recorded(work)
    done = {(run["name"], run["seed"]) for run in found["runs"]}
    for name, seed in plan():
        if (name, seed) in done:
            continue
        if time.monotonic() > deadline:
            return
        run = made(work, name, seed)
        words = f"validation {run['validation_accuracy']:.1%}, {run['file_bytes'] / 1e6:.1f} MB"
        print(name, seed, words, f"{run['cost']['wall_s']:.0f} s", sep=" | ", flush=True)
        found["runs"].append(run)
        save(found)  # after each run, so that an interrupt loses only the one it cuts short
    parts = {
        "pruning": pruned,
        "cascade": cascaded,
        "serving": lambda work: served(work, found["cascade"]["chosen"]),
    }
    for part, make in parts.items():
        if part in found:
            continue
        if time.monotonic() > deadline:
            return
        found[part] = make(work)
        print(part, "done", flush=True)
        save(found)


if __name__ == "__main__":
    torch.set_num_threads(os.cpu_count())
    main()
