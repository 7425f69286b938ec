"""Checks of “Welcome”: how a notebook works."""

from .base import Finding, check


@check("a number, the energy in joules")
def joules(answer: float) -> Finding:
    return answer, {
        "Right: a watt-hour is one watt for 3,600 seconds, so 0.05 Wh is 180 J.": 180,
        "that is for 60 seconds in an hour; a joule is a watt for one second.": 3,
        "the other way around: joules are smaller than watt-hours, so there are more of them.": 5e-2 / 3_600,
        "that is for kilowatt-hours: a watt-hour is a thousandth of one.": 180e3,
        "multiply by the seconds of an hour; you divide by the watt-hours.": 3_600 / 0.05,
        "a watt is a joule a second. How many seconds does an hour have?": ...,
    }
