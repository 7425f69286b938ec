"""Checks for “Scale out”: scaling out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from .base import Verdict, check, not_yet, right

__all__ = ["average", "hours", "machines", "shares"]


@check("a function of (gradients, rows) that returns the gradient of the whole batch")
def average(answer: Callable[[Sequence, Sequence[int]], Sequence[float]]) -> Verdict:
    """Judge how the gradients of unequal parts are put together."""
    import numpy as np

    gradients, rows = [np.array([1.0, -2.0]), np.array([4.0, 0.0]), np.array([-1.0, 6.0])], [6, 3, 1]
    given = [gradient.copy() for gradient in gradients]
    got = np.asarray(answer(given, list(rows)), dtype=float)
    if any((one != other).any() for one, other in zip(given, gradients, strict=True)):
        return not_yet("your function changes the gradients it is given; make a new one.")
    total = sum(row * gradient for row, gradient in zip(rows, gradients, strict=True))
    slips = {
        "that is the plain mean, as if each process had as many sentences.": sum(gradients) / 3,
        "that is the sum over all sentences; the loss is their mean.": total,
        "you divide by the number of processes; divide by the number of sentences.": total / 3,
        "that is the plain sum of the gradients.": sum(gradients),
    }
    if got.shape != (2,):
        return not_yet(f"it has the shape {got.shape}, expected that of one gradient, here (2,).")
    for message, wrong in slips.items():
        if np.allclose(got, wrong):
            return not_yet(message)
    if np.allclose(got, total / 10):
        return right("a weighted mean. With equal parts the weights drop out, and processes count on that.")
    return not_yet(f"for the rows {rows} your first number is {got[0]:.3g}, expected {total[0] / 10:.3g}.")


@check("a function of (n, p) that returns the energy of n machines over that of one")
def machines(answer: Callable[[float, float], float]) -> Verdict:
    """Judge the energy of n machines under Amdahl's law."""
    cases = [(1, 0.9), (2, 1.0), (10, 0.9), (8, 0.5)]
    got = [float(answer(n, p)) for n, p in cases]
    want = [n * (1 - p) + p for n, p in cases]
    speedup = [1 / ((1 - p) + p / n) for n, p in cases]
    slips = {
        "that is the speed-up. Energy is machines times time: divide the machines by it.": speedup,
        "that is the time. Each of n machines runs that long.": [1 / each for each in speedup],
        "that is n alone, as if more machines saved no time.": [float(n) for n, _ in cases],
        "the two parts are swapped: p is the part that is shared out.": [n * p + 1 - p for n, p in cases],
    }
    if all(math.isclose(one, other, rel_tol=1e-6) for one, other in zip(got, want, strict=True)):
        return right("n (1 - p) + p, which is 1 only for p = 1: every machine that waits is paid for.")
    for message, wrong in slips.items():
        if all(math.isclose(one, other, rel_tol=1e-6) for one, other in zip(got, wrong, strict=True)):
            return not_yet(message)
    return not_yet(f"for 10 machines and p = 0.9 you give {got[2]:.3g}, expected {want[2]:.3g}.")


@check("a function of (intensities, duration_h) that returns a mean in g/kWh")
def hours(answer: Callable[[Sequence[float], int], float]) -> Verdict:
    """Judge the mean intensity of a job that runs in the cleanest hours."""
    intensities = [300.0, 120.0, 260.0, 90.0, 150.0, 400.0]
    given = list(intensities)
    got = float(answer(given, 3))
    if given != intensities:
        return not_yet("your function changes the list it is given: `sorted` makes a new one.")
    slips = {
        "those are the first hours: the job starts at once.": sum(intensities[:3]) / 3,
        "that is the cleanest stretch without a pause.": (260 + 90 + 150) / 3,
        "that stretch isn't the cleanest, and this job may pause.": (120 + 260 + 90) / 3,
        "that is a sum; the mean is asked for.": 90.0 + 120 + 150,
        "those are the dirtiest hours.": (300 + 260 + 400) / 3,
        "that is the cleanest hour alone; the job takes three.": 90.0,
    }
    if math.isclose(got, 120.0):
        if not math.isclose(float(answer([200.0, 100.0], 1)), 100.0):
            return not_yet("it is right for three hours, but not for one of two.")
        return right("a job that can be stopped and resumed may choose each hour by itself.")
    for message, wrong in slips.items():
        if math.isclose(got, wrong):
            return not_yet(message)
    return not_yet(f"for {intensities} and 3 hours you give {got:.4g}, expected 120.")


@check("a whole number of processes")
def shares(answer: int) -> Verdict:
    """Judge how many processes hold a model of 7 billion weights between them."""
    value = float(answer)
    slips = {
        5: "that leaves nothing for the activations: 6 of the 24 GB are theirs.",
        6: "112 / 18 is a little more than 6, and six processes hold 108 GB. Round up.",
        2: "that is the weights alone. Gradients and the optimizer's two states come on top.",
        4: "that is weights and gradients, or both in half precision; AdamW keeps two more numbers a weight.",
        3: "weights and gradients are 56 GB; AdamW's two states are another 56.",
        19: "6 GB are for the activations; the other 18 are yours.",
    }
    if value == 7:
        return right("16 bytes x 7 billion are 112 GB, in shares of at most 18 GB: 6.2, so seven.")
    slip = slips.get(int(value)) if math.isfinite(value) else None
    return not_yet(slip or "16 bytes a weight, in all; then divide by what is free.")
