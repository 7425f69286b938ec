"""The capstone's judge: it measures a learner's code on validation, and for a receipt asks hidden rows.

"Hidden" means "not shown": the rows are the second half of the test split, which lies open in `data/`.
"""

import contextlib
import dataclasses
import io
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import psutil
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed

from capstone import submission
from capstone.leaderboard import describe, placement
from capstone.submission import BATCH, HIDDEN_ROWS, MAX_NAME, Attempt, CapstoneError, Entry
from helpers import assets, data, energy, receipts, training
from helpers.values import replacing, require_range

EXPECTED = (
    "Expected: train(train_set, validation_set) takes two datasets with the columns text and label, and "
    "returns a function predict(texts) that takes a list of sentences and returns 0 (negative) or 1 for each."
)
REFERENCE_ROWS, REFERENCE_BATCH = 96, 16  # 6 steps: 2.2 s on 2 cores, in bf16
COUNT = "hidden_rows_asked.txt"  # beside the receipts, and ignored by git
_references: list[energy.Measurement] = []  # of this sitting, which ends with the process


@dataclasses.dataclass(frozen=True, repr=False)
class Judgment:
    """What `judge` found: an attempt, or with a receipt an entry, where it is, and how it stands."""

    entry: Attempt | Entry
    path: Path | None = None
    placement: str = ""

    def __str__(self) -> str:
        ending = "" if self.path is None else f"\n{self.placement}\nreceipt: {self.path.name}"
        return describe(self.entry) + ending

    __repr__ = __str__


def judge(
    train: Callable[[Dataset, Dataset], Callable[[list[str]], Sequence[int]]],
    *,
    name: str,
    target: float,
    budget: float,
    country: str,
    path: str | Path | None = None,
    others: Iterable[Entry] = (),
    window_s: float = 10.0,
) -> Judgment:
    """Measure a training and its predictions on validation. With a path, ask hidden rows and write a receipt.

    The first call of a sitting, and each receipt once more, runs a short reference training, which counts as
    1. Over budget or under the target is said, and gives a receipt too. An interrupt or an error leaves none.
    Code that raises or returns something else, a setting out of range and changed data raise `CapstoneError`.

    `train` takes the training and the validation split (`data.load_reviews`) and returns `predict`, which
    takes a list of sentences, 100 at a time, and returns a 0 (negative) or 1 (positive) for each. All that
    training needs beyond the pretrained model happens in it: it may be called more than once.

    `name`, up to 40 characters, stands on the leaderboard. `target` is the accuracy to reach, 0 to 1, and
    `budget` how many times as long as the reference training one training and 10,000 predictions may take.
    `path` is the receipt to write, a .json file. Beside it `hidden_rows_asked.txt` counts each asking of
    hidden rows, one that failed too; nobody can see that the file was deleted. `others`, from
    `capstone.submission.read`, are what a receipt is compared with. Predictions are measured for `window_s`;
    an entry measured for less than 10 s gets no rank.
    """
    path = None if path is None else Path(path)
    if not callable(train):
        raise CapstoneError(f"train is a {type(train).__name__}, not a function. {EXPECTED}")
    _check(name, target, budget, path, window_s)
    if not _references:
        _references.append(_reference(country))
    before = _references[-1]
    predict, cost = _train(train, country)
    rows = data.take(data.load_reviews("validation"), HIDDEN_ROWS)
    ask, how = partial(_answers, predict), {"country": country, "batch_size": BATCH, "window_s": window_s}
    served = energy.per_1000("capstone: predict", ask, rows["text"][:], rows["label"][:], **how)
    attempt = Attempt(name.strip(), target, budget, cost, served, (before,))
    if path is None:
        return Judgment(attempt)
    _references.append(_reference(country))
    entry = _hand_in(dataclasses.replace(attempt, references=(before, _references[-1])), predict, path)
    return Judgment(entry, path, placement(entry, others))


def _hand_in(attempt: Attempt, predict: Callable, path: Path) -> Entry:
    """Ask hidden rows, once, and write the receipt."""
    hidden, asked = submission.hidden_rows(), _asked(path) + 1
    with replacing(path.with_name(COUNT)) as new:  # beforehand: rows that break off were asked too
        new.write_text(f"{asked}\n", encoding="utf-8")
    texts, labels = hidden["text"][:], hidden["label"][:]
    answers = [a for at in range(0, len(texts), BATCH) for a in _answers(predict, texts[at : at + BATCH])]
    right = sum(answer == label for answer, label in zip(answers, labels, strict=True))
    predictions = dataclasses.replace(attempt.predictions, right=right, scored=len(labels))
    task = {"task": submission.TASK, "name": attempt.name, "target": attempt.target, "budget": attempt.budget}
    task |= {"commitment": submission.COMMITMENT, "answers": "".join(map(str, answers)), "asked": asked}
    task["machine_cores"] = psutil.cpu_count() or 1  # not a container's: see `read`
    figures = dict(zip(submission.FIGURES, (attempt.training, predictions, *attempt.references), strict=True))
    inputs = [assets.DATA / split for split in submission.SPLITS]
    what = "accuracy on hidden rows, and the energy of training and of predictions"
    receipt = receipts.make(what, figures, made_by="capstone.judge.judge", inputs=inputs, settings=task)
    receipts.save(receipt, path)
    return submission.read(receipt)


def _asked(path: Path) -> int:
    """How often hidden rows were asked from a receipt's folder, as far as its file tells."""
    count = path.with_name(COUNT)
    try:
        text = count.read_text(encoding="utf-8") if count.exists() else "0"
        require_range("the count", int(text), 0, 1e9, whole=True)
    except ValueError as error:
        raise CapstoneError(f"{COUNT}: {error}. Expected how often hidden rows were asked.") from error
    return int(text)


def _reference(country: str) -> energy.Measurement:
    """Measure the reference training: a few seeded steps, the same on every machine."""
    folder = assets.resolve_model("all-MiniLM-L6-v2")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = data.tokenize(data.take(data.load_reviews("train"), REFERENCE_ROWS), tokenizer)
    few = data.take(rows, REFERENCE_BATCH)
    set_seed(0)
    settings = {"epochs": 1, "batch_size": REFERENCE_BATCH}
    training.release_memory()  # what the code before has left
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    model.bert.embeddings.requires_grad_(False)  # half of the memory, hardly any of the time
    with contextlib.redirect_stdout(io.StringIO()):
        training.fine_tune(model, few, few, tokenizer, **settings)  # the first step sets things up
        with energy.measure("capstone: reference", country=country) as meter:
            history = training.fine_tune(model, rows, few, tokenizer, **settings)
    if history.stopped == "interrupted":
        raise KeyboardInterrupt
    return meter.result


def _check(name: str, target: float, budget: float, path: Path | None, window_s: float) -> None:
    """Refuse settings that are out of range, and data that changed, before anything runs."""
    if not isinstance(name, str) or not name.strip().isprintable() or not 1 <= len(name.strip()) <= MAX_NAME:
        raise CapstoneError(f"name is {name!r}: expected 1 to {MAX_NAME} printable characters.")
    if path is not None:
        if path.suffix != ".json":
            raise CapstoneError(f"path is {path.name!r}: expected a file that ends in .json.")
        _asked(path)
    for what, value, most in (("target", target, 1), ("budget", budget, 1e9), ("window_s", window_s, 1e9)):
        require_range(what, value, 0, most, above=True, error=CapstoneError)
    sums = assets.data_sums()
    if any(assets.sha256(assets.DATA / split) != sums[split] for split in submission.SPLITS):
        raise CapstoneError("The reviews in data/ were changed: run `git checkout -- data` and judge again.")


def as_labels(got: object, count: int) -> list[int]:
    """What a `predict` returned, as ints; `CapstoneError` if it isn't a 0 or 1 for each of `count` sentences.

    Examples
    --------
    >>> as_labels((True, 0.0, 1), 3)
    [1, 0, 1]
    """
    got = got.tolist() if hasattr(got, "tolist") else got  # an array or a tensor
    if isinstance(got, str | bytes | Mapping) or not isinstance(got, Iterable):
        raise CapstoneError(f"predict returned a {type(got).__name__}. {EXPECTED}")
    labels = [label.item() if hasattr(label, "item") else label for label in got]
    if len(labels) != count:
        raise CapstoneError(f"predict got {count} sentences and returned {len(labels)} answers. {EXPECTED}")
    for label in labels:
        if not isinstance(label, int | float) or label not in (0, 1):
            hint = " Scores of classes? Take the class of the highest: scores.argmax(axis=1)."
            hint = hint if isinstance(label, list | float) else ""
            raise CapstoneError(f"predict returned the answer {repr(label)[:60]}.{hint} {EXPECTED}")
    return [int(label) for label in labels]


def _answers(predict: Callable, texts: Sequence[str]) -> list[int]:
    try:
        got = predict(list(texts))
    except Exception as error:
        raise CapstoneError(f"predict raised {type(error).__name__}: {error}. {EXPECTED}") from error
    return as_labels(got, len(texts))


def _train(train: Callable, country: str) -> tuple[Callable, energy.Measurement]:
    """Call `train` as often as its window takes, and measure that."""
    splits, predict = [data.load_reviews(split) for split in ("train", "validation")], None
    with energy.measure("capstone: train", country=country) as meter:
        began = time.perf_counter()
        while predict is None or time.perf_counter() - began < submission.TRAIN_WINDOW_S:
            try:
                predict = train(*splits)
            except Exception as error:
                raise CapstoneError(f"train raised {type(error).__name__}: {error}. {EXPECTED}") from error
            if not callable(predict):
                raise CapstoneError(f"train returned a {type(predict).__name__}, not a function. {EXPECTED}")
            meter.count(calls=1)
    return predict, meter.result
