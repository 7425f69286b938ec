"""A receipt of the capstone, read with suspicion: computed again, checked for what no honest run shows.

What reading catches: an accuracy that was edited (the answers are in the receipt, and are compared with the
labels again); an energy that was edited (it is computed again from the raw samples, and those have to agree
with each other); a neighbor's receipt (no two runs take the same nanoseconds); other data, other rows.

Someone who changes the judge, trains on the test split, keeps answers from one call to the next, computes
beforehand what training should, or invents samples that agree with each other isn't caught: the machine is
theirs, and no check sum or signature changes that. Reading the code of the best entries together does.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from helpers import assets, data, energy, receipts, statistics

if TYPE_CHECKING:
    from datasets import Dataset

TASK = "capstone 1"  # the next number as soon as rows, batches or predictions to serve change
SPLITS = tuple(f"reviews/{split}.csv" for split in data.REVIEWS)
HIDDEN_ROWS = 1_000  # the last ones of the test split, whose order is as good as random
COMMITMENT = "832bbd4de5d9cff062c504c640deddd77ff41f6b64acc0f82ab1c92b8d122f3b"
BATCH = 100  # sentences that `predict` gets at once
SERVED = 10_000  # predictions that the budget has to pay for, besides training
MAX_NAME = 40
SCHEMA = Path(__file__).with_name("submission.schema.json")
TRAIN_WINDOW_S = 2.0  # a shorter training is repeated, since no meter can tell milliseconds
SLACK_S = 0.1  # a reading of the meter takes time too
SLACK = 0.05
LOAD_SLACK = 0.25  # a mean of the load says little of its third power's mean, but never more


class CapstoneError(ValueError):
    """Code that cannot be judged, or a receipt that is no capstone's; the message says what was expected."""


@dataclass(frozen=True)
class Entry:
    """One receipt of the capstone, computed again from its raw samples. Made by `read`.

    Attributes
    ----------
    training : Measurement
        Of all calls of `train`; `work["calls"]` says how many.
    predictions : Predictions
        Of `predict`, on the hidden rows.
    problems : tuple of str
        What does not agree: edited, inconsistent, other data. Empty for an honest receipt.
    name : str
        What the learner calls it, without invisible characters.
    hardware : tuple of str
        What has to be equal for energies to compare: the machine, and how each part of it was read.
    target, budget_wh : float
        What was asked for: accuracy, 0 to 1, and watt-hours for training and for serving.
    accuracy, interval : float and tuple of float
        Share of the hidden rows that is right, and its 95 % Wilson interval.
    train_wh, job_wh : float or None
        Watt-hours of one training, and of one training with `SERVED` predictions; None if unknown.
    job_range_wh, method : tuple of float and str, or None
        The job's energy at both ends of its methods' ranges, and the weakest of these methods.
    """

    receipt: dict
    training: energy.Measurement
    predictions: energy.Predictions
    problems: tuple[str, ...]
    name: str
    hardware: tuple[str, str]
    target: float
    budget_wh: float
    accuracy: float
    interval: tuple[float, float]
    train_wh: float | None
    job_wh: float | None
    job_range_wh: tuple[float | None, float | None]
    method: str | None

    @property
    def reached(self) -> bool:
        """Whether the accuracy is the target or better."""
        return self.accuracy >= self.target

    @property
    def within(self) -> bool:
        """Whether the job stays in the budget; False if its energy is unknown."""
        return self.job_wh is not None and self.job_wh <= self.budget_wh

    @property
    def fair(self) -> bool:
        """Whether it was measured with nothing beside it, as far as is known, and for long enough."""
        disturbed = self.training.disturbed or self.predictions.cost.disturbed
        return self.load_known and not (disturbed or self.predictions.short)

    @property
    def load_known(self) -> bool:
        """Whether its CPU time, and what ran beside it, could be read."""
        costs = (self.training, self.predictions.cost)
        return all(None not in (cost.cpu_s, cost.foreign_load) for cost in costs)

    @property
    def ranked(self) -> bool:
        """Whether it gets a rank: target reached, budget kept, measured fairly."""
        return self.reached and self.within and self.fair


def pareto_front(entries: Iterable[Entry]) -> list[Entry]:
    """The entries that no other beats in accuracy or in energy without losing in the other."""
    best: list[Entry] = []
    for entry in sorted(entries, key=lambda entry: (entry.job_wh, -entry.accuracy)):
        if not best or entry.accuracy > best[-1].accuracy:
            best.append(entry)
    return best


@functools.cache
def hidden_rows() -> Dataset:
    """The rows that the judge asks about; a `CapstoneError` if they are not those of the commitment."""
    test = data.load_reviews("test")
    rows = test.select(range(len(test) - HIDDEN_ROWS, len(test)))
    lines = [f"{id}\t{label}\n" for id, label in zip(rows["id"][:], rows["label"][:], strict=True)]
    if (found := hashlib.sha256("".join(lines).encode()).hexdigest()) != COMMITMENT:
        raise CapstoneError(
            f"The hidden rows have the commitment {found[:12]}..., expected {COMMITMENT[:12]}...: the test "
            "split was changed. Run `git checkout -- data`."
        )
    return rows


def read(source: str | Path | Mapping) -> Entry:
    """Compute a capstone's receipt, given as a file or a dict, again, and note what does not agree.

    Raises
    ------
    CapstoneError
        If it is no receipt of this capstone.
    ReceiptError
        If it is no receipt at all, or its raw samples make no figure.
    """
    import jsonschema

    again = receipts.replay(source)
    receipt, schema = again.receipt, json.loads(SCHEMA.read_text(encoding="utf-8"))
    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(receipt))
    if error is not None:
        wrong = f"{'.'.join(map(str, error.absolute_path))}: {error.message[:100]}"
        raise CapstoneError(f"It is a receipt, but none of {TASK}: {wrong}. Expected the judge's own.")
    training, predictions = again.figures["train"], again.figures["predict"]
    # CodeCarbon's load is of the whole machine, and a container may have a few of its cores.
    cores = receipt["settings"].get("machine_cores", receipt["hardware"]["cores"])
    problems = [
        *again.problems,
        *_wrong_data(receipt, predictions),
        *_wrong_counts(training, predictions),
        *_impossible("training", training, cores),
        *_impossible("predicting", predictions.cost, cores),
    ]
    asked, costs = receipt["settings"], (training, predictions.cost)
    job_wh, *range_wh = (_job_wh(end, training, predictions) for end in ("energy_wh", "low_wh", "high_wh"))
    return Entry(
        receipt,
        training,
        predictions,
        tuple(problems),
        name="".join(letter for letter in asked["name"] if letter.isprintable()).strip() or "(no name)",
        hardware=_hardware(receipt, costs),
        target=asked["target"],
        budget_wh=asked["budget_wh"],
        accuracy=predictions.accuracy,
        interval=statistics.wilson(predictions.right, predictions.scored),
        train_wh=None if training.energy_wh is None else training.energy_wh / training.work["calls"],
        job_wh=job_wh,
        job_range_wh=tuple(range_wh),
        method=None if job_wh is None else max((cost.method for cost in costs), key=energy.METHODS.index),
    )


def _job_wh(end: str, training: energy.Measurement, predictions: energy.Predictions) -> float | None:
    training_wh, serving_wh = getattr(training, end), getattr(predictions.cost, end)
    if training_wh is None or serving_wh is None:
        return None
    return training_wh / training.work["calls"] + serving_wh / predictions.count * SERVED


def _hardware(receipt: Mapping, costs: Iterable[energy.Measurement]) -> tuple[str, str]:
    parts = {(part.name, part.method, part.basis_w) for cost in costs for part in cost.components}
    ways = [f"{name} {method}" + (f" from {watts:g} W" if watts else "") for name, method, watts in parts]
    tool = receipt["versions"]["codecarbon"].split(".")[:2]  # a minor release may change the methods
    return receipts.hardware_name(receipt), f"{', '.join(sorted(ways))}; CodeCarbon {'.'.join(tool)}"


def _wrong_data(receipt: Mapping, predictions: energy.Predictions) -> list[str]:
    """Other files than the course's, other rows than those committed to, answers that were counted wrong."""
    sums, found = assets.data_sums(), []
    other = [name for name in SPLITS if receipt["inputs"].get(f"data/{name}") != sums[name]]
    if other:
        found.append(f"It rests on other data: {', '.join(other)}.")
    if receipt["settings"]["commitment"] != COMMITMENT:
        found.append("Its commitment is another: the judge asked about other rows.")
    answers = map(int, receipt["settings"]["answers"])
    right = sum(answer == label for answer, label in zip(answers, hidden_rows()["label"][:], strict=True))
    if (predictions.right, predictions.scored) != (right, HIDDEN_ROWS):
        said = f"It says {predictions.right} of {predictions.scored} are right"
        found.append(f"{said}; by its answers {right} of {HIDDEN_ROWS:,} are.")
    return found


def _wrong_counts(training: energy.Measurement, predictions: energy.Predictions) -> list[str]:
    """Trainings, predictions and batches that the judge's windows have no room for."""
    found, calls, wall_s = [], training.work["calls"], training.wall_s
    # No training starts after the window, and calls may differ threefold in time.
    most_s = min(3 * TRAIN_WINDOW_S, TRAIN_WINDOW_S + 3 * wall_s / calls) * (1 + SLACK) + SLACK_S
    if calls > 1 and wall_s > most_s:
        took = f"It says that {calls:g} trainings took {wall_s:.4g} s"
        found.append(f"{took}; after {TRAIN_WINDOW_S:g} s none starts.")
    latencies, cost = predictions.latencies_s, predictions.cost
    counts = {predictions.count, len(latencies) * BATCH, cost.work.get("predictions")}
    if len(counts) > 1 or predictions.batch_size != BATCH:
        found.append("Its numbers of predictions and of batches do not agree.")
    if sum(latencies) > cost.wall_s:
        found.append("Its batches took longer together than the window that they are in.")
    return found


def _impossible(what: str, cost: energy.Measurement, cores: int) -> list[str]:
    """What no honest measurement can show: power outside its model, more CPU time than there is."""
    wall_s = cost.wall_s
    if (cost.cpu_s or 0.0) > cores * (wall_s + SLACK_S) * (1 + SLACK):
        return [f"While {what}, {cores} cores worked {cost.cpu_s:.4g} s in {wall_s:.4g} s."]
    shortest, longest = max(0.0, wall_s - SLACK_S) * (1 - SLACK), (wall_s + SLACK_S) * (1 + SLACK)
    load = min(1.0, (cost.cpu_s or 0.0) / (cores * wall_s))  # others' load comes on top
    bounds = {  # shares of the power that the model or the constant starts from
        "modelled": (max(0.1, (1 - LOAD_SLACK) * (0.1 + 0.9 * load**3)), 1.0),
        "assumed": (1.0, 1.0),
    }
    found = []
    for part in cost.components:
        if part.energy_wh is None:
            continue
        joules, low, high = part.energy_wh * 3_600, 0.0, math.inf
        if part.method in bounds:
            least, most = (share * (part.basis_w or 0.0) for share in bounds[part.method])
            low, high = least * shortest, most * longest
        if not low <= joules <= high or joules == 0:
            basis = "" if part.basis_w is None else f" from {part.basis_w:g} W"
            said = f"While {what}, {joules:.4g} J in {wall_s:.4g} s do not fit"
            found.append(f"{said} the {part.name}'s energy, {part.method}{basis}.")
    return found
