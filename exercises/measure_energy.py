"""Checks for “Measure energy”: measuring energy."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from .base import Verdict, check, letters, not_yet, right

__all__ = ["claims", "cpu_model", "net"]

NO_DEFENSE = {
    "A": "A gives three digits and no method: without a counter it can only be a model, with a wide range",
    "C": "C takes an unknown for a zero; the block was too short for any meter",
    "D": "D rests on one run each, and 4 % is less than the same run differs from itself on a busy machine",
}


def _near(value: float, target: float) -> bool:
    return math.isclose(value, target, rel_tol=1e-3)


@check("a function of (max_w, load, seconds) that returns watt-hours")
def cpu_model(answer: Callable[[float, float, float], float]) -> Verdict:
    """Judge the modelled CPU energy as a function."""
    max_w, load, seconds = 60.0, 0.5, 120.0
    got = float(answer(max_w, load, seconds))
    joules = max_w * (0.1 + 0.9 * load**3) * seconds
    if _near(got, joules / 3_600) and _near(float(answer(20.0, 0.0, 3_600.0)), 2.0):
        return right(
            "at half load the model draws about a fifth of the maximum, and at no load a tenth. The maximum "
            "itself is the guess that everything hangs on."
        )
    slips = {
        "that is in joules. A watt-hour is 3,600 of them.": joules,
        "your load goes in as it is; the model takes its third power.": max_w
        * (0.1 + 0.9 * load)
        * seconds
        / 3_600,
        "the idle tenth is missing: at load 0 the model still draws 0.1 x the maximum.": max_w
        * 0.9
        * load**3
        * seconds
        / 3_600,
        "an hour has 3,600 seconds, not 60.": joules / 60,
    }
    for message, wrong in slips.items():
        if _near(got, wrong):
            return not_yet(message)
    return not_yet(f"for 60 W, load 0.5 and 120 s you give {got:.4g} Wh, expected {joules / 3_600:.4g} Wh.")


@check("a number, the net energy in watt-hours")
def net(answer: float) -> Verdict:
    """Judge 0.050 Wh without 21 W of idle power over 6 s."""
    value, net = float(answer), 0.050 - 21 * 6 / 3_600
    if _near(value, net):
        return right("0.035 Wh would have gone anyway; the work added 0.015 Wh, less than a third.")
    if _near(value, 21 * 6 / 3_600):
        return not_yet("that is what the idle machine would have used. What is left of 0.050 Wh without it?")
    if _near(value, 0.050 - 21 * 6):
        return not_yet("21 W for 6 s are 126 joules, and the total is in watt-hours.")
    if _near(value, net * 3_600):
        return not_yet("right, but in joules; in watt-hours, please.")
    if _near(value, 0.050 + 21 * 6 / 3_600):
        return not_yet("the idle part is in the total already: take it off, don't add it.")
    return not_yet("multiply the idle power by the time, turn it into watt-hours, and take it off the total.")


@check("a set of letters, such as {'A', 'B'}")
def claims(answer: Iterable[str]) -> Verdict:
    """Judge which claims could be defended without a counter."""
    given = letters(answer, "ABCDE")
    for letter, why in NO_DEFENSE.items():
        if letter in given:
            return not_yet(f"{why}.")
    if "B" not in given:
        return not_yet(
            "one more: a ranking that was repeated, and that no guess turns around, needs no counter."
        )
    if "E" not in given:
        return not_yet(
            "one more: a time and an accuracy are read off directly, and a range may be stated as one."
        )
    return right("a ranking that survives every guess, and a figure with its method and its range.")
