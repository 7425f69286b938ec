"""Checks of “Pretrained models”: what can be done with a model's vectors, and what was shown."""

from collections.abc import Callable, Iterable

import numpy as np

from .base import Finding, check, sorted_out, untouched

SHOWN = {
    "B": "B: they found a neighbor of the same kind more than twice as often as chance, like counting words.",
    "C": "C: with 600 labels counting words is still several points behind.",
    "D": "D: about two in three agree, where a coin gives one in two. Alike in topic isn't alike in opinion.",
    "A": "one more: no label was used when the neighbors were found.",
    "E": "one more: look at the right panel of the digits, after 20 steps and after 80.",
}


@check("a function of (vectors, labels, new) that returns one label for each new vector")
def nearest_mean(answer: Callable) -> Finding:
    draw, truth = np.random.default_rng(0), np.arange(60) % 3
    labels = draw.permutation(np.repeat([0, 1, 2], (40, 10, 25)))
    vectors, new = (2 * np.eye(8)[each] + draw.normal(0, 0.5, (len(each), 8)) for each in (labels, truth))
    vectors[labels == 0] *= 4  # long vectors, which say no more than short ones
    new *= draw.uniform(0.2, 5, (60, 1))
    means = np.stack([vectors[labels == each].mean(axis=0) for each in (0, 1, 2)])
    unit = means / np.linalg.norm(means, axis=1, keepdims=True)
    likest = (new @ unit.T).argmax(axis=1)
    return untouched(answer, vectors, labels, new), {
        "Right: nothing was optimized; all there is to it is a mean for each class.": likest,
        "a class of long vectors wins all: bring the means to length 1.": (new @ means.T).argmax(1),
        "compare directions, not distances.": ((new[:, None] - means) ** 2).sum(axis=2).argmin(1),
        "that is the class that is least like it.": (new @ unit.T).argmin(axis=1),
        "those are the labels of the likest sentences: average.": labels[(new @ vectors.T).argmax(1)],
        "give each of the 60 new vectors the label of the class whose mean is most like it.": ...,
    }


@check("a function of (scores, similarity, count, weight) that returns row numbers")
def varied(answer: Callable) -> str:
    vectors = np.random.default_rng(1).normal(size=(12, 4))
    vectors[1] = vectors[0] + 0.01  # nearly the same sentence
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity, scores = vectors @ vectors.T, vectors @ (vectors[0] + 0.4 * vectors[2])
    for weight in (1.0, 0.7, 0.3):
        chosen = [int(row) for row in untouched(answer, scores, similarity, 4, weight)]
        if len(chosen) != 4 or len({*chosen}) != 4:
            return f"asked for 4 rows you return {chosen}: four different ones, please."
        for place, row in enumerate(chosen):
            like = similarity[:, chosen[:place]].max(axis=1) if place else 0
            worth = weight * scores - (1 - weight) * like
            worth[chosen[:place]] = -np.inf
            if worth[row] < worth.max() - 1e-9:
                rule = "weight x score - (1 - weight) x the likeness to the most similar of those chosen"
                better = f"row {worth.argmax()} is worth {worth.max():.3f}, row {row} {worth[row]:.3f}"
                return f"with weight {weight}, for number {place + 1}, {better}: {rule}."
    return "Right: with weight 1 it is the plain search; below it, each new one has to add something."


@check("a set of letters, such as {'A', 'B'}")
def shown(answer: Iterable[str]) -> str:
    return sorted_out(answer, "AE", SHOWN) or "Right: a start that is ahead, and kinds without labels."
