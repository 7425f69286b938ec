"""Checks of “Pretrained models”: pretrained models and the published numbers."""

from collections.abc import Callable

from helpers import facts

from .base import Finding, check, near


@check("a number, BERT's carbon in passengers' flights", 0.01)
def flight(answer: float) -> Finding:
    """Judge BERT's pretraining in flights of one passenger: 652 kg over 900 kg."""
    numbers = facts.load()
    ratio = numbers["bert_carbon"].value / numbers["flight_carbon"].value
    return answer, {
        "Right: about 0.72 of one passenger's trip there and back. A plane carries a hundred and more, so "
        "'a flight' is off by that factor, and the figure is an estimate from power samples besides.": ratio,
        "the other way around: that is how many BERTs make up a flight.": 1 / ratio,
        "the digits are right; give it as a number of flights, not in percent.": 100 * ratio,
        "divide the kilograms of BERT's pretraining by those of one passenger's flight.": ...,
    }


@check("a fraction from 0 to 1, the time saved", 0.01)
def time_saved(answer: float) -> Finding:
    """Judge the fraction of time that 410 s save against 668 s."""
    numbers = facts.load()
    before, after = numbers["bert_inference_s"].value, numbers["distilbert_inference_s"].value
    saved, more = 1 - after / before, before / after - 1
    return answer, {
        "Right: about 39 %. Working 1.63 times as fast leaves 1 / 1.63 of the time. And neither figure is "
        "about energy: the paper gives none.": saved,
        "that is how much more work it does in the same time. How much less time for the same?": {more, 0.6},
        "that is how many times as fast it is. What fraction of the 668 s is gone?": before / after,
        "that is the fraction of the time that is left.": after / before,
        "the digits are right; give a fraction from 0 to 1.": 100 * saved,
        "those are the seconds saved. Of how many?": before - after,
        "DistilBERT takes 410 s where BERT takes 668 s. What fraction of 668 s is saved?": ...,
    }


@check("a number, grams of CO2e for each kWh", 0.01)
def intensity(answer: float) -> Finding:
    """Judge the intensity that BLOOM's figures imply: 24.7 t over 433,196 kWh."""
    numbers = facts.load()
    dynamic, all_of_it = numbers["bloom_carbon_dynamic"].value, numbers["bloom_carbon_all"].value
    grams, whole = (1e6 * tonnes / numbers["bloom_energy"].value for tonnes in (dynamic, all_of_it))
    return answer, {
        "Right: about 57 g/kWh. Many grids emit five to ten times as much: the small figure is the "
        "place's.": grams,
        "that is in kilograms. A kilogram has 1,000 grams.": grams / 1e3,
        "that is in tonnes. A tonne has a million grams.": grams / 1e6,
        "that is for a megawatt-hour.": grams * 1e3,
        "50.5 t also counts idle hours and making the hardware; take what the computing emitted.": whole,
        "turn 24.7 t into grams, and divide by the kilowatt-hours.": ...,
    }


@check("a function of (parameters, tokens, flop_per_s, power_w, pue) that returns kWh")
def training_energy(answer: Callable) -> Finding:
    """Judge the energy of a training run on two made-up ones."""
    for run in ((1e9, 2e10, 1e14, 400, 1.2), (3e8, 5e9, 2e13, 250, 1.5)):
        parameters, tokens, flop_per_s, power_w, pue = run
        joules = 6 * parameters * tokens / flop_per_s * power_w * pue
        kwh, got = joules / 3.6e6, answer(*run)
        if not isinstance(got, int | float):
            return f"your function returned {got!r}. Return one number, the kWh."
        messages = {
            "Right: operations over rate, times power, times PUE. Twice the tokens, twice the energy.": kwh,
            "that is in joules: a kilowatt-hour has 3.6 million of them.": joules,
            "that is in watt-hours: divide by 1,000.": kwh * 1e3,
            "watts times seconds are joules; divide by 3,600 seconds in an hour as well.": joules / 1e3,
            "the PUE is missing: the building uses power too.": kwh / pue,
            "divided by the PUE; it makes the bill larger, so multiply.": kwh / pue**2,
            "2 x parameters x tokens is the way forward alone; training goes back as well.": kwh / 3,
            "the 6 is missing.": kwh / 6,
            f"for {parameters:g} weights and {tokens:g} tokens your function gives {got:.4g} kWh, "
            f"expected {kwh:.4g}. Operations over rate are seconds; times watts, joules.": ...,
        }
        if not near(got, kwh):
            break
    return got, messages
