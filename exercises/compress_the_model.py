"""Checks of “Compress the model”: compressing the model."""

from collections.abc import Callable

import numpy as np

from .base import Finding, check, near


@check("a function of (low, high, bits) that returns a scale and a zero point")
def scale(answer: Callable) -> Finding:
    got = tuple(answer(-0.6, 1.0, 4))
    if len(got) != 2:
        return f"return two numbers, the scale and the zero point; you return {len(got)}."
    width, step, others = 1.6, 1.6 / 15, [(4 / 255, 64), (1 / 255, 0)]
    if near(got, (step, 6)) and not near([answer(-1.0, 3.0, 8), answer(0.0, 1.0, 8)], others):
        return "it is right for one range, but not for -1 to 3, or 0 to 1, with 8 bits."
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
        "a step is the range divided by the number of steps, not the other way round.": 15 / width,
        "your number of steps doesn't depend on the bits, which are 4 here.": width / 255,
        f"for -0.6 to 1.0 with 4 bits the scale is {step:.4f}, you give {float(got[0]):.4g}.": ...,
    }


@check("a function of (sure, cheap_right, large_right, threshold) that returns two shares")
def cascade(answer: Callable) -> Finding:
    sure = np.array([0.95, 0.55, 0.8, 0.7, 0.99])
    cheap, large = np.array([1, 0, 0, 1, 1]), np.array([1, 1, 1, 0, 1])
    got = tuple(answer(sure.copy(), cheap.copy(), large.copy(), 0.8))
    if len(got) != 2:
        return f"return two numbers, the accuracy and the share passed on; you return {len(got)}."
    if near(got, (3 / 5, 2 / 5)):
        if not near(answer(sure, cheap, large, 0.0), (3 / 5, 0)):
            return "it is right here, but with the threshold 0 everything stays with the cheap one."
        if not near(answer(sure, cheap, large, 2.0), (4 / 5, 1)):
            return "it is right here, but with the threshold 2 everything goes to the large one."
    hint = f"for five sentences you give {got[0]:.3g} and {got[1]:.3g}, expected 0.6 and 0.4."
    if near(got[1], 2 / 5):
        hint = "the share is right. For the accuracy take `cheap_right` or `large_right`, by row."
    return got, {
        "Right: and the energy follows from the second number: the cheap one for all, and the large one for "
        "its share.": [3 / 5, 2 / 5],
        "the second number is the share that stays; asked is the share passed on.": [3 / 5, 3 / 5],
        "the wrong way round: where the cheap one is sure, its answer counts.": [4 / 5, 2 / 5],
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
