"""Checks of “Measure energy”: measuring energy."""

from collections.abc import Callable, Iterable

import numpy as np
from scipy import stats

from .base import Finding, check, near, sorted_out

RUNS = 400  # new ones, to see how many of them the intervals hold
NO_DEFENSE = {
    "A": "A gives three digits and no method: without a counter it can only be a model, with a wide range.",
    "C": "C takes an unknown for a zero; the block was too short for any meter.",
    "D": "D rests on one run each, and 4 % is less than the same run differs from itself on a busy machine.",
}
DEFENSE = {
    "B": "one more: a ranking that was repeated, and that no guess turns around, needs no counter.",
    "E": "one more: a time and an accuracy are read off directly, and a range may be stated as one.",
}


@check("a function of (max_w, load, seconds) that returns watt-hours", 1e-3)
def cpu_model(answer: Callable) -> Finding:
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


@check("a function of (tool_w, wall_w, new_w) that returns two numbers, the ends of an interval in watts")
def calibrate(answer: Callable) -> str:
    draw, held, wide, right_wide = np.random.default_rng(0), [], [], []
    for _ in range(RUNS):
        tool_w = draw.uniform(80, 400, 7)
        wall_w = 150 + 1.2 * tool_w + draw.normal(0, 12, 7)
        low, high = map(float, answer(tool_w[:6].copy(), wall_w[:6].copy(), float(tool_w[6])))
        line = stats.linregress(tool_w[:6], wall_w[:6])
        rest = wall_w[:6] - line.intercept - line.slope * tool_w[:6]
        away = (tool_w[6] - tool_w[:6].mean()) ** 2 / (tool_w[:6].var() * 6)
        right_wide.append(2 * stats.t.ppf(0.975, 4) * np.sqrt((rest @ rest) / 4 * (1 + 1 / 6 + away)))
        held.append(low <= wall_w[6] <= high)
        wide.append(high - low)
    share, times = np.mean(held), np.mean(wide) / np.mean(right_wide)
    found = f"of {RUNS} new runs, after six known ones, your intervals hold {share:.0%}"
    if np.mean(wide) < 0:
        return "the first number is the larger one: return the low end, then the high one."
    if share < 0.92:
        return (
            f"{found}: too few. A run scatters around the line, so its own s squared belongs under the root, "
            "and six runs hardly know their scatter: divide by n - 2, and take t."
        )
    if times > 1.25:
        return f"{found}, but are {times:.1f} times as wide as need be. Fit a line: a slope and an offset."
    return f"Right: {found}, where 95 % are promised; they are no wider than they have to be."


@check("a function of (times_s, watts, begin, end) that returns watt-hours, or None if they are unknown")
def plug(answer: Callable) -> Finding:
    times = np.arange(0.0, 300.0, 10.0)
    watts, heard = 40 + 15 * np.sin(times / 25), (times <= 120) | (times >= 180)
    if answer(times, watts, 200.0, 320.0) is not None:
        return "a block that ends after the file has an unknown energy: return None, not a number."
    if answer(times[heard], watts[heard], 100.0, 200.0) is not None:
        return "for 60 s of a block there is no reading, so its energy is unknown: return None."
    if answer(times[heard], watts[heard], 33.0, 87.0) is None:
        return "this block has all of its readings; the gap comes after it."
    inside, got = (times > 33) & (times < 87), answer(times, watts, 33.0, 87.0)
    grid = np.array([33, *times[inside], 87])
    wh = np.trapezoid(np.interp(grid, times, watts), grid) / 3_600
    within = np.trapezoid(watts[inside], times[inside]) / 3_600
    return got, {
        "Right: lines between the readings and to both ends, and no number where there is none.": wh,
        "that is in joules; a watt-hour is 3,600 of them.": 3_600 * wh,
        "from the block's ends to the next readings something is missing.": within,
        "join the readings by lines; their mean isn't that.": watts[inside].mean() * 54 / 3_600,
        f"between 33 and 87 s it is {wh:.4g} Wh; you give {got:.4g}.": ...,
    }


@check("a set of letters, such as {'A', 'B'}")
def claims(answer: Iterable[str]) -> str:
    right = "Right: a ranking that survives every guess, and a figure with its method and its range."
    return sorted_out(answer, NO_DEFENSE, DEFENSE) or right
