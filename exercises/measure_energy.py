"""Checks of “Measure energy”: measuring energy."""

from collections.abc import Callable, Iterable

import numpy as np
from scipy import stats

from .base import Finding, check, sorted_out, untouched

RUNS = 400  # new ones, to see how many of them the intervals contain
CLAIMS = {
    "A": "A gives three digits and no method: without a counter it can only be a model, with a wide range.",
    "C": "C takes an unknown for a zero; the block was too short for any meter.",
    "D": "D rests on one run each, and 4 % is less than the same run differs from itself on a busy machine.",
    "B": "one more: a ranking that was repeated, and that no guess turns around, needs no counter.",
    "E": "one more: a time and an accuracy are read off directly, and a range may be stated as one.",
}


def fewest(effect: float, power: float = 0.8, level: float = 0.95) -> int:
    """Return the fewest rounds whose t interval leaves out 0 so often; `effect` is mean over deviation."""
    n = 2
    while stats.nct.sf(stats.t.ppf((1 + level) / 2, n - 1), n - 1, effect * n**0.5) < power:
        n += 1
    return n


@check("a function of (scatter, apart) that returns a number of rounds")
def rounds_needed(answer: Callable) -> Finding:
    for scatter, apart in ((0.06, 0.03), (1.2, 1.5)):
        effect, got = np.log1p(apart) / scatter, answer(scatter, apart)
        n, half = fewest(effect), fewest(effect, 0.5)
        enough = set(range(n - max(1, n // 10), n + max(1, n // 10) + 1))  # a simulation may be off by a few
        if got not in enough:
            break
    return got, {
        "Right: half the difference, or twice the scatter, takes about four times the rounds.": enough,
        "1.96 is for a scatter that is known; few rounds know it badly.": np.ceil((2.8 / effect) ** 2),
        "that is for an interval of 90 %: an end of a 95 % one leaves out 2.5 %.": fewest(effect, level=0.9),
        "so many leave out 0 only half the time; four times in five is asked for.": {half, half + 1},
        "the mean log ratio is log(1 + apart), not `apart`.": fewest(apart / scatter),
        "the two arguments are swapped: the scatter comes first.": fewest(np.log1p(scatter) / apart),
        f"for a scatter of {scatter} and {apart:.0%} apart you give {got:.4g} rounds, expected {n}.": ...,
    }


@check("a function of (tool_w, wall_w, new_w) that returns two numbers, the ends of an interval in watts")
def calibrate(answer: Callable) -> str:
    draw, held, wide, right_wide = np.random.default_rng(0), [], [], []
    for _ in range(RUNS):
        tool_w = draw.uniform(80, 400, 7)
        wall_w = 150 + 1.2 * tool_w + draw.normal(0, 12, 7)
        low, high = map(float, untouched(answer, tool_w[:6], wall_w[:6], float(tool_w[6])))
        line = stats.linregress(tool_w[:6], wall_w[:6])
        rest = wall_w[:6] - line.intercept - line.slope * tool_w[:6]
        away = (tool_w[6] - tool_w[:6].mean()) ** 2 / (tool_w[:6].var() * 6)
        right_wide.append(2 * stats.t.ppf(0.975, 4) * np.sqrt((rest @ rest) / 4 * (1 + 1 / 6 + away)))
        held.append(low <= wall_w[6] <= high)
        wide.append(high - low)
    share, times = np.mean(held), np.mean(wide) / np.mean(right_wide)
    found = f"of {RUNS} new runs, after six known ones, your intervals contain {share:.0%}"
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
    times = np.arange(0.0, 3_000.0, 10.0)
    watts, (short, long) = 40 + 15 * np.sin(times / 25), (times + (times > 120) * late for late in (19, 21))
    for begin, end in (-20.0, 60.0), (2_900.0, 3_020.0):
        if untouched(answer, times, watts, begin, end) is not None:
            return "a block that begins before the file, or ends after it, has no known energy: return None."
    if answer(long, watts, 100.0, 200.0) is not None:
        return "for 31 s of a block there is no reading, where 10 s are usual: it is unknown, return None."
    if answer(short, watts, 100.0, 200.0) is None:
        return "29 s without a reading are less than three usual intervals of 10 s: that is no gap yet."
    if answer(long, watts, 33.0, 87.0) is None:
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
    return sorted_out(answer, "BE", CLAIMS) or right
