"""Intervals hold what they promise."""

import math
import random
import statistics

import pytest

from helpers.statistics import median_interval, wilson


@pytest.mark.parametrize(("right", "n"), [(0, 10), (1, 1), (7, 10), (80, 100), (1_000, 1_000)])
def test_wilson_is_its_formula_and_stays_between_0_and_1(right, n):
    z, share = statistics.NormalDist().inv_cdf(0.975), right / n
    center = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = wilson(right, n)
    assert (low, high) == pytest.approx((center - half, center + half), abs=1e-9)
    assert 0 <= low <= share <= high <= 1


def test_the_interval_of_a_median_holds_it_lies_in_the_data_and_is_the_same_everywhere():
    draw = random.Random(1)
    for size in (1, 2, 5, 30):
        values = [draw.gauss(0, 1) for _ in range(size)]
        low, high = median_interval(values)
        assert min(values) <= low <= statistics.median(values) <= high <= max(values)
    assert median_interval([1.0, 1.02, 0.99, 1.01, 0.98, 1.3]) == pytest.approx((0.985, 1.16))


def test_more_data_narrow_the_interval_and_most_intervals_hold_the_truth():
    draw, widths, held = random.Random(2), {10: [], 40: []}, 0
    for size in widths:
        for _ in range(30):
            low, high = median_interval([draw.gauss(5, 1) for _ in range(size)])
            widths[size].append(high - low)
            held += low <= 5 <= high
    assert statistics.mean(widths[40]) < 0.7 * statistics.mean(widths[10])
    assert held / 60 > 0.85, "95 % are promised; the bootstrap of few falls a little short"
