"""Checks of “Open challenges”: open challenges."""

from collections.abc import Callable

import numpy as np

from .base import Finding, check, near, untouched


@check("a function of (g, C) that returns the mean of the clipped rows", 1e-3)
def clip(answer: Callable) -> Finding:
    g, C = np.array([[3.0, 4.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, -8.0], [0.0, 0.0, 0.0]]), 2.0
    got = np.asarray(untouched(answer, g, C), dtype=float)
    if got.shape != (3,):
        return f"the result has the shape {got.shape}, expected (3,): one mean for each column."
    if np.isnan(got).any():
        return "a gradient of zeros has the length 0, and you divide by it."
    stretched = g * C / np.maximum(np.linalg.norm(g, axis=1, keepdims=True), 1e-12)
    clipped = np.where(abs(stretched) < abs(g), stretched, g)
    every = clipped, stretched, g.clip(-C, C), g
    expected, rows, numbers, plain = (gradients.mean(axis=0) for gradients in every)
    if near(got, expected, 1e-3) and not near(answer(2 * g, 4.0), 2 * got, 1e-3):
        return "it is right for one C, but not for another."
    late = plain * min(1, C / np.linalg.norm(plain))
    return got, {
        "Right: whoever wrote sentence i, the mean can move by C / B at most because of it.": expected,
        "you clip the mean. By then the single sentences are lost; clip each row first.": late,
        "that stretches short gradients to C as well. A row that is short enough stays as it is.": rows,
        "that clips each number by itself. It is the length of the whole row that counts.": numbers,
        "that is the sum. Divide it by the number of rows.": clipped.sum(axis=0),
        "those are the gradients as they were.": plain,
        f"for C = 2 the row {g[0].tolist()} should become {clipped[0].tolist()}.": ...,
    }


@check("a function of (praise, template, words) that returns a difference of probabilities", 1e-3)
def invariance(answer: Callable) -> Finding:
    probabilities = {"a b.": 0.5, "a cc.": 0.9, "a ddd.": 0.2, "a e.": 0.6}

    def praise(texts: list[str]) -> np.ndarray:
        if isinstance(texts, str):
            raise TypeError("praise takes a list of texts, and got a single text")
        if unknown := [text for text in texts if text not in probabilities]:
            raise ValueError(f"the template was filled to {unknown[0]!r}, expected one such as 'a b.'")
        return np.array([probabilities[text] for text in texts])

    got = float(answer(praise, "a {}.", ["b", "cc", "ddd", "e"]))
    if near(got, 0.7) and not near(answer(praise, "a {}.", ["e"]), 0):
        return "with a single word there is nothing to differ from: 0."
    return got, {
        "Right: 0 means that the word doesn't matter. How much more than 0 is too much, you have to "
        "decide.": 0.7,
        "that compares with the first word alone. Which two differ most?": {0.4, 0.3},
        "that is the highest probability; the lowest is still to be subtracted.": 0.9,
        "the sign is the wrong way around: the highest minus the lowest.": -0.7,
        "that compares only words that stand side by side, or the first with the last.": 0.1,
        "that is the spread around the mean. Here the extremes are asked for.": {0.25, 0.2887},
        "that counts the words whose verdict changes. Asked for is the difference of probabilities.": 1,
        f"of 0.5, 0.9, 0.2 and 0.6 the highest minus the lowest is 0.7; you give {got:.3g}.": ...,
    }


@check("a number from 0 to 1, the share of the saving that is eaten", 1e-3)
def rebound(answer: float) -> Finding:
    return answer, {
        "Right: a quarter of the energy is left, 3/4 saved, and 15/16 were expected: a fifth is eaten.": 0.2,
        "that is the energy that is left. What did you expect to save, and what did you save?": 0.25,
        "that is the share saved. Compare it with the 15/16 that were expected.": 0.75,
        "that is the share of the expected saving that came true. The rebound is the rest.": 0.8,
        "that is the difference of the two savings. The rebound is its share of the expected one.": 0.1875,
        "that is the elasticity. How many times as many uses are there?": 0.5,
        "that is by how many times use grows. What does that do to the energy?": 4,
        "asked for is a share from 0 to 1, not percent.": 20,
        "use grows by the factor 16 ** 0.5, and each use takes 1/16. From there, R as in the formula.": ...,
    }
