"""Checks of “The whole bill”: what a model costs over its life, and the published numbers."""

from collections.abc import Callable, Iterable

from .base import Finding, check, near, sorted_out, untouched

UNSAID = {
    "A": "A is said: certificates make market-based books. What it hides is the grid's figure.",
    "E": "E is said: in Texas.",
    "B": "one more: a fifth of a gram or a fiftieth may be a matter of what was counted.",
    "C": "one more: less than what? Another model, longer answers, or the same ones before the certificates.",
    "D": "one more: a figure that doesn't say whether it was measured is a guess until it does.",
    "F": "one more: per *what*? A median answer of ten words and a mean one of a thousand are far apart.",
}


@check("a function of (energy_kwh, intensity, making_kg, reserved_h, life_h, share, answers)")
def sci(answer: Callable) -> Finding:
    for machine in ((2.0, 400.0, 200.0, 30.0, 8_000.0, 0.25, 5_000), (0.3, 50, 1_500, 10, 40_000, 0.5, 700)):
        kwh, intensity, making_kg, reserved_h, life_h, share, answers = machine
        power, whole, part = kwh * intensity, 1_000 * making_kg, reserved_h / life_h * share
        right, got = (power + whole * part) / answers, answer(*machine)
        messages = {
            "Right: electricity and a share of the making, over the answers. On a grid of 0 g, making is "
            "what remains.": right,
            "the making is in kilograms, the electricity in grams.": (power + making_kg * part) / answers,
            "divide both terms by the answers, the making too.": power / answers + whole * part,
            "divide both terms by the answers, the electricity too.": power + whole * part / answers,
            "that is all of the answers: divide by their number.": power + whole * part,
            "the making is missing.": power / answers,
            "reserved_h / life_h of the making is yours, and `share` of that.": (power + whole) / answers,
            "the share of the machine is missing.": (power + whole * part / share) / answers,
            "upside down: reserved_h / life_h.": (power + whole * life_h / reserved_h * share) / answers,
            f"for {machine} you give {got:.4g} g, expected {right:.4g} g.": ...,
        }
        if not near(got, right):
            break
    return got, messages


@check("a set of letters, such as {'A', 'B'}")
def press(answer: Iterable[str]) -> str:
    right = "Right: without them nobody can say whether anything was saved, or only bought."
    return sorted_out(answer, "BCDF", UNSAID) or right


@check("a function of (parameters, tokens, flop_per_s, power_w, pue) that returns kWh")
def training_energy(answer: Callable) -> Finding:
    for run in ((1e9, 2e10, 1e14, 400, 1.2), (3e8, 5e9, 2e13, 250, 1.5)):
        parameters, tokens, flop_per_s, power_w, pue = run
        joules = 6 * parameters * tokens / flop_per_s * power_w * pue
        kwh, got = joules / 3.6e6, float(answer(*run))
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


@check("a function of (total, inputs) that returns the inputs' names, the one that moves most first")
def swings(answer: Callable) -> str:
    inputs = {"b": (1.0, 2.0, 4.0), "a": (10.0, 10.5, 11.0), "c": (0.1, 0.5, 1.0), "d": (-3.0, 0.0, 5.0)}
    totals = {
        "b + a - 20 c": lambda x: x["b"] + x["a"] - 20 * x["c"],
        "a b / c": lambda x: x["a"] * x["b"] / x["c"],
        "9 a + d + b": lambda x: 9 * x["a"] + x["d"] + x["b"],
        "2 b - 2 d a": lambda x: 2 * x["b"] - 2 * x["d"] * x["a"],
    }
    likely = {each: spread[1] for each, spread in inputs.items()}
    for name, total in totals.items():
        got = [*untouched(answer, total, inputs)]
        if sorted(got) != sorted(inputs):
            return f"for the total {name} you return {got}. Return each name once: {', '.join(inputs)}."
        ends = ([total(likely | {each: inputs[each][end]}) for end in (0, 2)] for each in got)
        swing = [round(abs(high - low), 9) for low, high in ends]
        if swing == sorted(swing):
            return "that is the order upside down: the one that moves the total most comes first."
        if swing != sorted(swing, reverse=True):
            moved = ", ".join(f"{each} by {far:.3g}" for each, far in zip(got, swing, strict=True))
            return f"for the total {name} you return {got}; with the others at *likely*, that moves: {moved}."
    return "Right: one at a time, and as a distance. What two inputs do together, this doesn't show."
