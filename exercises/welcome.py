"""Checks for “Welcome”: how a notebook works."""

from __future__ import annotations

from .base import Verdict, check, not_yet, right

__all__ = ["joules"]


@check("a number, the energy in joules")
def joules(answer: float) -> Verdict:
    """Judge the conversion of 0.05 Wh to joules."""
    if abs(answer - 180) < 1e-6:
        return right("a watt-hour is one watt for 3,600 seconds, so 0.05 Wh is 180 J.")
    if abs(answer - 3) < 1e-6:
        return not_yet("that is for 60 seconds in an hour; a joule is a watt for one second.")
    if abs(answer - 0.05 / 3_600) < 1e-6:
        return not_yet("the other way around: joules are smaller than watt-hours, so there are more of them.")
    return not_yet("a watt is a joule a second. How many seconds does an hour have?")
