"""Records what smaller models are worth beside the fine-tuned BERT, and what each costs to make and to use.

    python -m benchmarks.compression    # about 45 minutes on 2 quiet cores; after an interrupt it goes on

The teachers have all six layers and are fine-tuned by the recipe "[CLS] alone" of benchmarks/recipes.py; how
students are made is in STUDENT and SMALL. Every choice, the cascade's threshold too, is made on training and
validation sentences; each model met the test split once in each record, the cascade twice. They stay in
artifacts/compress; benchmarks/serving.py has the ways to serve. Writes data/receipts/compression.json.
"""

import itertools
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
import transformers
from datasets import Dataset, concatenate_datasets
from torch.nn.utils import prune

from benchmarks import COUNTRY, RECEIPTS, begin, pocket_bert, recipes, record, recorded, save, serving
from helpers import assets, compression, data, energy, training, transformer

RECEIPT, FOLDER = RECEIPTS / "compression.json", assets.ROOT / "artifacts" / "compress"
DOMAIN_ROWS, IMPORTANCE_ROWS = 400, 512
SMALLEST_PROBABILITY = 1e-37  # near float32's smallest: a probability that became 0 has no logarithm

STUDENT = {
    "layers": [0, 2, 5],  # of the teacher's six
    "units": None,  # in each feed-forward part; all 1,536 if None
    "teachers": 1,  # or as many as there are seeds: their mean log probability counts
    "pieces": 0,  # of each training sentence, for the teachers to answer as well
    "scratch": None,  # the shape of a model from random weights, instead of the teacher's layers
    "epochs": 2,
    "learning_rate": 1e-4,
    "head_learning_rate": 3e-4,
    "temperature": 2,
    "share": 0.9,  # alpha, the weight of the teacher's term in the loss; 0 is the labels alone
}
TINY = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 512}
LONG = {"epochs": 4, "learning_rate": 1e-3, "head_learning_rate": 1e-3}
FROM_SCRATCH = STUDENT | {"layers": None, "scratch": TINY} | LONG
TRIED = 16  # shapes and rates for “small”, judged on validation and 2,000 training sentences they didn't see
SMALL = STUDENT | {"layers": [0, 1, 2, 3], "units": 768, "teachers": 3, "pieces": 3}
SMALL |= {"share": 1, "learning_rate": 2e-4}
MODELS = {
    "teacher": recipes.RECIPES["[CLS] alone"],
    "4 layers": STUDENT | {"layers": [0, 2, 4, 5]},
    "3 layers": STUDENT,
    "3 layers, no teacher": STUDENT | {"share": 0},
    "2 layers": STUDENT | {"layers": [0, 5]},
    "2 layers, no teacher": STUDENT | {"layers": [0, 5], "share": 0},
    "tiny from scratch": FROM_SCRATCH,
    "tiny from scratch, no teacher": FROM_SCRATCH | {"share": 0},
    "small": SMALL,
    "small, no pieces": SMALL | {"pieces": 0, "epochs": 5},  # as many tokens
    "small, one teacher": SMALL | {"teachers": 1},
}
MODELS |= {f"{name} int8": {"of": name} for name in serving.QUANTIZED}
SEEDS = (0, 1, 2)
PRUNING = {
    "of": "3 layers",
    "shares": [0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],  # sparsity, without any training after it
    "rows": 2_400,  # sentences to train on after pruning, in all rounds together
    "learning_rate": 5e-5,
    "zeros": {"at once": [0.8], "in three rounds": [0.5, 0.7, 0.8]},
    "sizes": {"at once": [(6, 768)], "in three rounds": [(10, 1_280), (8, 1_024), (6, 768)]},
}
PARTS = {"pruning": PRUNING, "cascade": serving.CASCADE, "serving": serving.SERVING}


class Work:
    """The data, the models as files, and what they answered; the `sealed` sentences train nothing."""

    def __init__(self, sealed: Sequence[int] = ()) -> None:
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(assets.fetch_model())
        self.splits = ("validation",) if sealed else ("validation", "test", *data.DOMAINS)
        self.folder, self.rows, self.sealed = FOLDER / f"sealed-{sealed[0]}" if sealed else FOLDER, {}, sealed
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("train", *self.splits):
            rows = data.load_reviews(name)
            if name in data.DOMAINS:
                rows = data.take(rows.shuffle(seed=0), min(DOMAIN_ROWS, len(rows)))
            self.rows[name] = data.tokenize(rows, self.tokenizer)
        self.rows["sealed"] = self.rows["train"].select(sealed)
        self.rows["train"] = recipes.without(self.rows["train"], sealed)
        self.rows["pieces"] = pieces(self.rows["train"], SMALL["pieces"], self.tokenizer)

    def path(self, name: str, seed: int, ending: str = "") -> Path:
        return self.folder / f"{name.replace(' ', '-').replace(',', '')}-{seed}{ending}"

    def load(self, name: str, seed: int):
        """The model from its file, computing what its head reads and no more."""
        if "of" in MODELS[name]:
            return compression.OnnxClassifier(self.path(name, seed, ".onnx"))
        return transformer.first_position_only(self.whole(name, seed))

    def whole(self, name: str, seed: int):
        """The model from its file, as it was saved."""
        return transformers.BertForSequenceClassification.from_pretrained(self.path(name, seed))

    def answers(self, name: str, seed: int) -> dict[str, np.ndarray]:
        """Probabilities by split, as `made` kept them."""
        with np.load(self.path(name, seed, ".npz")) as file:
            return dict(file)

    def evaluate(self, model, split: str) -> training.Evaluation:
        return training.evaluate(model, self.rows[split], self.tokenizer)

    def importance(self, model, rows: int = IMPORTANCE_ROWS) -> compression.Importance:
        """What the model's heads and units are worth to it, on some training sentences."""
        some = data.take(self.rows["train"], min(rows, IMPORTANCE_ROWS, len(self.rows["train"])))
        return compression.importance(model, some, self.tokenizer)

    def outcome(self, probabilities: dict[str, np.ndarray]) -> dict:
        """How good the answers are, as plain values."""
        labels = {split: np.array(self.rows[split]["label"]) for split in self.splits}
        scored = {split: training.score(labels[split], probabilities[split]) for split in self.splits}
        test, others = scored["test"], {name: scored[name] for name in data.DOMAINS}
        found = {"test_accuracy": test.accuracy, "test_interval": test.interval}
        found["test_recall"] = (test.confusion.diagonal() / test.confusion.sum(axis=1)).tolist()
        found["test_positive_per_mille"] = " ".join(str(round(1_000 * p)) for p in test.probabilities[:, 1])
        found["domains"] = {n: {"accuracy": s.accuracy, "interval": s.interval} for n, s in others.items()}
        return found | {"validation_accuracy": scored["validation"].accuracy}


def pieces(rows, count: int, tokenizer):
    """`count` random pieces of each sentence, of four words or more, with its label: the same each time."""
    draw, texts = np.random.default_rng(0), []
    for text in rows["text"][:]:
        words = text.split()
        for _ in range(count):
            length = draw.integers(min(4, len(words)), len(words), endpoint=True)
            first = draw.integers(0, len(words) - length, endpoint=True)
            texts.append(" ".join(words[first : first + length]))
    labels = np.repeat(rows["label"][:], count)
    return data.tokenize(Dataset.from_dict({"text": texts, "label": labels}), tokenizer)


def fine_tuned(work: Work, name: str, seed: int) -> tuple:
    """Make a teacher, and let it answer the training sentences, once for all its students."""
    model, evaluations, cost = recipes.run(name, MODELS[name] | {"sealed": work.sealed}, seed)
    found, answers = {"cost": cost, "epochs": evaluations}, {}
    for part in ("train", "pieces"):
        with energy.measure(part, country=COUNTRY) as meter:
            answers[part] = work.evaluate(model, part).probabilities
        found[f"{part}_answers_cost"] = meter.result
    return model, found, answers


def new_student(settings: dict, teacher, work: Work):
    if settings["scratch"]:
        shape = settings["scratch"] | pocket_bert.NO_DROPOUT | {"vocab_size": teacher.config.vocab_size}
        build = transformers.BertForSequenceClassification
        return transformer.first_position_only(build(transformers.BertConfig(**shape, num_labels=2)))
    if settings["units"]:
        teacher = compression.shrink(teacher, units=settings["units"], scores=work.importance(teacher))
    student = compression.student(teacher, settings["layers"])
    student.bert.embeddings.requires_grad_(False)
    return student


def distil(student, logits: np.ndarray, train, validation, tokenizer, *, alpha, temperature, **settings):
    """Train the student in place on its teacher's logits for the training rows, in their order."""
    teacher = torch.as_tensor(logits, dtype=torch.float32)

    def loss(model, batch: dict) -> torch.Tensor:
        index, labels = batch.pop("index"), batch.pop("labels")
        logits = model(**batch).logits
        taught = teacher[index.cpu()].to(logits.device)
        return compression.distillation_loss(logits, taught, labels, temperature=temperature, alpha=alpha)

    return training.fine_tune(student, train, validation, tokenizer, compute_loss=loss, **settings)


def taught(work: Work, name: str, seed: int) -> tuple:
    """Make a student of the teacher with the same seed."""
    settings = MODELS[name]
    teacher, parts = work.load("teacher", seed), ["train", "pieces"][: 1 + bool(settings["pieces"])]
    read = ["label", "input_ids", "length"]
    train = concatenate_datasets([work.rows[part].select_columns(read) for part in parts])
    given = [work.answers("teacher", each) for each in (SEEDS if settings["teachers"] > 1 else [seed])]
    given = [np.log(np.concatenate([each[part] for part in parts]) + SMALLEST_PROBABILITY) for each in given]
    chosen = {"alpha": settings["share"], "batch_size": MODELS["teacher"]["batch_size"], "seed": seed}
    chosen |= {key: settings[key] for key in ("epochs", "learning_rate", "head_learning_rate", "temperature")}
    with energy.measure(name, country=COUNTRY) as meter:
        transformers.set_seed(seed)
        student = new_student(settings, teacher, work)
        logits = np.mean(given, axis=0)  # but for one constant a row, which every softmax takes out again
        history = distil(student, logits, train, work.rows["validation"], work.tokenizer, **chosen)
    return student, {"cost": meter.result, "epochs": history.epochs}, {}


def quantized(work: Work, name: str, seed: int) -> tuple:
    """Write a model's weights in 8 bits; the fp32 ONNX file stays beside it."""
    of = MODELS[name]["of"]
    model = work.load(of, seed)
    with energy.measure(name, country=COUNTRY) as meter:
        exported = compression.export(model, work.path(f"{of} onnx", seed, ".onnx"))
        small = compression.quantize(exported.path, work.path(name, seed, ".onnx"))
    by_torch = work.answers(of, seed)["validation"]
    asked = (exported, small, compression.OnnxClassifier(small.path))
    by_onnx, by_int8, by_again = (work.evaluate(each, "validation").probabilities for each in asked)
    pairs = {"onnx": (by_onnx, by_torch), "int8": (by_int8, by_torch), "reopened": (by_again, by_int8)}
    found = {f"{name}_differs_by": float(np.abs(a - b).max()) for name, (a, b) in pairs.items()}
    found |= {"onnx_bytes": exported.path.stat().st_size, "weights": model.num_parameters()}
    return small, {"cost": meter.result} | found, {}


def tuned(model, work: Work, turn: int, rows: int, keep_zeros: bool):
    """Train a pruned model on the sentences of this turn; what is zero stays zero."""
    parts = model.bert.encoder.modules() if keep_zeros else ()
    linears = [part for part in parts if isinstance(part, torch.nn.Linear)]
    for linear in linears:
        prune.custom_from_mask(linear, "weight", linear.weight != 0)
    some = work.rows["train"].select(range(turn * rows, (turn + 1) * rows))
    few = data.take(work.rows["validation"], min(32, len(work.rows["validation"])))
    training.fine_tune(model, some, few, work.tokenizer, epochs=1, learning_rate=PRUNING["learning_rate"])
    for linear in linears:
        prune.remove(linear, "weight")  # the mask: its zeros stay in the weights
    return model


def pruned(work: Work) -> dict:
    """Validation accuracy of a student with zeros, or with parts removed; test has no part in it."""
    start = work.load(PRUNING["of"], 0)
    start.bert.embeddings.requires_grad_(False)
    rows = min(PRUNING["rows"], len(work.rows["train"]))

    def accuracy(model) -> float:
        return work.evaluate(model, "validation").accuracy

    untrained = [{"share": s, "accuracy": accuracy(compression.prune(start, s))} for s in PRUNING["shares"]]
    zeros, sizes = [], []
    for how, steps in PRUNING["zeros"].items():
        model = start
        with energy.measure(how, country=COUNTRY) as meter:
            for turn, sparsity in enumerate(steps):
                cut = compression.prune(model, sparsity)
                model = tuned(cut, work, turn, rows // len(steps), keep_zeros=True)
        found = {"share": compression.sparsity(model), "accuracy": accuracy(model)}
        zeros.append({"how": how} | found | {"cost": meter.result})
    for how, steps in PRUNING["sizes"].items():
        model = start
        with energy.measure(how, country=COUNTRY) as meter:
            for turn, (heads, units) in enumerate(steps):
                cut = compression.shrink(model, heads=heads, units=units, scores=work.importance(model, rows))
                before = accuracy(cut) if turn == len(steps) - 1 else None
                model = tuned(cut, work, turn, rows // len(steps), keep_zeros=False)
        found = {"how": how, "heads": heads, "units": units, "untrained": before, "accuracy": accuracy(model)}
        weights = sum(weight.numel() for weight in model.bert.encoder.parameters())
        sizes.append(found | {"encoder_weights": weights, "cost": meter.result})
    return {"whole": accuracy(start), "untrained": untrained, "zeros": zeros, "sizes": sizes}


def made(work: Work, name: str, seed: int) -> tuple[dict, dict]:
    """Make one model and let it answer; return what is told of it, and its probabilities by split."""
    settings = MODELS[name]
    make = fine_tuned if name == "teacher" else quantized if "of" in settings else taught
    model, found, more = make(work, name, seed)
    file = work.path(name, seed, ".onnx")
    if make is not quantized:
        model.save_pretrained(work.path(name, seed))
        file = work.path(name, seed) / "model.safetensors"
    size = {"weights": sum(each.numel() for each in model.parameters()), "file_bytes": file.stat().st_size}
    answers = {split: work.evaluate(model, split).probabilities for split in work.splits}
    np.savez(work.path(name, seed, ".npz"), **answers, **more)
    return {"settings": settings} | size | found, answers


def kept(work: Work) -> dict:
    """What an earlier call made on the same machine and data, up to the first part that no longer holds."""
    before, settings = recorded(RECEIPT)
    if settings.get("domain_rows") != DOMAIN_ROWS:
        return {"runs": []}
    models, parts = json.loads(json.dumps([MODELS, PARTS]))  # as a file gives them back

    def holds(run: dict) -> bool:
        name = run["name"]
        return work.path(name, run["seed"], ".npz").is_file() and run["settings"] == models.get(name)

    runs = list(itertools.takewhile(holds, before["runs"]))  # what a model rests on comes before it
    same = itertools.takewhile(lambda part: settings[part] == parts[part], parts)
    whole = [part for part in same if part in before] if len(runs) == len(MODELS) * len(SEEDS) else []
    return {"runs": runs} | {part: before[part] for part in whole}


def main() -> None:
    what = "accuracy, size and energy of a fine-tuned BERT made smaller, and of ways to serve it"
    files = [f"reviews/{name}.csv" for name in data.REVIEWS + data.DOMAINS]
    settings = PARTS | {"domain_rows": DOMAIN_ROWS, "seeds": SEEDS}
    keep = partial(save, RECEIPT, "benchmarks.compression", what, files, settings)
    work = Work()
    found = kept(work)

    def make(name: str, seed: int) -> dict:
        run, answers = made(work, name, seed)
        return run | work.outcome(answers)

    record(found, itertools.product(MODELS, SEEDS), ("name", "seed"), make, keep)
    do = {"pruning": lambda: pruned(work), "cascade": lambda: serving.cascaded(work, SEEDS)}
    do["serving"] = lambda: serving.served(work, found["cascade"]["chosen"])
    for part in do:
        if part not in found:
            found[part] = do[part]()
            print(part, "done", flush=True)
            keep(found)


if __name__ == "__main__":
    begin(__doc__)
    main()
