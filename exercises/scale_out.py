"""Checks of “Scale out”: scaling out."""

from collections.abc import Callable

import numpy as np
import torch

from .base import Finding, check, near, untouched


@check("a function of (gradients, rows) that returns the gradient of the whole batch")
def average(answer: Callable) -> Finding:
    gradients, rows = np.array([[1.0, -2.0], [4.0, 0.0], [-1.0, 6.0]], np.float32), [6, 3, 1]
    got = np.asarray(untouched(answer, [*torch.tensor(gradients)], rows), dtype=float)
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


@check("a function of (save_s, mean_s) that returns the seconds of work between two saves")
def interval(answer: Callable) -> Finding:
    def lost(work_s: np.ndarray) -> np.ndarray:
        """Seconds lost for each second of work, if failures come at random."""
        return means * np.expm1((work_s + saves) / means) / work_s - 1

    saves, means = np.array([(1.0, 3_600.0), (30.0, 86_400.0), (5.0, 1e6)]).T
    got = np.array([float(answer(*case)) for case in zip(saves, means, strict=True)])
    best = np.sqrt(2 * saves * means)
    if (got > 0).all() and (lost(got) < 1.03 * lost(best)).all():
        got = best
    return got, {
        "Right: the root of 2 x save_s x mean_s. Four times as reliable, half as many saves.": best,
        "a crash comes halfway between two saves on average: half of the work is lost.": best / 2**0.5,
        "that is a product; where the two costs add up to least, a root comes in.": best**2,
        "so long a stretch is seldom finished before something fails.": means,
        "that is half the time between failures: much too seldom.": means / 2,
        "then as much time goes into saving as into work.": saves,
        f"with saves of 1 s and an hour between failures you give {got[0]:.4g} s, not {best[0]:.0f}.": ...,
    }


@check("a function of (intensities, duration_h) that returns a mean in g/kWh")
def hours(answer: Callable) -> Finding:
    intensities = [300.0, 120.0, 260.0, 90.0, 150.0, 400.0]
    got = float(untouched(answer, intensities, 3))
    if near(got, 120) and not near([answer([200.0, 100.0], 1), answer([300.0, 100.0, 100.0], 2)], [100, 100]):
        return "it is right for three hours, but not for one of two, or for two of which both have 100 g/kWh."
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
