"""Intervals that the course prints, computed by SciPy and numpy."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np


def wilson(right: int, rows: int) -> tuple[float, float]:
    """95 % Wilson interval of a share, `right` of `rows`: what other rows might have given.

    Examples
    --------
    >>> low, high = wilson(80, 100)
    >>> round(low, 3), round(high, 3)
    (0.711, 0.867)
    """
    from scipy.stats import binomtest

    found = binomtest(right, rows).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, and its 95 % t interval: of a figure across seeds, or of paired differences.

    It holds what it says where the values scatter normally, even if they are few; of one it is infinite.

    Examples
    --------
    >>> mean, low, high = mean_interval([0.81, 0.83, 0.80, 0.82, 0.84])
    >>> round(mean, 2), round(low, 2), round(high, 2)
    (0.82, 0.8, 0.84)
    """
    from scipy.stats import t

    count, mean = len(values), float(np.mean(values))
    if count < 2:
        return mean, -np.inf, np.inf
    half = float(t.ppf(0.975, count - 1) * np.std(values, ddof=1) / np.sqrt(count))
    return mean, mean - half, mean + half


def ratio_interval(ratios: Sequence[float]) -> tuple[float, float, float]:
    """Geometric mean of paired ratios, and its 95 % interval: `mean_interval` of their logarithms.

    Of a ratio the logarithm is what scatters evenly: half and double are as far from 1.

    Examples
    --------
    >>> ratio, low, high = ratio_interval([2.0, 0.5, 1.0])
    >>> round(ratio, 3), round(low, 2), round(high, 2)
    (1.0, 0.18, 5.59)
    """
    mean, low, high = (float(np.exp(value)) for value in mean_interval(np.log(ratios).tolist()))
    return mean, low, high


def sign_test(differences: Sequence[float]) -> float:
    """Two-sided p of the exact sign test: that so many differences have one sign, if a coin decided it.

    It asks nothing of how they scatter, and zeros are left out. Five of five give 0.0625: too few for 5 %.

    Examples
    --------
    >>> sign_test([0.1, 0.3, 0.2, 0.1, 0.2]), sign_test([0.1, 0.3, 0.2, 0.1, 0.2, 0.4])
    (0.0625, 0.03125)
    """
    from scipy.stats import binomtest

    above, below = (sum(sign * value > 0 for value in differences) for sign in (1, -1))
    return float(binomtest(above, above + below).pvalue) if above + below else 1.0


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Two-sided p of McNemar's exact test (1947) that two classifiers are right equally often.

    `first` and `second` say which of the same rows each had right. Only rows count where they differ.

    Examples
    --------
    >>> mcnemar([True] * 9 + [False], [True] * 3 + [False] * 6 + [True])
    0.125
    """
    return sign_test([int(a) - int(b) for a, b in zip(first, second, strict=True)])


def paired_difference(first: Sequence[float], second: Sequence[float]) -> tuple[float, float, float]:
    """Mean of `first` minus `second` over the same rows, and the 95 % interval of a paired bootstrap.

    The values are what each of two models has in a row: right or not, a loss. Rows are drawn anew, 10,000
    times (Efron 1979; the percentiles), the same on every machine. Fewer than some 30 are too few for it.

    Examples
    --------
    >>> difference, low, high = paired_difference([1, 1, 0, 1] * 50, [1, 0, 0, 1] * 50)
    >>> difference, round(low, 2), round(high, 2)
    (0.25, 0.19, 0.32)
    """
    apart = np.subtract(np.asarray(first, dtype=float), np.asarray(second, dtype=float))
    # Rows with one difference are alike, so that how often each value is drawn is all there is to draw.
    values, counts = np.unique(apart, return_counts=True)
    draw = np.random.RandomState(0)  # the one stream that numpy promises never to change
    sums = np.zeros(10_000)
    for part in np.array_split(np.arange(10_000), 20):  # a part at a time, for the memory
        sums[part] = draw.multinomial(len(apart), counts / len(apart), size=len(part)) @ values
    low, high = np.percentile(sums / len(apart), [2.5, 97.5])
    return float(apart.mean()), float(low), float(high)


def right_shares(runs: Iterable[Mapping], name: str) -> np.ndarray:
    """For each row, the share of a model's runs whose `right` has a 1 for it; rows of later parts follow.

    Examples
    --------
    >>> right_shares([{"name": "a", "right": "110"}, {"name": "a", "right": "100"}], "a").tolist()
    [1.0, 0.5, 0.0]
    """
    parts: dict[int, list] = {}
    for run in runs:
        if run["name"] == name:
            parts.setdefault(run.get("part", 0), []).append([int(each) for each in run["right"]])
    return np.concatenate([np.mean(parts[part], axis=0) for part in sorted(parts)])


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values of tests that are judged together (Holm 1979): under 0.05, one at all is wrong in 5 %.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    places = np.argsort(p_values)
    steps = np.sort(p_values) * np.arange(len(p_values), 0, -1)
    return np.minimum(1, np.maximum.accumulate(steps))[np.argsort(places)].tolist()
