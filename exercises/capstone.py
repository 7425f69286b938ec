"""Checks of “Capstone”: the capstone."""

from collections.abc import Callable, Iterable

from capstone import judge
from helpers import data

from .base import Finding, check, near, sorted_out

OFF_THE_FRONT = {
    "B": "B gets 82 % for 0.30 Wh, and somebody gets the same for less.",
    "D": "D is beaten twice over: C is more accurate and uses less.",
    "F": "F ran on a machine with a GPU. Its 0.20 Wh say nothing beside the laptop's.",
}
ON_THE_FRONT = {
    "C": "for each entry ask: is there one on the same machine as accurate or better, for less?",
    "E": "C is the most accurate. Is there an entry that C doesn't beat in energy?",
    "A": "one more: a front has a cheap end too, target or not.",
}
CAUGHT = {
    "A": "one more: the receipt holds each answer, and the labels are in the repository.",
    "B": "one more: the time and the load are in the raw samples too, and a tenth doesn't fit them.",
    "C": "one more: can two people's runs take the same time to the nanosecond?",
}
NOT_CAUGHT = {
    "D": "D goes through: what was trained on doesn't show in a receipt; the model is simply very good.",
    "E": "E goes through: the judge sees answers to the same sentences, not how they were found.",
    "F": "F goes through: samples that all agree are what an honest receipt looks like.",
}


@check("a function of (train_wh, joules_per_1000, predictions) that returns watt-hours")
def job(answer: Callable) -> Finding:
    got, train_wh, joules = float(answer(0.4, 90.0, 20_000)), 0.4, 20 * 90
    if near(got, 0.9) and not near(answer(1.0, 36.0, 0), 1):
        return "it is right for 20,000 predictions, but not for none."
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
    right = "Right: none of the three is beaten in one of the two without winning in the other."
    return sorted_out(answer, OFF_THE_FRONT, ON_THE_FRONT) or right


@check("a set of letters, such as {'A', 'B'}")
def caught(answer: Iterable[str]) -> str:
    text = "Right: a check finds what doesn't agree. Against D, E and F only reading each other's code helps."
    return sorted_out(answer, NOT_CAUGHT, CAUGHT) or text


@check("a function train(train_set, validation_set) that returns a function predict(texts)")
def train(answer: Callable) -> str:
    train_set = data.take(data.load_reviews("train"), 400)
    validation_set = data.take(data.load_reviews("validation"), 100)
    predict = answer(train_set, validation_set)
    if not callable(predict):
        return f"it returns a {type(predict).__name__}; expected the function `predict` itself."
    texts, labels = validation_set["text"][:], validation_set["label"][:]
    together = judge.as_labels(predict(texts), len(texts))
    alone = [judge.as_labels(predict([text]), 1)[0] for text in texts[:20]]
    if sum(a != b for a, b in zip(alone, together, strict=False)) > 1:
        return "asked one by one, sentences get other answers than together. Does the model read the padding?"
    if len(set(together)) == 1:
        return f"all {len(texts)} sentences get the answer {together[0]}: nothing was learned yet."
    accuracy = sum(a == b for a, b in zip(together, labels, strict=True)) / len(texts)
    if accuracy < 0.5:
        return f"{accuracy:.0%} are right, less than a coin gets: are 0 (negative) and 1 swapped?"
    return f"Right: it keeps to the contract. After 400 sentences {accuracy:.0%} of 100 others are right."
