"""Intervals that the course prints, computed by SciPy and numpy."""

from collections.abc import Sequence


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


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % percentile-bootstrap interval of the median (Efron 1979), the same on every machine.

    Examples
    --------
    >>> median_interval([1.0, 1.0, 1.0])
    (1.0, 1.0)
    """
    import numpy as np

    draw = np.random.RandomState(0)  # the one stream that numpy promises never to change
    picks = draw.randint(0, len(values), size=(10_000, len(values)))
    medians = np.median(np.asarray(values)[picks], axis=1)
    low, high = np.percentile(medians, [2.5, 97.5])
    return float(low), float(high)
