"""Energy for what it buys: joules per 1,000 predictions, and energy up to a target quality."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from helpers.energy.meter import finished, measure
from helpers.energy.records import EnergyError, Measurement, Record
from helpers.values import between, quantity, require_range

WINDOW_S = 10.0  # predictions over a shorter time get a note


@dataclass(frozen=True, repr=False)
class Predictions(Record):
    """What predicting costs, with what has to stand beside it. Made by `per_1000`.

    `cost` and `count` are of the whole window; `latencies_s` has, for each batch, the seconds from handing it
    over to having its answers; `right` of `scored` inputs were classified as labeled; `tokens` is the mean
    length of an input as the model saw it, padding included. What is not known is None.
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
    def accuracy(self) -> float | None:
        """Share that is right, 0 to 1; None without labels."""
        return None if self.right is None or self.scored is None else self.right / self.scored

    @property
    def short(self) -> bool:
        """Whether the window was shorter than ten seconds."""
        return self.cost.wall_s < WINDOW_S

    def _joules(self, energy_wh: float | None) -> float | None:
        return None if energy_wh is None else energy_wh * 3_600 / self.count * 1_000

    def results(self) -> dict:
        """Every figure that is computed from `raw`: p50_s is a latency that half of the batches keep to."""
        p50_s, p90_s = np.percentile(self.latencies_s, [50, 90], method="inverted_cdf")
        return self.cost.results() | {
            "joules_per_1000": self.joules,
            "low_joules_per_1000": self._joules(self.cost.low_wh),
            "high_joules_per_1000": self._joules(self.cost.high_wh),
            "seconds_per_1000": self.cost.wall_s / self.count * 1_000,
            "p50_s": float(p50_s),
            "p90_s": float(p90_s),
            "accuracy": self.accuracy,
        }

    def __str__(self) -> str:
        cost, results = self.cost, self.results()
        if self.joules is None:
            energy = f"energy unknown ({'; '.join(map(str, cost.components))})"
        else:
            span = between(results["low_joules_per_1000"], results["high_joules_per_1000"])
            energy = f"{quantity(self.joules, 'J')} {cost.method} per 1,000 predictions ({span})"
        length = "" if self.tokens is None else f" x {self.tokens:.0f} tokens"
        accuracy = "" if self.accuracy is None else f", accuracy {self.accuracy:.1%}"
        asked = f"a window of {cost.wall_s:.1f} s is short, {WINDOW_S:.0f} s are asked for"
        notes = "".join(f" Note: {note}." for note in ((asked,) if self.short else ()) + cost.notes)
        p50, p90 = (f"{results[f'{name}_s'] * 1_000:.3g} ms ({name})" for name in ("p50", "p90"))
        took = f"{results['seconds_per_1000']:.2f} s per 1,000"
        batches = f"batches of {self.batch_size}{length} in {p50} and {p90}"
        return f"{cost.label}: {energy}, {took}, {batches}{accuracy}.{notes}"


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
    until `window_s` is over, all inputs in turn; the last batch of a pass may be smaller.

    `predict` takes a batch, a slice of `inputs`, and returns the class of each as plain numbers, so that a
    GPU has finished when it returns; another number of answers than of inputs raises `EnergyError`. `labels`
    are the right classes, in the order of `inputs`; `tokens` is an input's mean length, padding included.
    """
    require_range(f"the number of inputs of {label!r}", len(inputs), 1, error=EnergyError)
    require_range("batch_size", batch_size, 1, whole=True, error=EnergyError)
    if labels is not None and len(labels) != len(inputs):
        raise EnergyError(f"{label!r} has {len(inputs)} inputs but {len(labels)} labels: expected one each.")
    batches = [inputs[place : place + batch_size] for place in range(0, len(inputs), batch_size)]
    given = [answer for batch in batches for answer in finished(label, predict(batch))]
    if len(given) != len(inputs):
        raise EnergyError(f"{label!r} gave {len(given)} answers to {len(inputs)} inputs: expected one each.")
    right = None if labels is None else sum(int(a) == int(b) for a, b in zip(given, labels, strict=True))
    scored = None if labels is None else len(inputs)
    count, latencies = 0, list[float]()
    with measure(label, country=country) as meter:
        end = time.perf_counter() + window_s
        while not latencies or time.perf_counter() < end:
            batch = batches[len(latencies) % len(batches)]
            began = time.perf_counter()
            predict(batch)
            latencies.append(time.perf_counter() - began)
            count += len(batch)
        meter.count(predictions=count)
    return Predictions(meter.result, count, tuple(latencies), batch_size, right, scored, tokens)


@dataclass(frozen=True, repr=False)
class Training(Record):
    """What it cost to reach a quality fixed beforehand, or that it was missed. Made by `to_target`.

    `cost` is of all up to the target or end, evaluation too; `curve` has each round's end (s) and quality.
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

    def results(self) -> dict:
        """Every figure that is computed from `raw`, as plain values."""
        return self.cost.results() | {"reached": self.reached, "energy_to_target_wh": self.energy_wh}

    def __str__(self) -> str:
        rounds = f"{len(self.curve)} round{'s' if len(self.curve) != 1 else ''}"
        if self.reached:
            return f"reached {self.target:.1%} after {rounds}. {self.cost}"
        best = max((quality for _, quality in self.curve), default=np.nan)
        return f"missed {self.target:.1%}: {best:.1%} at best in {rounds}. {self.cost}"


def to_target(label: str, rounds: Iterable[float], target: float, *, country: str) -> Training:
    """Train until a quality is reached that was fixed beforehand, with evaluation on the clock.

    Each step of `rounds`, such as a generator, trains for a while, evaluates, and gives the quality.
    """
    curve = []
    with measure(label, country=country) as meter:
        began = time.perf_counter()
        for quality in rounds:
            curve.append((time.perf_counter() - began, float(quality)))
            if quality >= target:
                break
    return Training(meter.result, target, tuple(curve))
