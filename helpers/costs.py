"""Arithmetic on costs: a training's modelled footprint, labels, when it pays off, and when to run it."""

import csv
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from helpers import facts
from helpers.assets import DATA
from helpers.energy import carbon_intensity
from helpers.values import plain, require_range

# The mean of four runs to 2022 (Chowdhery et al., 2022, Table 3); with attention left out of each, 0.32.
DEFAULT_MFU = 0.33


class CostError(ValueError):
    """An input that no cost can be computed from; the message says what was expected."""


@dataclass(frozen=True)
class Footprint:
    """What a training run takes, modelled from its size."""

    flop: float  # floating-point operations
    device_hours: float  # of one accelerator
    energy_kwh: float  # with the data center's overhead (PUE)
    co2e_kg: float | None  # at the yearly mean of the place's grid; None where that is unknown


def footprint(
    parameters: float,
    tokens: float,
    *,
    peak_flop_per_s: float,
    power_w: float,
    mfu: float = DEFAULT_MFU,
    pue: float = 1.0,
    country: str = "USA",
) -> Footprint:
    """Model the energy and carbon of training a transformer.

    Training takes 6 x parameters x tokens operations: 2 of 6 forward, 4 back (Kaplan et al., 2020).

    `parameters` are the weights that a token passes through, `tokens` those seen in training. The peak and
    the power are of one accelerator, with its part of the server's power, if that is known. `mfu` is model
    FLOPs utilization, the fraction of the peak that is reached, above 0 and at most 1; `pue` power usage
    effectiveness, the data center's electricity over that of its computers, 1 or more. A `country` that is no
    ISO 3166 three-letter code raises `energy.EnergyError`, any other value out of its range `CostError`.

    Examples
    --------
    >>> gpt3 = footprint(175e9, 300e9, peak_flop_per_s=24.6e12, mfu=1, power_w=330, pue=1.1)
    >>> print(f"{gpt3.energy_kwh / 1_000:,.0f} MWh")
    1,291 MWh
    """
    for name, value in {"parameters": parameters, "tokens": tokens, "power_w": power_w}.items():
        require_range(name, value, 0, error=CostError)
    require_range("peak_flop_per_s", peak_flop_per_s, 0, above=True, error=CostError)
    require_range("mfu", mfu, 0, 1, above=True, error=CostError)
    require_range("pue", pue, 1, error=CostError)
    flop = 6 * parameters * tokens
    device_hours = flop / (peak_flop_per_s * mfu) / 3_600
    energy_kwh = device_hours * power_w * pue / 1_000
    _, intensity, _ = carbon_intensity(country)
    co2e_kg = None if intensity is None else energy_kwh * intensity / 1_000
    return Footprint(flop, device_hours, energy_kwh, co2e_kg)


def published_runs() -> list[dict]:
    """The calculator against published energies, from published inputs alone.

    Of each run it gives `name`, `flop`, `efficiency` (where the rate comes from), `modelled_mwh`,
    `published_mwh`, its `basis`, `ratio` (modelled over published) and `why` the model misses. For each,
    published_runs.csv names what the ids of its facts begin with, and those of its rate or peak, power and
    PUE; a share of the peak that was published has an id with `_mfu`, and else it is assumed.

    Examples
    --------
    >>> {run["name"]: 0.5 < run["ratio"] < 2 for run in published_runs()}["BLOOM"]
    True
    """
    numbers, rows = facts.load(), []
    runs = Path(__file__).with_name("published_runs.csv").read_text(encoding="utf-8").splitlines()
    for name, model, rate, power, pue, why in csv.reader(runs[1:]):
        parameters = numbers["bert_base_parameters" if model == "bert" else f"{model}_parameters"]
        known = numbers.get(f"{model}_mfu")
        mfu = 1.0 if rate.endswith("_rate") else known.value if known else DEFAULT_MFU
        machines: dict = {"peak_flop_per_s": numbers[rate].value, "mfu": mfu, "power_w": numbers[power].value}
        machines["pue"] = numbers[pue].value if pue else 1.0
        modelled = footprint(parameters.value, numbers[f"{model}_tokens"].value, **machines)
        energy = numbers[f"{model}_energy"]
        modelled_mwh = modelled.energy_kwh / 1_000
        published_mwh = energy.value / {"kWh": 1_000, "MWh": 1}[energy.unit]
        share = f"{mfu:.0%} of peak {'published' if known else 'assumed'}"
        row = {"name": name, "flop": modelled.flop, "efficiency": "published rate" if mfu == 1 else share}
        row |= {"modelled_mwh": modelled_mwh, "published_mwh": published_mwh, "basis": energy.basis}
        rows.append(row | {"ratio": modelled_mwh / published_mwh, "why": why})
    return rows


def labels_needed(rows: Sequence[float], accuracies: Sequence[float], target: float) -> float:
    """Read off a learning curve how many labels a target accuracy needs.

    Straight lines between the points, on a logarithmic axis of labels. A curve that dips counts from
    where it first reaches the target; a target below the first point gives the first point's labels; one that
    the curve never reaches raises `CostError`, as what lies beyond its end is not known. `rows` are the
    labels, growing; `accuracies`, as many, the accuracy with each, 0 to 1, as `target` is.

    Examples
    --------
    >>> round(labels_needed([100, 1_000, 10_000], [0.6, 0.7, 0.8], 0.75))
    3162
    """
    require_range("target", target, 0, 1, error=CostError)
    if len(rows) != len(accuracies) or not len(rows):
        raise CostError(f"{len(rows)} rows and {len(accuracies)} accuracies: expected as many, at least one.")
    for count, accuracy in zip(rows, accuracies, strict=True):
        require_range("rows", count, 0, above=True, error=CostError)
        require_range("accuracies", accuracy, 0, 1, error=CostError)
    if any(second <= first for first, second in itertools.pairwise(rows)):
        raise CostError(f"rows are {plain(list(rows))}: expected each larger than the one before.")
    if accuracies[0] >= target:
        return float(rows[0])
    for (few, low), (many, high) in itertools.pairwise(zip(rows, accuracies, strict=True)):
        if high >= target:
            return float(few * (many / few) ** ((target - low) / (high - low)))
    missed = f"{target} is not on it. Aim lower, or measure with more labels."
    raise CostError(f"The curve ends at {max(accuracies):.3f} with {rows[-1]:,} labels: {missed}")


def break_even(investment: float, before: float, after: float) -> float:
    """After how many uses an investment has paid off; infinity if a use gets no cheaper.

    `investment` is spent once, `before` and `after` it by each use: all in one unit, such as money or energy.

    Examples
    --------
    >>> break_even(investment=100, before=0.05, after=0.03)  # distilled once, cheaper ever after
    5000.0
    """
    for name, value in {"investment": investment, "before": before, "after": after}.items():
        require_range(name, value, 0, error=CostError)
    if investment == 0:
        return 0.0
    # Rounded before it is rounded up: 0.05 - 0.03 is not quite 0.02 in binary.
    return float(math.ceil(round(investment / (before - after), 6))) if before > after else math.inf


@dataclass(frozen=True)
class Schedule:
    """When a job runs, and what that saves."""

    hours: tuple[int, ...]  # that it runs in, counted from now
    intensity_g_per_kwh: float  # their mean
    saving: float  # the fraction of the carbon of starting now, without a pause

    @property
    def hour(self) -> int:
        """The first of its hours."""
        return self.hours[0]


def grid_forecast() -> list[tuple[str, float]]:
    """48 hours of London's grid, each with its start in UTC and the g CO2 per kWh that its operator forecast.

    Examples
    --------
    >>> grid_forecast()[0]
    ('2026-10-03T20:00Z', 282.5)
    """
    with (DATA / "grid" / "london.csv").open(encoding="utf-8", newline="") as file:
        return [(row["start_utc"], float(row["intensity_g_per_kwh"])) for row in csv.DictReader(file)]


def best_start(intensities: Sequence[float], duration_h: int, deadline_h: int | None = None) -> Schedule:
    """When to start a job of constant power for the least carbon, if it must end by a deadline.

    `intensities` are grams per kWh, hour by hour from now. `deadline_h` is how many hours from now the job
    must have ended, the end of `intensities` if not given; one that does not fit raises `CostError`.

    Examples
    --------
    >>> best_start([300, 200, 100, 150, 400], duration_h=2)
    Schedule(hours=(2, 3), intensity_g_per_kwh=125.0, saving=0.5)
    """
    starts = range(_deadline(intensities, duration_h, deadline_h) - duration_h + 1)
    plans = [_schedule(intensities, range(hour, hour + duration_h)) for hour in starts]
    return min(plans, key=lambda plan: plan.intensity_g_per_kwh)


def best_hours(intensities: Sequence[float], duration_h: int, deadline_h: int | None = None) -> Schedule:
    """As `best_start`, for a job that may pause, which is taken to cost nothing: no work is done twice.

    Examples
    --------
    >>> best_hours([300, 100, 500, 100, 400], duration_h=2)
    Schedule(hours=(1, 3), intensity_g_per_kwh=100.0, saving=0.5)
    """
    end_h = _deadline(intensities, duration_h, deadline_h)
    return _schedule(intensities, sorted(range(end_h), key=intensities.__getitem__)[:duration_h])


def _schedule(intensities: Sequence[float], hours: Sequence[int]) -> Schedule:
    now, mean = (sum(intensities[hour] for hour in plan) / len(hours) for plan in (range(len(hours)), hours))
    return Schedule(tuple(sorted(hours)), mean, 1 - mean / now if now else 0.0)


def _deadline(intensities: Sequence[float], duration_h: int, deadline_h: int | None) -> int:
    """Hours from now by which a job must end; an error if it cannot."""
    end_h = len(intensities) if deadline_h is None else deadline_h
    require_range("duration_h", duration_h, 1, whole=True, error=CostError)
    require_range("deadline_h", end_h, 0, len(intensities), whole=True, error=CostError)
    for value in intensities:
        require_range("intensities", value, 0, error=CostError)
    if duration_h > end_h:
        raise CostError(f"A job of {duration_h} h does not end within {end_h} h: move the deadline.")
    return end_h
