"""A receipt of the capstone, read with suspicion: computed again, checked for what no honest run shows.

That catches an edited accuracy (the answers are compared with the labels again), an edited energy (it is
computed again from samples that have to agree), a neighbor's receipt, other data, other rows.

Who changes the judge, trains on the test split, keeps answers between calls, computes beforehand what
training should, deletes the count of askings, or invents samples that agree isn't caught: the machine is
theirs, and no signature changes that. Reading the code of the best entries together does.
"""

import functools
import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset

from helpers import assets, data, energy, receipts, statistics

TASK = "capstone 2"  # the next number as soon as rows, batches, predictions to serve or the reference change
SPLITS = tuple(f"reviews/{split}.csv" for split in data.REVIEWS)
HIDDEN_ROWS = 1_000  # the last ones of the test split, whose order is as good as random
COMMITMENT = "832bbd4de5d9cff062c504c640deddd77ff41f6b64acc0f82ab1c92b8d122f3b"
BATCH = 100  # sentences that `predict` gets at once
SERVED = 10_000  # predictions that the budget has to pay for, besides training
FIGURES = ("train", "predict", "reference_before", "reference_after")
MAX_NAME = 40
TRAIN_WINDOW_S = 2.0  # a shorter training is repeated, since no meter can tell milliseconds
SLACK_S = 0.1  # a reading of the meter takes time too
SLACK = 0.05
LOAD_SLACK = 0.25  # a mean of the load says little of its third power's mean, but never more


class CapstoneError(ValueError):
    """Code that cannot be judged, or a receipt that is no capstone's; the message says what was expected."""


@dataclass(frozen=True)
class Attempt:
    """One judged training: what it was to reach, what it reached, and what it took."""

    name: str
    target: float
    budget: float  # of one training and `SERVED` predictions, in reference trainings
    training: energy.Measurement  # of all calls of `train`, `work["calls"]`
    predictions: energy.Predictions  # timed on validation; `right` counts its rows, in an `Entry` hidden ones
    references: tuple[energy.Measurement, ...]  # before and, for a receipt, after; their mean counts as 1

    def train(self, what: str = "wall_s") -> float | None:
        """One training's seconds, or "energy_wh", "low_wh" or "high_wh"; None if unknown."""
        total = getattr(self.training, what)
        return None if total is None else total / self.training.work["calls"]

    def job(self, what: str = "wall_s") -> float | None:
        """The same of one training and `SERVED` predictions."""
        training, serving = self.train(what), getattr(self.predictions.cost, what)
        return None if None in (training, serving) else training + serving / self.predictions.count * SERVED

    def reference(self, what: str = "wall_s") -> float | None:
        """The same of the reference training."""
        found = [getattr(each, what) for each in self.references]
        return None if None in found else sum(found) / len(found)

    @property
    def multiple(self) -> float:
        """How many times as long as the reference training the job takes."""
        return self.job() / self.reference()

    @property
    def drift(self) -> float:
        """By what share the last reference training took longer than the first: 0.1 is a tenth."""
        return self.references[-1].wall_s / self.references[0].wall_s - 1

    @property
    def accuracy(self) -> float:
        """Share of the rows that is right."""
        return self.predictions.accuracy

    @property
    def interval(self) -> tuple[float, float]:
        """The accuracy's 95 % Wilson interval."""
        return statistics.wilson(self.predictions.right, self.predictions.scored)

    @property
    def train_wh(self) -> float | None:
        """Watt-hours of one training; None if unknown."""
        return self.train("energy_wh")

    @property
    def job_wh(self) -> float | None:
        """Watt-hours of the job; None if unknown."""
        return self.job("energy_wh")

    @property
    def price(self) -> float | None:
        """What entries are ranked by: the job's energy if a counter read all of it, else its `multiple`."""
        return self.job_wh if self.method == "measured" else self.multiple

    @property
    def method(self) -> str | None:
        """The weakest method behind the job's energy; None if that is unknown."""
        methods = (self.training.method, self.predictions.cost.method)
        return None if None in methods else max(methods, key=energy.METHODS.index)

    @property
    def reached(self) -> bool:
        """Whether the accuracy is the target or better."""
        return self.accuracy >= self.target

    @property
    def within(self) -> bool:
        """Whether the job stays in the budget."""
        return self.multiple <= self.budget

    @property
    def cautions(self) -> list[str]:
        """Why an honest figure is no fair one: other programs ran, or the window was short."""
        names = ("while training", "while predicting", "in the reference before", "in the reference after")
        costs = self.training, self.predictions.cost, *self.references
        shares = zip(names, costs, strict=False)
        disturbed = [f"{cost.foreign_load:.0%} {when}" for when, cost in shares if cost.disturbed]
        found = [f"other programs used the machine: {', '.join(disturbed)}"] if disturbed else []
        if any(None in (cost.cpu_s, cost.foreign_load) for cost in costs):
            found.append("the CPU time or the load of other programs is not known")
        if self.predictions.short:
            found.append(f"predictions looked at for {self.predictions.cost.wall_s:.1f} s, 10 s are asked")
        return found

    @property
    def ranked(self) -> bool:
        """Whether an entry gets a rank: target reached, budget kept, energy known, measured fairly."""
        return self.reached and self.within and self.job_wh is not None and not self.cautions


@dataclass(frozen=True)
class Entry(Attempt):
    """One receipt of the capstone, computed again from its raw samples. Made by `read`."""

    receipt: dict
    problems: tuple[str, ...]  # what does not agree, empty for an honest receipt
    hardware: tuple[str, str]  # what energies are compared within: the machine, and how each part was read
    asked: int  # how often hidden rows had been asked from the receipt's folder, this time included


def pareto_front(entries: Iterable[Entry]) -> list[Entry]:
    """The entries of a machine that no other beats in accuracy or in `price` without losing in the other."""
    best: list[Entry] = []
    for entry in sorted(entries, key=lambda entry: (entry.price, -entry.accuracy)):
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
        other = f"The hidden rows have the commitment {found[:12]}..., expected {COMMITMENT[:12]}..."
        raise CapstoneError(f"{other}: the test split was changed. Run `git checkout -- data`.")
    return rows


def read(source: str | Path | Mapping) -> Entry:
    """Compute a capstone's receipt, a file or a dict, again, and note what does not agree.

    `CapstoneError` if it is none of this capstone; `ReceiptError` if it is none, or its samples no figure.
    """
    again = receipts.replay(source)
    receipt, settings = again.receipt, again.receipt["settings"]
    task = settings.get("task")
    if task != TASK and re.fullmatch(r"capstone \d{1,9}", str(task)):
        raise CapstoneError(f"It is of {task}, and this judge reads {TASK} alone: judge the code again.")
    try:
        receipts.validate(receipt, Path(__file__).with_name("submission.schema.json"))
    except receipts.ReceiptError as error:
        raise CapstoneError(f"It is a receipt, but none of {TASK}: {error}") from error
    training, predictions, *references = (again.figures[name] for name in FIGURES)
    # CodeCarbon's load is of the whole machine, and a container may have a few of its cores.
    cores = settings.get("machine_cores", receipt["hardware"]["cores"])
    problems = [*again.problems, *_wrong_data(receipt, predictions), *_wrong_counts(training, predictions)]
    problems += _impossible("training", training, cores) + _impossible("predicting", predictions.cost, cores)
    for reference in references:
        problems += _impossible("running the reference", reference, cores)
    return Entry(
        name="".join(letter for letter in settings["name"] if letter.isprintable()).strip() or "(no name)",
        training=training,
        predictions=predictions,
        references=tuple(references),
        receipt=receipt,
        problems=tuple(problems),
        hardware=_hardware(receipt, (training, predictions.cost)),
        **{setting: settings[setting] for setting in ("target", "budget", "asked")},
    )


def _hardware(receipt: Mapping, costs: Iterable[energy.Measurement]) -> tuple[str, str]:
    parts = {(part.name, part.method, part.basis_w) for cost in costs for part in cost.components}
    ways = [f"{name} {method}" + (f" from {watts:g} W" if watts else "") for name, method, watts in parts]
    tool = receipt["versions"]["codecarbon"].split(".")[:2]  # a minor release may change the methods
    return receipts.hardware_name(receipt), f"{', '.join(sorted(ways))}; CodeCarbon {'.'.join(tool)}"


def _wrong_data(receipt: Mapping, predictions: energy.Predictions) -> list[str]:
    """Other files than the course's, other rows than those committed to, answers that were counted wrong."""
    sums, found = assets.data_sums(), []
    if other := [name for name in SPLITS if receipt["inputs"].get(f"data/{name}") != sums[name]]:
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
    shortest, longest = max(0.0, wall_s - SLACK_S) * (1 - SLACK), (wall_s + SLACK_S) * (1 + SLACK)
    if (cost.cpu_s or 0.0) > cores * longest:
        return [f"While {what}, {cores} cores worked {cost.cpu_s:.4g} s in {wall_s:.4g} s."]
    load = min(1.0, (cost.cpu_s or 0.0) / (cores * wall_s))  # others' load comes on top
    # The least share of the power that the model or the constant starts from.
    shares = {"modelled": max(0.1, (1 - LOAD_SLACK) * (0.1 + 0.9 * load**3)), "assumed": 1.0}
    found = []
    for part in (part for part in cost.components if part.energy_wh is not None):
        joules, basis_w = part.energy_wh * 3_600, part.basis_w or 0.0
        low = shares.get(part.method, 0.0) * basis_w * shortest
        high = basis_w * longest if part.method in shares else math.inf
        if not low <= joules <= high or joules == 0:
            basis = "" if part.basis_w is None else f" from {part.basis_w:g} W"
            said = f"While {what}, {joules:.4g} J in {wall_s:.4g} s do not fit"
            found.append(f"{said} the {part.name}'s energy, {part.method}{basis}.")
    return found
