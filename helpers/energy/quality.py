"""Energy for what it buys: joules per 1,000 predictions, and energy up to a target quality."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from helpers.energy.meter import Meter
from helpers.energy.records import EnergyError, Measurement, digits

WINDOW_S = 10.0  # shorter windows are marked
JOULES = 3_600  # in a watt-hour


@dataclass(frozen=True, repr=False)
class Predictions:
    """What predicting costs, with what has to stand beside it. Made by `per_1000`.

    Attributes
    ----------
    cost : Measurement
        Of the whole window.
    count : int
        Predictions made in it.
    latencies_s : tuple of float
        Seconds from handing over a batch to having its answers, one for each batch.
    batch_size : int
        Inputs in a batch; the last batch of a pass may be smaller.
    right, scored : int or None
        How many of how many inputs were classified as labeled; None without labels.
    tokens : float or None
        Mean length of an input as the model saw it, padding included; None if not said.
    """

    cost: Measurement
    count: int
    latencies_s: tuple[float, ...]
    batch_size: int
    right: int | None
    scored: int | None
    tokens: float | None = None

    @property
    def joules(self) -> float | None:
        """Joules for 1,000 predictions; None if the energy is unknown."""
        return self._joules(self.cost.energy_wh)

    @property
    def p50_s(self) -> float:
        """Latency of a batch that half of them stay under."""
        return percentile(self.latencies_s, 0.5)

    @property
    def p90_s(self) -> float:
        """Latency of a batch that nine in ten stay under."""
        return percentile(self.latencies_s, 0.9)

    @property
    def accuracy(self) -> float | None:
        """Share that is right, 0 to 1; None without labels."""
        return None if self.right is None else self.right / self.scored

    @property
    def short(self) -> bool:
        """Whether the window was shorter than ten seconds."""
        return self.cost.wall_s < WINDOW_S

    def _joules(self, energy_wh: float | None) -> float | None:
        return None if energy_wh is None else energy_wh * JOULES / self.count * 1_000

    def raw(self) -> dict:
        """What was read, without anything computed from it, as plain values."""
        return {
            "cost": self.cost.raw(),
            "count": self.count,
            "latencies_s": list(self.latencies_s),
            "batch_size": self.batch_size,
            "right": self.right,
            "scored": self.scored,
            "tokens": self.tokens,
        }

    def results(self) -> dict:
        """Every figure that is computed from `raw`, as plain values."""
        return self.cost.results() | {
            "joules_per_1000": self.joules,
            "low_joules_per_1000": self._joules(self.cost.low_wh),
            "high_joules_per_1000": self._joules(self.cost.high_wh),
            "seconds_per_1000": self.cost.wall_s / self.count * 1_000,
            "p50_s": self.p50_s,
            "p90_s": self.p90_s,
            "accuracy": self.accuracy,
        }

    @classmethod
    def from_raw(cls, raw: dict) -> Predictions:
        """The predictions that `raw` came from."""
        return cls(
            **(raw | {"cost": Measurement.from_raw(raw["cost"]), "latencies_s": tuple(raw["latencies_s"])})
        )

    def __str__(self) -> str:
        if self.joules is None:
            energy = f"energy unknown ({'; '.join(map(str, self.cost.components))})"
        else:
            low, high = (digits(self._joules(end)) for end in (self.cost.low_wh, self.cost.high_wh))
            energy = f"{digits(self.joules)} J {self.cost.method} per 1,000 predictions ({low} to {high})"
        accuracy = "" if self.accuracy is None else f", accuracy {self.accuracy:.1%}"
        asked = f"a window of {self.cost.wall_s:.1f} s is short, {WINDOW_S:.0f} s are asked for"
        short = f" Note: {asked}." if self.short else ""
        notes = "".join(f" Note: {note}." for note in self.cost.notes)
        length = "" if self.tokens is None else f" x {self.tokens:.0f} tokens"
        batch = f"batches of {self.batch_size}{length} in {self.p50_s * 1_000:.3g} ms (p50)"
        return (
            f"{self.cost.label}: {energy}, {self.cost.wall_s / self.count * 1_000:.2f} s per 1,000, "
            f"{batch} and {self.p90_s * 1_000:.3g} ms (p90){accuracy}.{short}{notes}"
        )

    __repr__ = __str__  # a dataclass would spell out every raw value


def per_1000(
    label: str,
    predict: Callable[[Sequence], Sequence],
    inputs: Sequence,
    labels: Sequence | None = None,
    *,
    country: str,
    batch_size: int = 1,
    tokens: float | None = None,
    window_s: float = WINDOW_S,
) -> Predictions:
    """Joules for 1,000 predictions, with latency and accuracy beside them.

    One pass over the inputs, not measured, warms up and finds the accuracy. Then batches are predicted
    until `window_s` is over, all inputs in turn.

    Parameters
    ----------
    predict : callable
        Takes a batch, a slice of `inputs`, and returns the class of each as plain numbers, so that a GPU
        has finished when it returns.
    labels : sequence of int, optional
        The right classes, in the order of `inputs`.
    tokens : float, optional
        Mean length of an input, padding included: it belongs beside the energy of a prediction.

    Raises
    ------
    EnergyError
        If there is nothing to predict, or `predict` returns another number of answers than it got inputs.
    """
    if not len(inputs) or batch_size < 1:
        raise EnergyError(
            f"{label!r} has {len(inputs)} inputs in batches of {batch_size}: expected 1 or more."
        )
    if labels is not None and len(labels) != len(inputs):
        raise EnergyError(f"{label!r} has {len(inputs)} inputs but {len(labels)} labels: expected one each.")
    batches = [inputs[place : place + batch_size] for place in range(0, len(inputs), batch_size)]
    answers = [answer for batch in batches for answer in predict(batch)]
    if len(answers) != len(inputs):
        raise EnergyError(
            f"{label!r} gave {len(answers)} answers to {len(inputs)} inputs: expected one each."
        )
    right = None
    if labels is not None:
        right = sum(int(answer) == int(truth) for answer, truth in zip(answers, labels, strict=True))
    count, latencies = 0, []
    with Meter(label, country) as meter:
        end = time.perf_counter() + window_s
        while not latencies or time.perf_counter() < end:
            batch = batches[len(latencies) % len(batches)]
            began = time.perf_counter()
            predict(batch)
            latencies.append(time.perf_counter() - began)
            count += len(batch)
        meter.count(predictions=count)
    scored = None if labels is None else len(inputs)
    return Predictions(meter.result, count, tuple(latencies), batch_size, right, scored, tokens)


@dataclass(frozen=True, repr=False)
class Training:
    """What it cost to reach a target, or that it was missed. Made by `to_target`.

    Attributes
    ----------
    cost : Measurement
        Of everything up to the target or to the end, evaluation included.
    target : float
        The quality fixed beforehand.
    curve : tuple of (float, float)
        After each round: seconds since the start, and quality.
    """

    cost: Measurement
    target: float
    curve: tuple[tuple[float, float], ...]

    @property
    def reached(self) -> bool:
        """Whether the last round reached the target."""
        return bool(self.curve) and self.curve[-1][1] >= self.target

    @property
    def energy_wh(self) -> float | None:
        """Wh up to the target; None if it was missed, since no amount of energy is known to reach it."""
        return self.cost.energy_wh if self.reached else None

    def raw(self) -> dict:
        """What was read, without anything computed from it, as plain values."""
        return {
            "cost": self.cost.raw(),
            "target": self.target,
            "curve": [list(point) for point in self.curve],
        }

    def results(self) -> dict:
        """Every figure that is computed from `raw`, as plain values."""
        return self.cost.results() | {"reached": self.reached, "energy_to_target_wh": self.energy_wh}

    @classmethod
    def from_raw(cls, raw: dict) -> Training:
        """The training that `raw` came from."""
        curve = tuple(tuple(point) for point in raw["curve"])
        return cls(Measurement.from_raw(raw["cost"]), raw["target"], curve)

    def __str__(self) -> str:
        best = max((quality for _, quality in self.curve), default=math.nan)
        rounds = f"{len(self.curve)} round{'s' if len(self.curve) != 1 else ''}"
        if self.reached:
            return f"reached {self.target:.1%} after {rounds}. {self.cost}"
        return f"missed {self.target:.1%}: {best:.1%} at best in {rounds}. {self.cost}"

    __repr__ = __str__  # a dataclass would spell out every raw value


def to_target(label: str, rounds: Iterable[float], target: float, *, country: str) -> Training:
    """Train until a quality is reached that was fixed beforehand, with evaluation on the clock.

    Parameters
    ----------
    rounds : iterable of float
        Each step of it trains for a while, evaluates, and gives the quality; a generator does.
    target : float
        The quality at which to stop. A run that ends before it is a miss.
    """
    curve = []
    with Meter(label, country) as meter:
        began = time.perf_counter()
        for quality in rounds:
            curve.append((time.perf_counter() - began, float(quality)))
            if quality >= target:
                break
    return Training(meter.result, target, tuple(curve))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed.

    Examples
    --------
    >>> percentile([3.0, 1.0, 2.0, 4.0], 0.5), percentile([3.0, 1.0, 2.0, 4.0], 0.9)
    (2.0, 4.0)
    """
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
