"""A receipt of the capstone, read with suspicion: computed again, checked for what no honest run shows.

What reading catches, and what it can't:

- an accuracy that was edited: the 1,000 answers are in the receipt, and are compared with the labels again;
- an energy that was edited: it is computed again from the raw samples, and where those were edited too,
  power, time, CPU seconds and latencies have to agree with each other;
- somebody else's receipt under another name: no two runs take the same nanoseconds;
- other data, other rows, another judge's version.

Someone who changes the judge, trains on the test split, keeps answers from one call to the next, computes
beforehand what training should, says that a training of seconds was many of milliseconds, or invents samples
that agree with each other isn't caught: the machine is theirs, and no check sum or signature changes that.
Reading the code of the best entries together does.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from helpers import assets, data, energy, receipts

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
RECORDED = assets.DATA / "receipts" / "contestants.json"


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
    """

    receipt: dict
    training: energy.Measurement
    predictions: energy.Predictions
    problems: tuple[str, ...]

    @property
    def name(self) -> str:
        """What the learner calls the entry, without invisible characters."""
        letters = [letter for letter in self.receipt["settings"]["name"] if letter.isprintable()]
        return "".join(letters).strip() or "(no name)"

    @property
    def target(self) -> float:
        """The accuracy asked for, 0 to 1."""
        return self.receipt["settings"]["target"]

    @property
    def budget_wh(self) -> float:
        """Watt-hours allowed for training and for serving."""
        return self.receipt["settings"]["budget_wh"]

    @property
    def accuracy(self) -> float:
        """Share of the hidden rows that is right, 0 to 1."""
        return self.predictions.accuracy

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the accuracy."""
        from scipy.stats import binomtest

        ends = binomtest(self.predictions.right, self.predictions.scored).proportion_ci(method="wilson")
        return float(ends.low), float(ends.high)

    @property
    def train_wh(self) -> float | None:
        """Watt-hours of one training; None if unknown."""
        return self._train(self.training.energy_wh)

    @property
    def job_wh(self) -> float | None:
        """Watt-hours of one training and `SERVED` predictions; None if unknown."""
        return self._job(self.training.energy_wh, self.predictions.cost.energy_wh)

    @property
    def job_range_wh(self) -> tuple[float | None, float | None]:
        """The job's energy at the lower and at the upper ends of its methods' ranges."""
        training, serving = self.training, self.predictions.cost
        return self._job(training.low_wh, serving.low_wh), self._job(training.high_wh, serving.high_wh)

    @property
    def method(self) -> str | None:
        """The weakest method in it; None if the energy is unknown."""
        methods = self.training.method, self.predictions.cost.method
        return None if None in methods else max(methods, key=energy.METHODS.index)

    @property
    def unknown(self) -> str:
        """Why the energy is unknown; empty if it is known."""
        parts = (*self.training.components, *self.predictions.cost.components)
        return next((str(part) for part in parts if part.energy_wh is None), "")

    @property
    def reached(self) -> bool:
        """Whether the accuracy is the target or better."""
        return self.accuracy >= self.target

    @property
    def within(self) -> bool:
        """Whether the job stays in the budget; False if its energy is unknown."""
        return self.job_wh is not None and self.job_wh <= self.budget_wh

    @property
    def cautions(self) -> tuple[str, ...]:
        """Why an honest figure is no fair one: other programs ran, or the window was short."""
        costs = {"training": self.training, "predicting": self.predictions.cost}
        marked = [f"{cost.foreign_load:.0%} while {what}" for what, cost in costs.items() if cost.marked]
        found = [f"other programs used the machine: {', '.join(marked)}"] if marked else []
        if self.predictions.short:
            found.append(f"predictions looked at for {self.predictions.cost.wall_s:.1f} s, 10 s are asked")
        return tuple(found)

    @property
    def machine(self) -> str:
        """Cores, processor and GPUs."""
        hardware = self.receipt["hardware"]
        return ", ".join([f"{hardware['cores']} cores of {hardware['cpu']}", *hardware["gpus"]])

    @property
    def hardware(self) -> str:
        """The class within which energies compare: the machine, and how each part of it was read."""
        parts = (*self.training.components, *self.predictions.cost.components)
        return _class(self.machine, parts, self.receipt["versions"])

    @property
    def task(self) -> str:
        """What was asked for, in words."""
        return (
            f"{self.target:.1%} of {HIDDEN_ROWS:,} hidden sentences right, with {self.budget_wh:g} Wh "
            f"for training and {SERVED:,} predictions"
        )

    def _train(self, energy_wh: float | None) -> float | None:
        return None if energy_wh is None else energy_wh / self.training.work["calls"]

    def _job(self, training_wh: float | None, serving_wh: float | None) -> float | None:
        if training_wh is None or serving_wh is None:
            return None
        return self._train(training_wh) + serving_wh / self.predictions.count * SERVED

    def __str__(self) -> str:
        low, high = self.interval
        reached = "reached" if self.reached else "MISSED"
        accuracy = (
            f"accuracy {self.accuracy:.1%} (95 % interval {low:.1%} to {high:.1%}) on {HIDDEN_ROWS:,} hidden "
            f"sentences; target {self.target:.1%} {reached}"
        )
        if self.job_wh is None:
            job = f"energy unknown, so nothing can be said about the budget: {self.unknown}"
        else:
            low, high = (energy.digits(end) for end in self.job_range_wh)
            within = "kept" if self.within else "EXCEEDED"
            job = (
                f"energy {energy.digits(self.job_wh)} Wh {self.method} ({low} to {high}): training "
                f"{energy.digits(self.train_wh)} Wh, {SERVED:,} predictions at "
                f"{energy.digits(self.predictions.joules)} J per 1,000; budget {self.budget_wh:g} Wh {within}"
            )
        notes = [f"Note: {caution}." for caution in self.cautions]
        return "\n".join([self.name, accuracy, job, *notes, *(f"Flagged: {why}" for why in self.problems)])


def hidden_rows() -> Dataset:
    """The rows that the judge asks about.

    Raises
    ------
    CapstoneError
        If they are not those of the commitment.
    """
    test = data.load_reviews("test")
    rows = test.select(range(len(test) - HIDDEN_ROWS, len(test)))
    if (found := commitment(rows)) != COMMITMENT:
        raise CapstoneError(
            f"The hidden rows have the commitment {found[:12]}..., expected {COMMITMENT[:12]}...: the test "
            "split was changed. Run `git checkout -- data`."
        )
    return rows


def commitment(rows: Dataset) -> str:
    r"""SHA-256 of the rows' ids and labels, as lines of "id, tab, label".

    Examples
    --------
    >>> commitment(hidden_rows()) == COMMITMENT
    True
    """
    pairs = zip(rows["id"][:], rows["label"][:], strict=True)
    return hashlib.sha256("".join(f"{id}\t{label}\n" for id, label in pairs).encode()).hexdigest()


def read(source: str | Path | Mapping) -> Entry:
    """Compute a capstone's receipt again, and note in `problems` what does not agree.

    Parameters
    ----------
    source : path or dict
        A file, or a receipt.

    Raises
    ------
    CapstoneError
        If it is no receipt of this capstone.
    ReceiptError
        If it is no receipt at all, or its raw samples make no figure.
    """
    import jsonschema

    receipt = dict(source) if isinstance(source, Mapping) else receipts.load(source)
    receipts.validate(receipt)
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(receipt))
    if error is not None:
        where = ".".join(map(str, error.absolute_path))
        raise CapstoneError(
            f"It is a receipt, but none of {TASK}: {where}: {error.message[:100]}. Expected the judge's own."
        )
    again = receipts.replay(receipt)
    training, predictions = again.figures["train"], again.figures["predict"]
    problems = [
        *again.problems,
        *_wrong_data(receipt),
        *_wrong_answers(receipt, predictions),
        *_wrong_calls(training),
        *_impossible("training", training, receipt),
        *_impossible("predicting", predictions.cost, receipt),
        *_wrong_counts(predictions),
    ]
    return Entry(receipt, training, predictions, tuple(problems))


def front(entries: Sequence[Entry]) -> list[Entry]:
    """The Pareto front: entries that no other beats in accuracy or in energy without losing in the other one.

    Returns
    -------
    list of Entry
        From the one that uses least to the most accurate.
    """
    best: list[Entry] = []
    for entry in sorted(entries, key=lambda entry: (entry.job_wh, -entry.accuracy)):
        if not best or entry.accuracy > best[-1].accuracy:
            best.append(entry)
    return best


def landing(entry: Entry, others: Iterable[Entry] = ()) -> str:
    """Where an entry stands against the course's recorded trainings, and against other entries."""
    if entry.job_wh is None:
        return "No place on the Pareto front: the energy is unknown, which is not 0."
    rivals = [
        other
        for other in others
        if other.job_wh is not None
        and not other.problems
        and other.hardware == entry.hardware
        and other.receipt["digest"] != entry.receipt["digest"]
    ]
    beaten_by = [other for other in rivals if entry not in front([entry, other])]
    count = f"{len(rivals)} other entr{'y' if len(rivals) == 1 else 'ies'} on this hardware"
    if not rivals:
        first = "No other entry on this hardware to compare with."
    elif beaten_by:
        best = min(beaten_by, key=lambda other: other.job_wh)
        first = (
            f"Behind the Pareto front of {count}: {best.name} has {best.accuracy:.1%} "
            f"for {energy.digits(best.job_wh)} Wh."
        )
    else:
        first = f"On the Pareto front, beside {count}: none is as accurate for as little."
    return f"{first}\n{_against_recorded(entry)}"


def _wrong_data(receipt: Mapping) -> list[str]:
    sums = assets.data_sums()
    other = [name for name in SPLITS if receipt["inputs"].get(f"data/{name}") != sums[name]]
    found = [f"It rests on other data: {', '.join(other)}."] if other else []
    if receipt["settings"]["commitment"] != COMMITMENT:
        found.append("Its commitment is another: the judge asked about other rows.")
    return found


@functools.cache
def _hidden_labels() -> tuple[int, ...]:
    return tuple(hidden_rows()["label"])


def _wrong_answers(receipt: Mapping, predictions: energy.Predictions) -> list[str]:
    answers = map(int, receipt["settings"]["answers"])
    right = sum(answer == label for answer, label in zip(answers, _hidden_labels(), strict=True))
    if (predictions.right, predictions.scored) == (right, HIDDEN_ROWS):
        return []
    return [
        f"It says {predictions.right} of {predictions.scored} are right; by its answers {right} of "
        f"{HIDDEN_ROWS:,} are."
    ]


def _wrong_counts(predictions: energy.Predictions) -> list[str]:
    latencies, found = predictions.latencies_s, []
    counts = {predictions.count, len(latencies) * BATCH, predictions.cost.work.get("predictions")}
    if len(counts) > 1 or predictions.batch_size != BATCH:
        found.append("Its numbers of predictions and of batches do not agree.")
    if sum(latencies) > predictions.cost.wall_s:
        found.append("Its batches took longer together than the window that they are in.")
    return found


def _wrong_calls(cost: energy.Measurement) -> list[str]:
    """The judge calls `train` again only until its window is over; calls may differ threefold in time."""
    calls = cost.work["calls"]
    most_s = min(3 * TRAIN_WINDOW_S, TRAIN_WINDOW_S + 3 * cost.wall_s / calls)
    if calls == 1 or cost.wall_s <= most_s * (1 + SLACK) + SLACK_S:
        return []
    return [
        f"It says that {calls:g} trainings took {cost.wall_s:.4g} s; after {TRAIN_WINDOW_S:g} s none starts."
    ]


def _impossible(what: str, cost: energy.Measurement, receipt: Mapping) -> list[str]:
    """What no honest measurement can show: power outside its model, more CPU time than there is."""
    cores, wall_s = receipt["hardware"]["cores"], cost.wall_s
    if cost.cpu_s > cores * (wall_s + SLACK_S) * (1 + SLACK):
        return [f"While {what}, {cores} cores worked {cost.cpu_s:.4g} s in {wall_s:.4g} s."]
    shortest, longest = max(0.0, wall_s - SLACK_S) * (1 - SLACK), (wall_s + SLACK_S) * (1 + SLACK)
    load = min(1.0, cost.cpu_s / (cores * wall_s))  # others' load comes on top
    shares = {  # of the power that the model or the constant starts from
        "modelled": (max(0.1, (1 - LOAD_SLACK) * (0.1 + 0.9 * load**3)), 1.0),
        "assumed": (1.0, 1.0),
    }
    found = []
    for part in cost.components:
        if part.energy_wh is None:
            continue
        joules, low, high = part.energy_wh * 3_600, 0.0, math.inf
        if part.method in shares:
            if not part.basis_w or not re.search(rf"\b{part.basis_w:.0f} W", part.source):
                found.append(f"While {what}, the {part.name}'s {part.source} rests on {part.basis_w} W.")
                continue
            least, most = shares[part.method]
            low, high = least * part.basis_w * shortest, most * part.basis_w * longest
        if not low <= joules <= high or joules == 0:
            found.append(
                f"While {what}, {joules:.4g} J in {wall_s:.4g} s do not fit the {part.name}'s {part.source}."
            )
    return found


def _against_recorded(entry: Entry) -> str:
    """The entry's training beside the ones that “Fine-tune a BERT” recorded, where those compare."""
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    runs = [
        run
        for run in recorded["runs"]
        if run["energy_wh"] is not None
        and _class(recorded["hardware"], map(_component, run["components"]), recorded["versions"])
        == entry.hardware
    ]
    if not runs:
        return f"“Fine-tune a BERT”'s trainings were recorded on {recorded['hardware']}: with yours they don't compare."
    better = [run for run in runs if run["energy_wh"] <= entry.train_wh and run["accuracy"] >= entry.accuracy]
    if not better:
        return f"None of the {len(runs)} trainings that “Fine-tune a BERT” recorded is as accurate for as little."
    best = min(better, key=lambda run: run["energy_wh"])
    return (
        f"Of “Fine-tune a BERT”'s recorded trainings, {best['name']} on {best['train_rows']:,} sentences is "
        f"as good or better ({best['accuracy']:.1%}) for {energy.digits(best['energy_wh'])} Wh."
    )


def _component(part: Mapping) -> energy.Component:
    return energy.Component(part["name"], part["energy_wh"], part["method"], part["source"])


def _class(machine: str, parts: Iterable[energy.Component], versions: Mapping) -> str:
    """Name what has to be equal for energies to compare."""
    ways = sorted({f"{part.name} {part.method} ({part.source.split(';')[0]})" for part in parts})
    tool = ".".join(versions["codecarbon"].split(".")[:2])  # a minor release changes the method
    return f"{machine}: {', '.join(ways)}; CodeCarbon {tool}"
