"""The capstone's judge: it measures a learner's code, checks it on hidden rows, and writes a receipt.

"Hidden" means "not shown": the rows are the second half of the test split, which lies open in `data/`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from capstone import submission
from capstone.leaderboard import describe, placement
from capstone.submission import MAX_NAME, CapstoneError, Entry
from helpers import assets, data, energy, receipts
from helpers.values import require_range

if TYPE_CHECKING:
    from datasets import Dataset

EXPECTED = (
    "Expected: train(train_set, validation_set) takes two datasets with the columns text and label, and "
    "returns a function predict(texts) that takes a list of sentences and returns 0 (negative) or 1 for each."
)


@dataclass(frozen=True, repr=False)
class Judgment:
    """What `judge` found: the entry, where its receipt is, and how it stands against others."""

    entry: Entry
    path: Path
    placement: str

    def __str__(self) -> str:
        return f"{describe(self.entry)}\n{self.placement}\nreceipt: {self.path.name}"

    __repr__ = __str__


def judge(
    train: Callable[[Dataset, Dataset], Callable[[list[str]], Sequence[int]]],
    *,
    name: str,
    path: str | Path,
    target: float,
    budget_wh: float,
    country: str,
    others: Iterable[Entry] = (),
    window_s: float = 10.0,
) -> Judgment:
    """Measure a training and its predictions, count what is right on the hidden rows, write a receipt.

    Over budget or under the target is said, and gives a receipt too. An interrupt or an error leaves none.

    Parameters
    ----------
    train : callable
        Takes the training and the validation split (`data.load_reviews`), returns `predict`, which takes a
        list of sentences, 100 at a time, and returns a 0 (negative) or 1 (positive) for each. All that
        training needs beyond the pretrained model happens in it: it may be called more than once.
    name, path : str and path
        What stands on the leaderboard, up to 40 characters; the receipt to write, a .json file.
    target, budget_wh : float
        Accuracy to reach, 0 to 1, and watt-hours for one training and 10,000 predictions.
    others : iterable of Entry
        What to compare with, from `capstone.submission.read`.
    window_s : float
        How long predictions are measured; an entry measured for less than 10 s gets no rank.

    Raises
    ------
    CapstoneError
        If the code raises or returns what was not expected, a setting is out of range, or the data changed.
    """
    path = Path(path)
    if not callable(train):
        raise CapstoneError(f"train is a {type(train).__name__}, not a function. {EXPECTED}")
    if not isinstance(name, str) or not name.strip().isprintable() or not 1 <= len(name.strip()) <= MAX_NAME:
        raise CapstoneError(f"name is {name!r}: expected 1 to {MAX_NAME} printable characters.")
    if path.suffix != ".json":
        raise CapstoneError(f"path is {path.name!r}: expected a file that ends in .json.")
    require_range("target", target, 0, 1, above=True, error=CapstoneError)
    require_range("budget_wh", budget_wh, 0, 1e9, above=True, error=CapstoneError)
    require_range("window_s", window_s, 0, 1e9, above=True, error=CapstoneError)
    sums, inputs = assets.data_sums(), {split: assets.DATA / split for split in submission.SPLITS}
    if any(assets.sha256(file) != sums[split] for split, file in inputs.items()):
        raise CapstoneError("The reviews in data/ were changed: run `git checkout -- data` and judge again.")
    hidden = submission.hidden_rows()

    predict, training = _train(train, country)
    answers: list[int] = []
    predictions = energy.per_1000(
        "capstone: predict",
        lambda texts: _answers(predict, texts, answers),
        hidden["text"][:],
        hidden["label"][:],
        country=country,
        batch_size=submission.BATCH,
        window_s=window_s,
    )
    asked = {"task": submission.TASK, "name": name.strip(), "target": target, "budget_wh": budget_wh}
    answered = {"commitment": submission.COMMITMENT, "answers": "".join(map(str, answers))}
    settings = asked | answered | {"machine_cores": psutil.cpu_count() or 1}  # not a container's: see `read`
    receipt = receipts.make(
        "accuracy on hidden rows, and the energy of training and of predictions",
        {"train": training, "predict": predictions},
        made_by="capstone.judge.judge",
        inputs=list(inputs.values()),
        settings=settings,
    )
    entry = submission.read(receipt)
    return Judgment(entry, receipts.save(receipt, path), placement(entry, others))


def as_labels(got: object, count: int) -> list[int]:
    """What a `predict` returned, as ints.

    Raises
    ------
    CapstoneError
        If it is not one 0 or 1 for each of `count` sentences.

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


def _answers(predict: Callable, texts: Sequence[str], kept: list[int]) -> list[int]:
    """Ask `predict`, look at what it says, and keep the first pass over the hidden rows."""
    try:
        got = predict(list(texts))
    except Exception as error:
        raise CapstoneError(f"predict raised {type(error).__name__}: {error}. {EXPECTED}") from error
    labels = as_labels(got, len(texts))
    if len(kept) < submission.HIDDEN_ROWS:  # the first pass, which is not measured
        kept += labels
    return labels


def _train(train: Callable, country: str) -> tuple[Callable, energy.Measurement]:
    """Call `train` as often as its window takes, and measure that."""
    splits = [data.load_reviews(split) for split in ("train", "validation")]
    with energy.measure("capstone: train", country=country) as meter:
        began = time.perf_counter()
        while True:
            try:
                predict = train(*splits)
            except Exception as error:
                raise CapstoneError(f"train raised {type(error).__name__}: {error}. {EXPECTED}") from error
            if not callable(predict):
                raise CapstoneError(f"train returned a {type(predict).__name__}, not a function. {EXPECTED}")
            meter.count(calls=1)
            if time.perf_counter() - began >= submission.TRAIN_WINDOW_S:
                break
    return predict, meter.result
