"""Which of two ways uses less: interleaved repeats, paired ratios, and a verdict that may be "undecided"."""

import itertools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from helpers.energy import display
from helpers.energy.meter import Meter, finished
from helpers.energy.records import EnergyError, Measurement, Record, weakest
from helpers.statistics import median_interval
from helpers.values import require_range

LEAST_ROUNDS = 5
CPU_FACTORS = (0.5, 1.0, 2.0)  # of the maximum power, which is a guess wherever CPU energy is modelled
RAM_FACTORS = (1.0, 0.0)


@dataclass(frozen=True, repr=False)
class Comparison(Record):
    """Two candidates, measured in turns. Made by `compare`.

    It has the median Wh a call of each, with its 95 % bootstrap interval, and the ratio of the first one's
    energy to the second one's in each round, the median of these, and its interval. `winner` uses less, and
    is None if that is undecided. `disturbed` are the rounds, from 1, beside other programs.
    """

    names: tuple[str, str]
    runs: dict[str, tuple[Measurement, ...]]
    medians_wh: dict[str, float]
    intervals_wh: dict[str, tuple[float, float]]
    ratios: tuple[float, ...]
    ratio: float
    interval: tuple[float, float]
    winner: str | None
    reason: str
    disturbed: tuple[int, ...]
    method: str

    @property
    def verdict(self) -> str:
        """Which one uses less, in words, or "undecided"."""
        return "undecided" if self.winner is None else f"{self.winner} uses less"

    def raw(self) -> dict:
        """The runs, as plain values."""
        return {name: [run.raw() for run in self.runs[name]] for name in self.names}

    def results(self) -> dict:
        """Every figure that is computed from `raw`, as plain values."""
        names = ("medians_wh", "intervals_wh", "ratios", "ratio", "interval", "winner", "reason")
        found = {name: getattr(self, name) for name in names}
        return found | {"marked": self.disturbed, "method": self.method}

    @classmethod
    def from_raw(cls, raw: dict) -> "Comparison":
        """Compare the runs of `raw` again."""
        return compare({name: [Measurement.from_raw(run) for run in runs] for name, runs in raw.items()})

    __str__ = display.comparison_line
    _repr_html_ = display.comparison_table


def repeat(
    candidates: Mapping[str, Callable[[], object]],
    times: int = LEAST_ROUNDS,
    warm_up: int = 1,
    *,
    country: str,
    window_s: float = 0.0,
) -> dict[str, tuple[Measurement, ...]]:
    """Measure candidates in turns, A B A B ..., so that a machine that slows down slows all of them.

    Of each it gives the rounds, with their number of calls in `work["calls"]`.

    Parameters
    ----------
    candidates : mapping of str to callable
        By name, a function without arguments. All do the same work, each in its way, and return when it is
        done: a generator, a coroutine or a future raises `EnergyError`.
    times, warm_up : int
        Rounds, five at least for a verdict of `compare`; calls of each before, which are not measured.
    window_s : float
        A round calls its candidate over and over for at least so many seconds; 0 calls it once.
    """
    require_range("the number of candidates", len(candidates), 1, error=EnergyError)
    require_range("times", times, 1, whole=True, error=EnergyError)
    for name, work in candidates.items():
        for _ in range(warm_up):
            finished(name, work())
    runs: dict[str, list[Measurement]] = {name: [] for name in candidates}
    for _, (name, work) in itertools.product(range(times), candidates.items()):
        with Meter(name, country) as meter:
            end = time.perf_counter() + window_s
            while not meter.work or time.perf_counter() < end:
                finished(name, work())
                meter.count(calls=1)
        runs[name].append(meter.result)
    return {name: tuple(results) for name, results in runs.items()}


def compare(runs: Mapping[str, Sequence[Measurement]]) -> Comparison:
    """Say which of two candidates uses less energy a call, if that can be said.

    There is no winner when there are fewer than five rounds, when the 95 % interval of the paired ratio
    holds 1, when the ranking rests on rounds beside other programs, or when it does not survive halving
    and doubling the modelled CPU power and setting the RAM's constant to 0. Raises `EnergyError` if `runs`
    are not as many rounds of two candidates, if an energy is unknown, or if they were read in different ways.
    """
    if len(runs) != 2 or len({len(rounds) for rounds in runs.values()}) != 1 or not all(runs.values()):
        counts = ", ".join(f"{name!r} with {len(rounds)}" for name, rounds in runs.items())
        raise EnergyError(f"compare got {counts or 'nothing'}: expected two candidates with as many rounds.")
    energies = {name: [_per_call(run) for run in rounds] for name, rounds in runs.items()}
    parts = [run.components for rounds in runs.values() for run in rounds]
    ways = {tuple((part.name, part.method) for part in each) for each in parts}
    if len(ways) > 1:
        raise EnergyError(f"The rounds were read in different ways, which do not compare: {sorted(ways)}.")
    first, second = runs
    pairs = list(zip(runs[first], runs[second], strict=True))
    ratios = _ratios(pairs)
    disturbed = tuple(place for place, (a, b) in enumerate(pairs, start=1) if a.disturbed or b.disturbed)
    winner, reason = _judge((first, second), pairs, ratios, disturbed)
    return Comparison(
        names=(first, second),
        runs={name: tuple(rounds) for name, rounds in runs.items()},
        medians_wh={name: statistics.median(values) for name, values in energies.items()},
        intervals_wh={name: median_interval(values) for name, values in energies.items()},
        ratios=tuple(ratios),
        ratio=statistics.median(ratios),
        interval=median_interval(ratios),
        winner=winner,
        reason=reason,
        disturbed=disturbed,
        method=weakest(parts[0]),
    )


def _judge(names, pairs, ratios, disturbed) -> tuple[str | None, str]:
    """The winner, or None, and the reason."""
    if len(ratios) < LEAST_ROUNDS:
        return None, f"{len(ratios)} rounds are too few, {LEAST_ROUNDS} are the least"
    side = _side(median_interval(ratios))
    if side is None:
        return None, "the interval of the ratio holds 1"
    if disturbed:
        clean = [ratio for place, ratio in enumerate(ratios, start=1) if place not in disturbed]
        if not clean or _side((min(clean), max(clean))) != side:
            return None, "other programs ran meanwhile, and the rounds without them do not say the same"
    if all(part.method == "measured" for part in pairs[0][0].components):
        return names[side], "every part was read off a counter"
    for cpu, ram in itertools.product(CPU_FACTORS, RAM_FACTORS):
        other = [(a.rescaled(cpu=cpu, ram=ram), b.rescaled(cpu=cpu, ram=ram)) for a, b in pairs]
        if _side(median_interval(_ratios(other))) != side:
            return None, f"with {cpu:g} x the CPU power and {ram:g} x the RAM's the ranking does not hold"
    return names[side], "it holds with half and with twice the CPU power, and without the RAM's constant"


def _side(interval: tuple[float, float]) -> int | None:
    """0 if the first candidate uses less, 1 if the second does, None if the interval holds 1."""
    low, high = interval
    return 0 if high < 1 else 1 if low > 1 else None


def _per_call(run: Measurement) -> float:
    if run.energy_wh is None:
        raise EnergyError(f"{run.label!r} has a round of unknown energy, which is not 0: {run}")
    return run.energy_wh / run.work.get("calls", 1)


def _ratios(pairs: Sequence[tuple[Measurement, Measurement]]) -> list[float]:
    return [_per_call(a) / _per_call(b) for a, b in pairs]
