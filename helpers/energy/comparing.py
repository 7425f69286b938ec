"""Which of two ways takes less: interleaved repeats, paired ratios, and a verdict that may be "undecided"."""

import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from helpers.energy.meter import finished, measure
from helpers.energy.records import CURVES, EnergyError, Measurement, Record, weakest
from helpers.statistics import ratio_interval, sign_test
from helpers.values import between, html_table, quantity, require_range, significant_digits

LEAST_ROUNDS = 5
SAME_POWER = 1.03  # below this ratio of two powers, energy says what time says
CPU_FACTORS = (0.5, 1.0, 2.0)  # of the maximum power, which is a guess wherever CPU energy is modelled
RAM_FACTORS = (1.0, 0.0)


class Spread(NamedTuple):
    """Median of the rounds, and their range: the least and the most."""

    median: float
    least: float
    most: float


class Ratio(NamedTuple):
    """Paired ratios, first candidate by second: their geometric mean, its 95 % t interval, each round's."""

    mean: float
    low: float
    high: float
    rounds: tuple[float, ...]

    def __str__(self) -> str:
        return "{} ({} to {})".format(*map(significant_digits, self[:3]))


@dataclass(frozen=True, repr=False)
class Comparison(Record):
    """Two candidates, measured in turns. Made by `compare`.

    Of each it has the seconds and the Wh of a call, and of both together the ratios of time and of energy,
    with the p value of the exact sign test on the rounds' energies. `faster` takes less time, `winner` uses
    less energy; each is None if that is undecided. `disturbed` are the rounds, from 1, beside other programs.
    """

    names: tuple[str, ...]
    runs: dict[str, tuple[Measurement, ...]]
    seconds: dict[str, Spread]
    energies_wh: dict[str, Spread]
    time: Ratio
    energy: Ratio
    p_sign: float
    faster: str | None
    winner: str | None
    reason: str
    disturbed: tuple[int, ...]
    method: str

    @property
    def verdict(self) -> str:
        """Which one takes less time and which less energy, in words, or "undecided"."""
        if self.faster is self.winner is None:
            return "undecided"
        if self.faster == self.winner:
            return f"{self.faster} takes less time and less energy"
        time = f"{self.faster} takes less time" if self.faster else "time undecided"
        return f"{time}, {f'{self.winner} less energy' if self.winner else 'energy undecided'}"

    def raw(self) -> dict:
        return {name: [run.raw() for run in self.runs[name]] for name in self.names}

    def results(self) -> dict:
        """Every figure that is computed from `raw`, as plain values."""
        names = ("p_sign", "faster", "winner", "reason", "disturbed", "method")
        return {
            "seconds": {name: each._asdict() for name, each in self.seconds.items()},
            "energies_wh": {name: each._asdict() for name, each in self.energies_wh.items()},
            "time": self.time._asdict(),
            "energy": self.energy._asdict(),
        } | {name: getattr(self, name) for name in names}

    @classmethod
    def from_raw(cls, raw: dict) -> "Comparison":
        return compare({name: [Measurement.from_raw(run) for run in runs] for name, runs in raw.items()})

    def __str__(self) -> str:
        beside = f" Other programs ran beside {self._beside()}." if self.disturbed else ""
        pair, rounds = " / ".join(self.names), f"95 % intervals of {len(self.time.rounds)} rounds"
        ratios = f"{pair} = {self.time} in time, {self.energy} in energy ({self.method}), {rounds}"
        return f"{self.verdict}: {ratios}; {self._why()}.{beside}"

    def _repr_html_(self) -> str:
        """A row for each candidate, then the ratios and the verdict."""
        rows = []
        for name in self.names:
            spreads = (self.seconds[name], "s"), (self.energies_wh[name], "Wh")
            cells = (f"{quantity(each.median, unit)} ({between(*each[1:])})" for each, unit in spreads)
            rows.append((name, *cells, self.method))
        rows.append((" / ".join(self.names), str(self.time), str(self.energy), "95 % intervals"))
        rows.append(("verdict", self.verdict, self._why(), f"sign test p = {self.p_sign:.2g}"))
        if self.disturbed:
            why = "other programs used more than a tenth of the machine"
            rows.append(("disturbed", self._beside(), why, ""))
        head = ("time a call (range)", "energy a call (range)", "how known")
        return html_table((f"{len(self.time.rounds)} rounds in turns", *head), rows)

    def _beside(self) -> str:
        """The disturbed rounds by their numbers: "round 2 of 5", "rounds 2 and 4 of 5"."""
        *others, last = map(str, self.disturbed)
        numbers = f"rounds {', '.join(others)} and {last}" if others else f"round {last}"
        return f"{numbers} of {len(self.time.rounds)}"

    def _why(self) -> str:
        """The reason, and that a verdict on modelled energy is one of time where the powers are the same."""
        powers = self.energy.mean / self.time.mean
        differ = max(powers, 1 / powers) >= SAME_POWER  # or else energies differ as times do
        apart = self.method == "measured" or differ or self.verdict == "undecided"
        same = "; both drew the same power within 3 %, so it is a verdict of time"
        return self.reason if apart else self.reason + same


def repeat(
    candidates: Mapping[str, Callable[[], object]],
    times: int = LEAST_ROUNDS,
    warm_up: int = 1,
    *,
    country: str,
    window_s: float = 0.0,
) -> dict[str, tuple[Measurement, ...]]:
    """Measure candidates in turns, A B A B ..., so that a machine that slows down slows all of them.

    The candidates are functions without arguments, by name, that return when all is done: a generator, a
    coroutine or a future raises `EnergyError`. Each is called `warm_up` times, not measured, then in `times`
    rounds. A round calls it for `window_s` seconds or more; 0 calls it once. `work["calls"]` has how often.
    """
    require_range("the number of candidates", len(candidates), 1, error=EnergyError)
    require_range("times", times, 1, whole=True, error=EnergyError)
    for name, work in candidates.items():
        for _ in range(warm_up):
            finished(name, work())
    runs: dict[str, list[Measurement]] = {name: [] for name in candidates}
    for _, (name, work) in itertools.product(range(times), candidates.items()):
        with measure(name, country=country) as meter:
            end = time.perf_counter() + window_s
            while not meter.work or time.perf_counter() < end:
                finished(name, work())
                meter.count(calls=1)
        runs[name].append(meter.result)
    return {name: tuple(results) for name, results in runs.items()}


def compare(runs: Mapping[str, Sequence[Measurement]]) -> Comparison:
    """Say which of two candidates takes less time and which uses less energy a call, if that can be said.

    Neither is said when there are fewer than five rounds, when the 95 % interval of the paired ratio holds 1,
    or when the ranking rests on rounds beside other programs; nor a winner whose ranking does not survive
    other guesses at what is not measured: other curves of the CPU's power, half to twice as high, and no RAM.
    Raises `EnergyError` but for as many rounds of two candidates, two at least, known and read in one way.
    """
    counts = {len(rounds) for rounds in runs.values()}
    if len(runs) != 2 or len(counts) != 1 or min(counts) < 2:
        found = ", ".join(f"{name!r} with {len(rounds)}" for name, rounds in runs.items())
        expected = "two candidates with as many rounds, two or more"
        raise EnergyError(f"compare got {found or 'nothing'}: expected {expected}.")
    energies = {name: [_per_call(run, run.energy_wh) for run in rounds] for name, rounds in runs.items()}
    seconds = {name: [_per_call(run, run.wall_s) for run in rounds] for name, rounds in runs.items()}
    parts = [run.components for rounds in runs.values() for run in rounds]
    if len(ways := {tuple((part.name, part.method) for part in each) for each in parts}) > 1:
        raise EnergyError(f"The rounds were read in different ways, which do not compare: {sorted(ways)}.")
    names, pairs = tuple(runs), list(zip(*runs.values(), strict=True))
    disturbed = tuple(place for place, (a, b) in enumerate(pairs, start=1) if a.disturbed or b.disturbed)
    of_time, of_energy = (_ratio(*values.values()) for values in (seconds, energies))
    faster, _ = _judge(of_time, disturbed)
    side, reason = _judge(of_energy, disturbed)
    if side is not None:
        side, reason = _tried(side, [*runs.values()])
    return Comparison(
        names=names,
        runs={name: tuple(rounds) for name, rounds in runs.items()},
        seconds={name: _spread(values) for name, values in seconds.items()},
        energies_wh={name: _spread(values) for name, values in energies.items()},
        time=of_time,
        energy=of_energy,
        p_sign=sign_test([math.log(ratio) for ratio in of_energy.rounds]),
        faster=None if faster is None else names[faster],
        winner=None if side is None else names[side],
        reason=reason,
        disturbed=disturbed,
        method=weakest(parts[0]),
    )


def _judge(ratio: Ratio, disturbed: Sequence[int]) -> tuple[int | None, str]:
    """Which candidate has less, 0 or 1, or None, and the reason."""
    if len(ratio.rounds) < LEAST_ROUNDS:
        return None, f"{len(ratio.rounds)} rounds are too few, {LEAST_ROUNDS} are the least"
    if (side := _side(ratio.low, ratio.high)) is None:
        return None, "the interval of the energy ratio holds 1"
    clean = [each for place, each in enumerate(ratio.rounds, start=1) if place not in disturbed]
    if disturbed and (not clean or _side(min(clean), max(clean)) != side):
        return None, "other programs ran meanwhile, and the rounds without them do not say the same"
    return side, ""


def _tried(side: int, runs: Sequence[Sequence[Measurement]]) -> tuple[int | None, str]:
    """The same side if every guess gives it, or None, and the reason."""
    if all(part.method == "measured" for part in runs[0][0].components):
        return side, "every part was read off a counter"
    for curve, cpu, ram in itertools.product(CURVES, CPU_FACTORS, RAM_FACTORS):
        other = [[run.rescaled(curve=curve, cpu=cpu, ram=ram) for run in rounds] for rounds in runs]
        ratio = _ratio(*([_per_call(run, run.energy_wh) for run in rounds] for rounds in other))
        if _side(ratio.low, ratio.high) != side:
            how = f"{curve} in the load, {cpu:g} x as high, and {ram:g} x the RAM's"
            return None, f"with a CPU power {how} the ranking does not hold"
    return side, "it holds for every guess at the CPU's power, with and without the RAM's constant"


def _side(low: float, high: float) -> int | None:
    """0 if the first candidate has less, 1 if the second does, None if the interval holds 1."""
    return 0 if high < 1 else 1 if low > 1 else None


def _per_call(run: Measurement, value: float | None) -> float:
    if value is None:
        raise EnergyError(f"{run.label!r} has a round of unknown energy, which is not 0: {run}")
    return value / run.work.get("calls", 1)


def _ratio(first: Iterable[float], second: Iterable[float]) -> Ratio:
    rounds = tuple(a / b for a, b in zip(first, second, strict=True))
    return Ratio(*ratio_interval(rounds), rounds)


def _spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))
