"""Checks of “Capstone”: the capstone."""

from collections.abc import Callable, Iterable

import numpy as np

from capstone import judge
from helpers import data

from .base import Finding, check, near, sorted_out

FRONT = {
    "B": "B gets 82 % for 0.30 Wh, and somebody gets the same for less.",
    "D": "D is beaten twice over: C is more accurate and uses less.",
    "F": "F ran on a machine with a GPU. Its 0.20 Wh say nothing beside the laptop's.",
    "C": "for each entry ask: is there one on the same machine as accurate or better, for less?",
    "E": "C is the most accurate. Is there an entry that C doesn't beat in energy?",
    "A": "one more: a front has a cheap end too, target or not.",
}
CAUGHT = {
    "D": "D goes through: what was trained on doesn't show in a receipt; the model is simply very good.",
    "E": "E goes through: the judge sees answers to the same sentences, not how they were found.",
    "F": "F goes through: samples that all agree are what an honest receipt looks like.",
    "A": "one more: the receipt holds each answer, and the labels are in the repository.",
    "B": "one more: the time and the load are in the raw samples too, and a tenth doesn't fit them.",
    "C": "one more: can two people's runs take the same time to the nanosecond?",
}


@check("a function of (train_wh, joules_per_1000, predictions) that returns watt-hours")
def job(answer: Callable) -> Finding:
    got, train_wh, joules = float(answer(0.4, 90.0, 20_000)), 0.4, 20 * 90
    if near(got, 0.9) and not near(answer(1.0, 36.0, 5_000), 1.05):
        return "it is right for 0.4 Wh, 90 J and 20,000 predictions, but not for 1 Wh, 36 J and 5,000."
    return got, {
        "Right: 0.4 Wh to train and 0.5 Wh to serve: at 20,000 predictions, serving costs more.": 0.9,
        "that adds joules to watt-hours. A watt-hour is 3,600 joules.": train_wh + joules,
        "the joules are for 1,000 predictions, not for one.": train_wh + 1_000 * joules / 3_600,
        "you count 1,000 predictions, not all of them.": train_wh + 90 / 3_600,
        "the training is missing: it is paid once, but it is paid.": joules / 3_600,
        "training is paid once, not for each 1,000 predictions.": 20 * train_wh + joules / 3_600,
        "that is in joules; in watt-hours, please.": train_wh * 3_600 + joules,
        "an hour has 3,600 seconds, not 60.": train_wh + joules / 60,
        f"for 0.4 Wh, 90 J and 20,000 predictions you give {got:.4g} Wh, expected 0.9 Wh.": ...,
    }


@check("a set of letters, such as {'A', 'B'}")
def front(answer: Iterable[str]) -> str:
    right = "Right: whoever beats one of the three in accuracy takes more energy, and the other way around."
    return sorted_out(answer, "ACE", FRONT) or right


@check("a set of letters, such as {'A', 'B'}")
def caught(answer: Iterable[str]) -> str:
    text = "Right: a check finds what doesn't agree. Against D, E and F only reading each other's code helps."
    return sorted_out(answer, "ABC", CAUGHT) or text


@check("a function train(train_set, validation_set) that returns a function predict(texts)")
def train(answer: Callable) -> str:
    reviews = data.load_reviews("train")
    train_set, unseen = data.take(reviews, 400), reviews.select(range(400, 700))
    validation_set = data.take(data.load_reviews("validation"), 100)
    predict = answer(train_set, validation_set)
    if not callable(predict):
        return f"it returns a {type(predict).__name__}; expected the function `predict` itself."
    texts = unseen["text"][:]
    together = judge.as_labels(predict(texts), len(texts))
    alone = [judge.as_labels(predict([text]), 1)[0] for text in texts[:20]]
    if sum(a != b for a, b in zip(alone, together, strict=False)) > 1:
        return "asked one by one, sentences get other answers than together. Does the model read the padding?"
    if len(set(together)) == 1:
        return f"all {len(texts)} sentences get the answer {together[0]}: nothing was learned yet."
    accuracy = np.mean(np.equal(together, unseen["label"][:]))
    known = judge.as_labels(predict(validation_set["text"][:]), 100) == validation_set["label"][:]
    found = f"{accuracy:.0%} of 300 others are right"
    if known and accuracy < 0.9:
        return f"validation was learned by heart: all of it is right, and {found}. Fit on `train_set` alone."
    if accuracy < 0.45:
        return f"{found}, less than a coin gets: are 0 (negative) and 1 swapped?"
    if accuracy < 0.55:
        return f"{found}, about what a coin gets. What does the model learn from `train_set`?"
    return f"Right: it keeps to the contract. After 400 sentences {found}."
