"""What a model costs: a footprint from published inputs, and its four costs over its life.

Arithmetic only. Nothing here measures, so a result is as good as the weakest number put in; an energy
that comes out is *modelled*. Money is in whatever currency the prices are in.

The four costs are compute (to train, to predict), data (labels), people (to develop, to maintain) and
carbon (by place and hour). The first three add up to `Costs.total`; carbon stays in kilograms beside it.
"""

import csv
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

from helpers import facts
from helpers.assets import DATA
from helpers.energy import carbon_intensity

DEFAULT_MFU = 0.33  # the mean of the four shares of peak that Chowdhery et al. (2022) list in Table 3


class CostError(ValueError):
    """An input that no cost can be computed from; the message says what was expected."""


@dataclass(frozen=True)
class Footprint:
    """What a training run takes, modelled from its size.

    Attributes
    ----------
    flop : float
        Floating-point operations.
    device_hours : float
        Hours of one accelerator.
    energy_kwh : float
        With the data center's overhead (PUE).
    co2e_kg : float or None
        At the yearly mean of the place's grid; None where that is unknown.
    intensity_source : str
        The intensity, with its year and source.
    """

    flop: float
    device_hours: float
    energy_kwh: float
    co2e_kg: float | None
    intensity_source: str


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

    A weight takes part in two operations for each token on the way forward and four on the way back, so
    training takes about 6 x parameters x tokens operations (Kaplan et al., 2020).

    Parameters
    ----------
    parameters, tokens : float
        The weights that a token passes through, and the tokens seen in training.
    peak_flop_per_s : float
        The accelerator's peak rate.
    power_w : float
        Power of one accelerator, in watts, with its share of the server if known.
    mfu : float
        Model FLOPs utilization, the share of the peak that is reached, above 0 and at most 1.
    pue : float
        Power usage effectiveness: all of the data center's electricity over that of its computers, 1 or more.
    country : str
        ISO 3166 three-letter code.

    Raises
    ------
    CostError, helpers.energy.EnergyError
        If a number is out of its range; if the country is unknown.

    Examples
    --------
    >>> gpt3 = footprint(175e9, 300e9, peak_flop_per_s=24.6e12, mfu=1, power_w=330, pue=1.1)
    >>> print(f"{gpt3.energy_kwh / 1_000:,.0f} MWh")
    1,291 MWh
    """
    for name, value in {"parameters": parameters, "tokens": tokens, "power_w": power_w}.items():
        _require(name, value, 0)
    _require("peak_flop_per_s", peak_flop_per_s, 0, above=True)
    _require("mfu", mfu, 0, 1, above=True)
    _require("pue", pue, 1)
    flop = 6 * parameters * tokens
    device_hours = flop / (peak_flop_per_s * mfu) / 3_600
    energy_kwh = device_hours * power_w * pue / 1_000
    _, intensity, source = carbon_intensity(country)
    carbon = None if intensity is None else energy_kwh * intensity / 1_000
    return Footprint(flop, device_hours, energy_kwh, carbon, source)


@dataclass(frozen=True)
class _Run:
    """The facts that describe a published run; `rate` is None where only the hardware's peak is published."""

    name: str
    model: str  # what the ids of its facts begin with
    rate: str | None
    peak: str | None
    power: str
    pue: str | None
    why: str


_RUNS = (
    _Run("GPT-3", "gpt3", "gpt3_rate", None, "gpt3_power", "gpt3_pue", "the paper's own arithmetic"),
    _Run("T5-11B", "t5", "t5_rate", None, "t5_power", "t5_pue", "a token passes through half the weights"),
    _Run(
        "BLOOM", "bloom", "bloom_rate", None, "a100_power", None, "best rate; recomputing, restarts left out"
    ),
    _Run("Llama 2", "llama2", None, "a100_peak", "a100_power", None, "efficiency not published"),
    _Run("Llama 3", "llama3", None, "h100_peak", "h100_power", None, "efficiency not published"),
    _Run("Llama 3.1", "llama31", None, "h100_peak", "h100_power", None, "efficiency not published"),
    _Run("BERT-base", "bert", None, "v100_peak", "v100_power", "bert_pue", "ran far below the peak"),
)


def published_runs() -> list[dict]:
    """The calculator against published energies, from published inputs alone.

    Returns
    -------
    list of dict
        For each run `name`, `flop`, `efficiency` (where the rate comes from), `modelled_mwh`,
        `published_mwh`, `basis` of the published figure, `ratio` (modelled over published) and `why` it
        misses.

    Examples
    --------
    >>> {run["name"]: 0.5 < run["ratio"] < 2 for run in published_runs()}["BLOOM"]
    True
    """
    numbers, rows = facts.load(), []
    for run in _RUNS:
        parameters = numbers["bert_base_parameters" if run.model == "bert" else f"{run.model}_parameters"]
        energy = numbers[f"{run.model}_energy"]
        modelled = footprint(
            parameters.value,
            numbers[f"{run.model}_tokens"].value,
            peak_flop_per_s=numbers[run.rate or run.peak].value,
            mfu=1 if run.rate else DEFAULT_MFU,
            power_w=numbers[run.power].value,
            pue=numbers[run.pue].value if run.pue else 1.0,
        )
        published_mwh = energy.value / {"kWh": 1_000, "MWh": 1}[energy.unit]
        row = {"name": run.name, "flop": modelled.flop}
        row["efficiency"] = "published rate" if run.rate else f"{DEFAULT_MFU:.0%} of peak assumed"
        row |= {"modelled_mwh": modelled.energy_kwh / 1_000, "published_mwh": published_mwh}
        row |= {"basis": energy.basis, "ratio": modelled.energy_kwh / 1_000 / published_mwh, "why": run.why}
        rows.append(row)
    return rows


@dataclass(frozen=True)
class Project:
    """Everything that a model takes over its life. Each field is an input of `costs`.

    Attributes
    ----------
    train_wh, train_s : float
        Energy and time of one training, as `energy.Measurement` gives them (`energy_wh`, `wall_s`).
    trainings : float
        How often it is trained: tries before the first use, and retraining after.
    predict_wh, predict_s : float
        Energy and time of 1,000 predictions.
    predictions : float
        Predictions over its life.
    labels, price_per_label : float
        Labels to pay for; see `labels_needed`.
    develop_h, maintain_h : float
        People's hours until the first use, and after it.
    salary_per_h : float
        What an hour of theirs costs.
    price_per_kwh : float
        Price of electricity.
    machine_per_h : float
        Price of the machine for an hour, rent or wear; 0 to leave it out.
    pue : float
        1 or more.
    country : str
        ISO 3166 three-letter code.
    """

    train_wh: float
    train_s: float
    trainings: float
    predict_wh: float
    predict_s: float
    predictions: float
    labels: float
    price_per_label: float
    develop_h: float
    maintain_h: float
    salary_per_h: float
    price_per_kwh: float
    machine_per_h: float = 0.0
    pue: float = 1.0
    country: str = "USA"


@dataclass(frozen=True)
class Costs:
    """The four costs: money for compute, data and people; kilograms of CO2e beside them."""

    train: float
    predict: float
    data: float
    develop: float
    maintain: float
    energy_kwh: float
    co2e_kg: float | None

    @property
    def compute(self) -> float:
        """Money to train and to predict."""
        return self.train + self.predict

    @property
    def people(self) -> float:
        """Money to develop and to maintain."""
        return self.develop + self.maintain

    @property
    def total(self) -> float:
        """Money in all; carbon is no money and is not in it."""
        return self.compute + self.data + self.people


def costs(project: Project) -> Costs:
    """Compute, data, people and carbon of a model over its life.

    Raises
    ------
    CostError, helpers.energy.EnergyError
        If a number is missing, negative, or a PUE below 1; if the country is unknown.

    Examples
    --------
    >>> plan = Project(train_wh=1.3, train_s=170, trainings=10, predict_wh=0.03, predict_s=4,
    ...     predictions=1e6, labels=1_000, price_per_label=0.10, develop_h=40, maintain_h=20,
    ...     salary_per_h=50, price_per_kwh=0.30)
    >>> cost = costs(plan)
    >>> print(f"compute {cost.compute:.2f}, data {cost.data:.0f}, people {cost.people:,.0f}")
    compute 0.01, data 100, people 3,000
    """
    for each in fields(project):
        if each.name != "country":
            _require(each.name, getattr(project, each.name), 1 if each.name == "pue" else 0)
    _, intensity, _ = carbon_intensity(project.country)
    thousands = project.predictions / 1_000
    train_kwh = project.train_wh * project.trainings * project.pue / 1_000
    predict_kwh = project.predict_wh * thousands * project.pue / 1_000
    machine_per_s = project.machine_per_h / 3_600
    energy_kwh = train_kwh + predict_kwh
    return Costs(
        train=train_kwh * project.price_per_kwh + project.train_s * project.trainings * machine_per_s,
        predict=predict_kwh * project.price_per_kwh + project.predict_s * thousands * machine_per_s,
        data=project.labels * project.price_per_label,
        develop=project.develop_h * project.salary_per_h,
        maintain=project.maintain_h * project.salary_per_h,
        energy_kwh=energy_kwh,
        co2e_kg=None if intensity is None else energy_kwh * intensity / 1_000,
    )


def labels_needed(rows: Sequence[float], accuracies: Sequence[float], target: float) -> float:
    """Read off a learning curve how many labels a target accuracy needs.

    Straight lines between the points, on a logarithmic axis of labels. A curve that dips counts from
    where it first reaches the target; a target below the first point gives the first point's labels.

    Parameters
    ----------
    rows, accuracies : sequences of the same length
        Labels, growing, and the accuracy with each, 0 to 1.
    target : float
        0 to 1.

    Raises
    ------
    CostError
        If the curve never reaches the target: what lies beyond its end is not known.

    Examples
    --------
    >>> round(labels_needed([100, 1_000, 10_000], [0.6, 0.7, 0.8], 0.75))
    3162
    """
    _require("target", target, 0, 1)
    if len(rows) != len(accuracies) or not len(rows):
        raise CostError(f"{len(rows)} rows and {len(accuracies)} accuracies: expected as many, at least one.")
    for count, accuracy in zip(rows, accuracies, strict=True):
        _require("rows", count, 0, above=True)
        _require("accuracies", accuracy, 0, 1)
    if any(second <= first for first, second in itertools.pairwise(rows)):
        raise CostError(f"rows are {list(rows)}: expected each larger than the one before.")
    if accuracies[0] >= target:
        return float(rows[0])
    for place in range(1, len(rows)):
        low, high = accuracies[place - 1 : place + 1]
        if high >= target:
            share = (target - low) / (high - low)
            return float(rows[place - 1] * (rows[place] / rows[place - 1]) ** share)
    raise CostError(
        f"The curve ends at {max(accuracies):.3f} with {rows[-1]:,} labels: {target} is not on it. "
        "Aim lower, or measure with more labels."
    )


def break_even(investment: float, before: float, after: float) -> float:
    """After how many uses an investment has paid off; infinity if a use gets no cheaper.

    Parameters
    ----------
    investment, before, after : float
        What is spent once, and what a use takes before and after; all in one unit, of money, energy or
        carbon.

    Examples
    --------
    >>> break_even(investment=100, before=0.05, after=0.03)  # distilled once, cheaper ever after
    5000.0
    """
    for name, value in {"investment": investment, "before": before, "after": after}.items():
        _require(name, value, 0)
    if investment == 0:
        return 0.0
    # Rounded before it is rounded up: 0.05 - 0.03 is not quite 0.02 in binary.
    return float(math.ceil(round(investment / (before - after), 6))) if before > after else math.inf


@dataclass(frozen=True)
class Swing:
    """How far a total moves when one input is halved and doubled."""

    name: str
    value: float
    halved: float
    doubled: float

    @property
    def width(self) -> float:
        """Distance between the two totals."""
        return abs(self.doubled - self.halved)


def sensitivity(total: Callable[..., float], inputs: Mapping[str, object]) -> list[Swing]:
    """Which input moves the total most? Halve and double each, one at a time: a tornado table.

    Parameters
    ----------
    total : callable
        Takes the inputs by name, returns one number.
    inputs : mapping of str to object
        The base case. What is not a number other than 0 is left as it is and not listed.

    Returns
    -------
    list of Swing
        The widest first. Where a half or a double is refused (a PUE below 1), the base stands for it.

    Examples
    --------
    >>> swings = sensitivity(lambda energy_kwh, price, fixed: energy_kwh * price + fixed,
    ...     {"energy_kwh": 10.0, "price": 0.3, "fixed": 1.0})
    >>> [(swing.name, swing.halved, swing.doubled) for swing in swings]
    [('energy_kwh', 2.5, 7.0), ('price', 2.5, 7.0), ('fixed', 3.5, 5.0)]
    """
    base = total(**inputs)

    def with_changed(name: str, value: float) -> float:
        try:
            return total(**{**inputs, name: value})
        except CostError:
            return base

    swings = [
        Swing(name, value, with_changed(name, value / 2), with_changed(name, value * 2))
        for name, value in inputs.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and value != 0
    ]
    return sorted(swings, key=lambda swing: -swing.width)


@dataclass(frozen=True)
class Start:
    """When to start a job: `hour` from now, the mean intensity until its end, the share saved against now."""

    hour: int
    intensity_g_per_kwh: float
    saving: float


def grid_forecast() -> list[tuple[str, float]]:
    """48 hours of a real grid: London, from October 3, 2026, 20:00 UTC, as the operator forecast them.

    Returns
    -------
    list of (str, float)
        When the hour starts, in UTC, and its grams of CO2 per kWh. National Energy System Operator,
        CC BY 4.0; see the data card. One place in autumn: an example, not your grid.

    Examples
    --------
    >>> grid_forecast()[0]
    ('2026-10-03T20:00Z', 282.5)
    """
    with (DATA / "grid" / "london.csv").open(encoding="utf-8", newline="") as file:
        return [(row["start_utc"], float(row["intensity_g_per_kwh"])) for row in csv.DictReader(file)]


def best_start(intensities: Sequence[float], duration_h: float, deadline_h: float | None = None) -> Start:
    """The whole hour at which a job of constant power emits least, if it must end by a deadline.

    Parameters
    ----------
    intensities : sequence of float
        Grams per kWh, hour by hour from now.
    duration_h : float
        How long the job runs without a pause; part of an hour counts as its part.
    deadline_h : float, optional
        Hours from now by which it has ended; the end of `intensities` if not given.

    Raises
    ------
    CostError
        If the job does not fit.

    Examples
    --------
    >>> best_start([300, 200, 100, 150, 400], duration_h=2)
    Start(hour=2, intensity_g_per_kwh=125.0, saving=0.5)
    """
    end_h = _deadline(intensities, duration_h, deadline_h)
    whole = int(duration_h)

    def mean_from(hour: int) -> float:
        rest = (duration_h - whole) * intensities[hour + whole] if duration_h > whole else 0.0
        return (sum(intensities[hour : hour + whole]) + rest) / duration_h

    means = [mean_from(hour) for hour in range(int(end_h - duration_h) + 1)]
    best = min(range(len(means)), key=means.__getitem__)
    return Start(best, means[best], 1 - means[best] / means[0] if means[0] else 0.0)


@dataclass(frozen=True)
class Pauses:
    """The hours to run in, counted from now, their mean intensity, and the share saved against now."""

    hours: tuple[int, ...]
    intensity_g_per_kwh: float
    saving: float


def best_hours(intensities: Sequence[float], duration_h: float, deadline_h: int | None = None) -> Pauses:
    """The hours in which a job of constant power emits least, if it may pause and must end by a deadline.

    Pausing is taken to cost nothing; where a resumed job repeats work, its energy grows by that share.

    Parameters
    ----------
    intensities : sequence of float
        Grams per kWh, hour by hour from now.
    duration_h : float
        How long the job runs in all; a part of an hour is taken in the worst of its hours.
    deadline_h : int, optional
        Hours from now by which it has ended; the end of `intensities` if not given.

    Returns
    -------
    Pauses
        `saving` is against starting now without a pause.

    Raises
    ------
    CostError
        If the job does not fit.

    Examples
    --------
    >>> best_hours([300, 100, 500, 100, 400], duration_h=2)
    Pauses(hours=(1, 3), intensity_g_per_kwh=100.0, saving=0.5)
    """
    _require("duration_h", duration_h, 0, above=True)
    needed = math.ceil(duration_h)
    end_h = math.floor(_deadline(intensities, needed, deadline_h))
    now = best_start(intensities[:needed], duration_h).intensity_g_per_kwh
    cheapest = sorted(range(end_h), key=lambda hour: (intensities[hour], hour))
    hours = cheapest[:needed]
    lengths = [1.0] * int(duration_h) + ([duration_h % 1] if duration_h % 1 else [])
    emitted = sum(length * intensities[hour] for length, hour in zip(lengths, hours, strict=True))
    mean = emitted / duration_h
    return Pauses(tuple(sorted(hours)), mean, 1 - mean / now if now else 0.0)


def _deadline(intensities: Sequence[float], duration_h: float, deadline_h: float | None) -> float:
    """Hours from now by which a job must end; an error if it cannot."""
    _require("duration_h", duration_h, 0, above=True)
    end_h = len(intensities) if deadline_h is None else deadline_h
    _require("deadline_h", end_h, 0, len(intensities))
    if duration_h > end_h:
        raise CostError(f"A job of {duration_h:g} h does not end within {end_h:g} h: move the deadline.")
    for value in intensities:
        _require("intensities", value, 0)
    return end_h


def _require(name: str, value: object, low: float, high: float = math.inf, above: bool = False) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if number and (low < value if above else low <= value) and value <= high:
        return
    bounds = f"above {low:g}" if above else f"from {low:g}"
    bounds += "" if math.isinf(high) else f" to {high:g}" if not above else f", at most {high:g}"
    unknown = " Unknown is not 0: measure it first." if value is None else ""
    raise CostError(f"{name} is {value!r}: expected a number {bounds}.{unknown}")
