"""Checks for “Open challenges”: open challenges."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from .base import Verdict, check, not_yet, right

__all__ = ["clip", "invariance", "path", "rebound"]


@check("a number, the integrated gradient of the first input")
def path(answer: float) -> Verdict:
    """Judge the integrated gradient of x1 in x1 x2, from (0, 0) to (3, 2)."""
    value = float(answer)
    if math.isclose(value, 3, rel_tol=1e-3):
        return right(
            "the mean slope on the way is 1, times a way of 3. The other input gets 3 as well: the two share "
            "F(x) - F(x') = 6 fairly. Gradient times input would give 6 to each."
        )
    slips = {
        6: "that is the slope at the end of the way times the input. On the way the slope is smaller.",
        2: "that is the slope at the end of the way alone. Take its mean, and multiply by how far x1 goes.",
        1: "that is the mean slope. Multiply it by how far x1 goes.",
        0: "that is the slope where the way begins. It grows on the way.",
    }
    for wrong, message in slips.items():
        if math.isclose(value, wrong, rel_tol=1e-3, abs_tol=1e-9):
            return not_yet(message)
    return not_yet("the mean of 2 alpha, for alpha from 0 to 1, times the way of x1.")


@check("a function of (g, C) that returns the mean of the clipped rows")
def clip(answer: Callable[[Any, float], Any]) -> Verdict:
    """Judge the mean of gradients that were each clipped to a length."""
    import numpy as np

    g = np.array([[3.0, 4.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, -8.0], [0.0, 0.0, 0.0]])
    C = 2.0
    given = g.copy()
    got = np.asarray(answer(g, C), dtype=float)
    if not np.array_equal(g, given):
        return not_yet("your function changes the gradients that it is given; make new ones.")
    if got.shape != (3,):
        return not_yet(f"the result has the shape {got.shape}, expected (3,): one mean for each column.")
    if np.isnan(got).any():
        return not_yet("a gradient of zeros has the length 0, and you divide by it.")
    length = np.linalg.norm(g, axis=1, keepdims=True)
    factor = np.minimum(1, C / np.maximum(length, 1e-12))
    mean = g.mean(axis=0)
    slips = {
        "you clip the mean. By then the single sentences are lost; clip each row first.": mean
        * min(1, C / np.linalg.norm(mean)),
        "that stretches short gradients to C as well. A row that is short enough stays as it is.": (
            g * C / np.maximum(length, 1e-12)
        ).mean(axis=0),
        "that clips each number by itself. It is the length of the whole row that counts.": g.clip(
            -C, C
        ).mean(axis=0),
        "that is the sum. Divide it by the number of rows.": (g * factor).sum(axis=0),
        "those are the gradients as they were.": mean,
    }
    if np.allclose(got, (g * factor).mean(axis=0), atol=1e-4):
        if not np.allclose(answer(2 * g, 4.0), 2 * got, atol=1e-4):
            return not_yet("it is right for one C, but not for another.")
        return right("whoever wrote sentence i, the mean can move by C / B at most because of it.")
    for message, wrong in slips.items():
        if np.allclose(got, wrong, atol=1e-4):
            return not_yet(message)
    return not_yet(f"for C = 2 the row {g[0].tolist()} should become {(g * factor)[0].tolist()}.")


@check("a function of (praise, template, words) that returns a difference of probabilities")
def invariance(answer: Callable[[Callable, str, Sequence[str]], float]) -> Verdict:
    """Judge the largest difference that a word makes."""
    probabilities = {"a b.": 0.5, "a cc.": 0.9, "a ddd.": 0.2, "a e.": 0.6}

    def praise(texts: Sequence[str]) -> list[float]:
        if isinstance(texts, str):
            raise TypeError("praise takes a list of texts, and got a single text")
        unknown = [text for text in texts if text not in probabilities]
        if unknown:
            raise ValueError(f"the template was filled to {unknown[0]!r}, expected one such as 'a b.'")
        return [probabilities[text] for text in texts]

    words = ["b", "cc", "ddd", "e"]
    got = float(answer(praise, "a {}.", words))
    if math.isclose(got, 0.7, abs_tol=1e-6):
        if not math.isclose(float(answer(praise, "a {}.", ["e"])), 0, abs_tol=1e-9):
            return not_yet("with a single word there is nothing to differ from: 0.")
        return right(
            "0 means that the word doesn't matter. How much more than 0 is too much, you have to decide."
        )
    slips = {
        "that compares with the first word alone. Which two differ most?": (0.4, 0.3),
        "that is the highest probability; the lowest is still to be subtracted.": (0.9,),
        "the sign is the wrong way around: the highest minus the lowest.": (-0.7,),
        "that compares only words that stand side by side, or the first with the last.": (0.1,),
        "that is the spread around the mean. Here the extremes are asked for.": (0.25, 0.2887),
        "that counts the words whose verdict changes. Asked for is the difference of probabilities.": (1.0,),
    }
    for message, wrong in slips.items():
        if any(math.isclose(got, each, abs_tol=1e-3) for each in wrong):
            return not_yet(message)
    return not_yet(
        f"for probabilities of 0.5, 0.9, 0.2 and 0.6 you give {got:.3g}; the highest minus the lowest is 0.7."
    )


@check("a number from 0 to 1, the share of the saving that is eaten")
def rebound(answer: float) -> Verdict:
    """Judge the rebound of a factor of 16 with an elasticity of 0.5."""
    value = float(answer)
    if math.isclose(value, 0.2, rel_tol=1e-3):
        return right("a quarter of the energy is left, 3/4 saved, and 15/16 were expected: a fifth is eaten.")
    slips = {
        0.25: "that is the energy that is left. What did you expect to save, and what did you save?",
        0.75: "that is the share saved. Compare it with the 15/16 that were expected.",
        0.8: "that is the share of the expected saving that came true. The rebound is the rest.",
        0.1875: "that is the difference of the two savings. The rebound is its share of the expected one.",
        0.5: "that is the elasticity. How many times as many uses are there?",
        4.0: "that is by how many times use grows. What does that do to the energy?",
        20.0: "asked for is a share from 0 to 1, not percent.",
    }
    for wrong, message in slips.items():
        if math.isclose(value, wrong, rel_tol=1e-3):
            return not_yet(message)
    return not_yet(
        "use grows by the factor 16 ** 0.5, and each use takes 1/16. From there, R as in the formula."
    )
