"""Checks of “Measure energy”: measuring energy."""

from collections.abc import Callable, Iterable

from .base import Finding, check, letters, near

NO_DEFENSE = {
    "A": "A gives three digits and no method: without a counter it can only be a model, with a wide range",
    "C": "C takes an unknown for a zero; the block was too short for any meter",
    "D": "D rests on one run each, and 4 % is less than the same run differs from itself on a busy machine",
}
DEFENSE = {
    "B": "a ranking that was repeated, and that no guess turns around, needs no counter.",
    "E": "a time and an accuracy are read off directly, and a range may be stated as one.",
}


@check("a function of (max_w, load, seconds) that returns watt-hours", 1e-3)
def cpu_model(answer: Callable) -> Finding:
    """Judge the modeled CPU energy as a function."""
    got, most, cube = float(answer(60.0, 0.5, 120.0)), 60 * 120 / 3_600, 0.5**3
    wh = most * (0.1 + 0.9 * cube)
    if near(got, wh, 1e-3) and not near(answer(20.0, 0.0, 3_600.0), 2, 1e-3):
        return "it is right for 60 W at half load, but not for 20 W at no load."
    return got, {
        "Right: at half load the model draws about a fifth of the maximum, and at no load a tenth. The "
        "maximum itself is the guess that everything hangs on.": wh,
        "that is in joules. A watt-hour is 3,600 of them.": wh * 3_600,
        "your load goes in as it is; the model takes its third power.": most * (0.1 + 0.9 * 0.5),
        "the idle tenth is missing: at load 0 the model still draws 0.1 x the maximum.": most * 0.9 * cube,
        "an hour has 3,600 seconds, not 60.": wh * 60,
        f"for 60 W, load 0.5 and 120 s you give {got:.4g} Wh, expected {wh:.4g} Wh.": ...,
    }


@check("a number, the net energy in watt-hours", 1e-3)
def net(answer: float) -> Finding:
    """Judge 0.050 Wh without 21 W of idle power over 6 s."""
    idle = 21 * 6 / 3_600
    return answer, {
        "Right: 0.035 Wh would have gone anyway; the work added 0.015 Wh, less than a third.": 0.050 - idle,
        "that is what the idle machine would have used. What is left of 0.050 Wh without it?": idle,
        "21 W for 6 s are 126 joules, and the total is in watt-hours.": 0.050 - 21 * 6,
        "right, but in joules; in watt-hours, please.": (0.050 - idle) * 3_600,
        "the idle part is in the total already: take it off, don't add it.": 0.050 + idle,
        "multiply the idle power by the time, turn it into watt-hours, and take it off the total.": ...,
    }


@check("a set of letters, such as {'A', 'B'}")
def claims(answer: Iterable[str]) -> str:
    """Judge which claims could be defended without a counter."""
    given = letters(answer, "ABCDE")
    if wrong := given & NO_DEFENSE.keys():
        return f"{NO_DEFENSE[min(wrong)]}."
    if missing := DEFENSE.keys() - given:
        return f"one more: {DEFENSE[min(missing)]}"
    return "Right: a ranking that survives every guess, and a figure with its method and its range."
