"""Checks of “Compress the model”: compressing the model."""

from collections.abc import Callable

import numpy as np

from .base import Finding, check, near, untouched


@check("a function of (low, high, bits) that returns a scale and a zero point")
def scale(answer: Callable) -> Finding:
    got = tuple(answer(-0.6, 1.0, 4))
    if len(got) != 2:
        return f"return two numbers, the scale and the zero point; you return {len(got)}."
    width, step = 1.6, 1.6 / 15
    others = (-1.0, 3.0, 8, 64), (0.0, 1.0, 8, 0), (-1.0, 2.6, 3, 2), (-0.5, 1.0, 4, 5), (-0.3, 1.0, 4, 3)
    for low, high, bits, zero in others:
        right = (high - low) / (2**bits - 1), zero
        if near(got, (step, 6)) and not near(tuple(answer(low, high, bits)), right):
            lies = f"0.0 lies {-low / right[0]:.3g} steps of {right[0]:.6f} above low"
            return f"right for -0.6 to 1, but not for {low:g} to {high:g} with {bits} bits: there {lies}."
    if near(got[0], step):
        return got[1], {
            "Right: -0.6 becomes 0, 0.0 becomes exactly 6, and 1.0 becomes 15: every number is used.": 6,
            "the zero point has to be a whole number: round it. Then 0.0 is hit exactly.": 0.6 / step,
            "the sign: low has to become 0, so the zero point is -low / scale, rounded.": -6,
            "the scale is right. Which whole number does 0.0 become, if low becomes 0?": ...,
        }
    return got[0], {
        "4 bits count from 0 to 15: between 16 numbers lie 15 steps.": width / 16,
        "that is the symmetric scale. Here the range from low to high is laid over all the numbers.": 1 / 7,
        "that takes the largest number alone. The range goes from low to high.": 1 / 15,
        "a step is the range divided by the number of steps, not the other way around.": 15 / width,
        "your number of steps doesn't depend on the bits, which are 4 here.": width / 255,
        f"for -0.6 to 1.0 with 4 bits the scale is {step:.6f}, you give {float(got[0]):.6g}.": ...,
    }


@check("a function of (sure, cheap_right, large_right, threshold) that returns two shares")
def cascade(answer: Callable) -> Finding:
    sure = np.array([0.95, 0.55, 0.8, 0.7, 0.99])
    cheap, large = np.array([1, 0, 0, 1, 1]), np.array([1, 1, 1, 0, 1])

    def shares(threshold: float) -> tuple:
        got = untouched(answer, sure, cheap, large, threshold)
        return tuple(got.values() if isinstance(got, dict) else got)

    got = shares(0.8)
    if len(got) != 2:
        return f"return two numbers, the accuracy and the share passed on; you return {len(got)}."
    if near(got, (3 / 5, 2 / 5)) and not near([shares(0.0), shares(2.0)], [(3 / 5, 0), (4 / 5, 1)]):
        return "it is right for 0.8, but the threshold 0 passes nothing on, and the threshold 2 everything."
    hint = f"for five sentences you give {got[0]:.3g} and {got[1]:.3g}, expected 0.6 and 0.4."
    if near(got[1], 2 / 5):
        hint = "the share is right. For the accuracy take `cheap_right` or `large_right`, by row."
    return got, {
        "Right: and the energy follows from the second number: the cheap one for all, and the large one for "
        "its share.": [3 / 5, 2 / 5],
        "the second number is the share that stays; asked is the share passed on.": [3 / 5, 3 / 5],
        "the wrong way around: where the cheap one is sure, its answer counts.": [4 / 5, 2 / 5],
        "who is exactly as sure as the threshold may answer: pass on what lies below it.": [4 / 5, 3 / 5],
        "that counts; divide by the number of sentences.": [3, 2],
        "the second number is a count; asked is a share.": [3 / 5, 2],
        hint: ...,
    }


@check("a whole number of predictions", 1e-3)
def break_even(answer: float) -> Finding:
    return answer, {
        "Right: 5,400 J spent, 0.12 J saved with each. Ten thousand sentences a day: less than a week.": 45e3,
        "that leaves out what the small model still uses: 0.12 J are saved, not 0.15.": 36e3,
        "that is in thousands of predictions.": 45,
        "a watt-hour is 3,600 joules; you took it for one.": 12.5,
        "a watt-hour is 3,600 joules; you took it for 60.": 750,
        "divide by what is saved, not by what is left.": 180e3,
        "you added the two; saved is their difference.": 30e3,
        "turn both into joules: what is spent once, and what is saved with each prediction.": ...,
    }
