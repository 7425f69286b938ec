"""Checks of “Scale out”: scaling out."""

from collections.abc import Callable

import numpy as np

from .base import Finding, check, near


@check("a function of (gradients, rows) that returns the gradient of the whole batch")
def average(answer: Callable) -> Finding:
    gradients, rows = np.array([[1.0, -2.0], [4.0, 0.0], [-1.0, 6.0]]), [6, 3, 1]
    given = list(gradients.copy())
    got = np.asarray(answer(given, list(rows)), dtype=float)
    if not near(given, gradients):
        return "your function changes the gradients it is given; make a new one."
    if got.shape != (2,):
        return f"it has the shape {got.shape}, expected that of one gradient, here (2,)."
    total, plain = rows @ gradients, gradients.sum(axis=0)
    mean = total / 10
    return got, {
        "Right: a weighted mean. With equal parts the weights drop out, and processes count on that.": mean,
        "that is the plain mean, as if each process had as many sentences.": plain / 3,
        "that is the sum over all sentences; the loss is their mean.": total,
        "you divide by the number of processes; divide by the number of sentences.": total / 3,
        "that is the plain sum of the gradients.": plain,
        f"for the rows {rows} your first number is {got[0]:.3g}, expected {mean[0]:.3g}.": ...,
    }


@check("a function of (n, p) that returns the energy of n machines over that of one")
def machines(answer: Callable) -> Finding:
    cases = [(1, 0.9), (2, 1.0), (10, 0.9), (8, 0.5)]
    got, want = [float(answer(n, p)) for n, p in cases], [n * (1 - p) + p for n, p in cases]
    time = [1 - p + p / n for n, p in cases]
    return got, {
        "Right: n (1 - p) + p, above 1 unless n or p is 1: every machine that waits is paid for.": want,
        "that is the speed-up. Energy is machines times time: divide the machines by it.": 1 / np.array(time),
        "that is the time. Each of n machines runs that long.": time,
        "that is n alone, as if more machines saved no time.": [n for n, _ in cases],
        "the two parts are swapped: p is the part that is shared out.": [n * p + 1 - p for n, p in cases],
        f"for 10 machines and p = 0.9 you give {got[2]:.3g}, expected {want[2]:.3g}.": ...,
    }


@check("a function of (intensities, duration_h) that returns a mean in g/kWh")
def hours(answer: Callable) -> Finding:
    intensities = [300.0, 120.0, 260.0, 90.0, 150.0, 400.0]
    given = list(intensities)
    got = float(answer(given, 3))
    if given != intensities:
        return "your function changes the list it is given: `sorted` makes a new one."
    if near(got, 120) and not near(answer([200.0, 100.0], 1), 100):
        return "it is right for three hours, but not for one of two."
    return got, {
        "Right: a job that can be stopped and resumed may choose each hour by itself.": 120,
        "those are the first hours: the job starts at once.": (300 + 120 + 260) / 3,
        "that is the cleanest stretch without a pause.": (120 + 260 + 90) / 3,
        "that stretch isn't the cleanest, and this job may pause.": (260 + 90 + 150) / 3,
        "that is a sum; the mean is asked for.": 90 + 120 + 150,
        "those are the dirtiest hours.": (300 + 260 + 400) / 3,
        "that is the cleanest hour alone; the job takes three.": 90,
        f"for {intensities} and 3 hours you give {got:.4g}, expected 120.": ...,
    }
