"""Checks for “Pretrained models”: pretrained models and the published numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

from helpers import facts

from .base import Verdict, check, not_yet, right

__all__ = ["flight", "intensity", "time_saved", "training_energy"]


def _near(value: float, target: float, tolerance: float = 0.01) -> bool:
    return math.isclose(value, target, rel_tol=tolerance)


@check("a number, BERT's carbon in passengers' flights")
def flight(answer: float) -> Verdict:
    """Judge BERT's pretraining in flights of one passenger: 652 kg over 900 kg."""
    numbers = facts.load()
    ratio = numbers["bert_carbon"].value / numbers["flight_carbon"].value
    if _near(answer, ratio):
        return right(
            "about 0.72 of one passenger's seat. A plane carries a hundred and more, so 'a flight' is "
            "off by that factor, and the figure is an estimate from power samples besides."
        )
    if _near(answer, 1 / ratio):
        return not_yet("the other way around: that is how many BERTs make up a flight.")
    if _near(answer, 100 * ratio):
        return not_yet("the digits are right; give it as a number of flights, not in percent.")
    return not_yet("divide the kilograms of BERT's pretraining by those of one passenger's flight.")


@check("a share from 0 to 1, the time saved")
def time_saved(answer: float) -> Verdict:
    """Judge the share of time that 410 s save against 668 s."""
    numbers = facts.load()
    before, after = numbers["bert_inference_s"].value, numbers["distilbert_inference_s"].value
    if _near(answer, 1 - after / before):
        return right(
            "about 39 %. Working 1.63 times as fast leaves 1 / 1.63 of the time. And neither figure is about "
            "energy: the paper gives none."
        )
    if _near(answer, before / after - 1) or _near(answer, 0.6):
        return not_yet(
            "that is how much more work it does in the same time. How much less time for the same?"
        )
    if _near(answer, before / after):
        return not_yet("that is how many times as fast it is. What share of the 668 s is gone?")
    if _near(answer, after / before):
        return not_yet("that is the share of the time that is left.")
    if _near(answer, 100 * (1 - after / before)):
        return not_yet("the digits are right; give a share from 0 to 1.")
    if _near(answer, before - after):
        return not_yet("those are the seconds saved. Of how many?")
    return not_yet("DistilBERT takes 410 s where BERT takes 668 s. What share of 668 s is saved?")


@check("a number, grams of CO2e for each kWh")
def intensity(answer: float) -> Verdict:
    """Judge the intensity that BLOOM's figures imply: 24.7 t over 433,196 kWh."""
    numbers = facts.load()
    grams = numbers["bloom_carbon_dynamic"].value * 1e6 / numbers["bloom_energy"].value
    if _near(answer, grams):
        return right(
            "about 57 g/kWh. Many grids emit five to ten times as much: the small figure is the place's."
        )
    if _near(answer, grams / 1e3):
        return not_yet("that is in kilograms. A kilogram has 1,000 grams.")
    if _near(answer, grams / 1e6):
        return not_yet("that is in tonnes. A tonne has a million grams.")
    if _near(answer, grams * 1e3):
        return not_yet("that is for a megawatt-hour.")
    if _near(answer, 1e6 * numbers["bloom_carbon_all"].value / numbers["bloom_energy"].value):
        return not_yet(
            "50.5 t also counts idle hours and making the hardware; take what the computing emitted."
        )
    return not_yet("turn 24.7 t into grams, and divide by the kilowatt-hours.")


@check("a function of (parameters, tokens, flop_per_s, power_w, pue) that returns kWh")
def training_energy(answer: Callable[[float, float, float, float, float], float]) -> Verdict:
    """Judge the energy of a training run on two made-up ones."""
    for parameters, tokens, rate, power_w, pue in ((1e9, 2e10, 1e14, 400, 1.2), (3e8, 5e9, 2e13, 250, 1.5)):
        joules = 6 * parameters * tokens / rate * power_w * pue
        expected, got = joules / 3.6e6, answer(parameters, tokens, rate, power_w, pue)
        slips = {
            "that is in joules: a kilowatt-hour has 3.6 million of them.": joules,
            "that is in watt-hours: divide by 1,000.": expected * 1e3,
            "watts times seconds are joules; divide by 3,600 seconds in an hour as well.": joules / 1e3,
            "the PUE is missing: the building uses power too.": expected / pue,
            "divided by the PUE; it makes the bill larger, so multiply.": expected / pue**2,
            "2 x parameters x tokens is the way forward alone; training goes back as well.": expected / 3,
            "the 6 is missing.": expected / 6,
        }
        if not isinstance(got, int | float):
            return not_yet(f"your function returned {got!r}. Return one number, the kWh.")
        for message, wrong in slips.items():
            if _near(got, wrong, 1e-6):
                return not_yet(message)
        if not _near(got, expected, 1e-6):
            return not_yet(
                f"for {parameters:g} weights and {tokens:g} tokens your function gives {got:.4g} kWh, "
                f"expected {expected:.4g}. Operations over rate are seconds; times watts, joules."
            )
    return right("operations over rate, times power, times PUE. Twice the tokens, twice the energy.")
