"""Intervals hold what they promise."""

import math

import numpy as np
import pytest
import scipy.stats

from helpers import statistics as ours
from helpers.statistics import holm, mcnemar, mean_interval, ratio_interval


@pytest.mark.parametrize("size", [3, 5, 8, 20])
def test_of_the_intervals_of_a_mean_and_of_a_ratio_95_percent_hold_it(size):
    """What an interval promises is tried where the truth is known, and must hold within two points."""
    for interval, kind, *values in ((mean_interval, "normal", 2, 3), (ratio_interval, "lognormal", 0.4, 0.2)):
        draw, truth = np.random.default_rng(size), values[0] if kind == "normal" else math.exp(values[0])
        found = [interval(getattr(draw, kind)(*values, size)) for _ in range(2_000)]
        assert 0.93 < np.mean([low <= truth <= high for _, low, high in found]) < 0.97


@pytest.mark.parametrize("rows", [50, 200, 2_000])
def test_of_the_intervals_of_a_share_95_percent_hold_it(rows):
    """A count has steps, so one share's coverage is never 95 %: the mean over many shares is."""
    right, shares = np.arange(rows + 1), np.linspace(0.5, 0.97, 48)
    low, high = np.array([ours.wilson(int(each), rows) for each in right]).T
    held = [scipy.stats.binom.pmf(right, rows, p)[(low <= p) & (p <= high)].sum() for p in shares]
    assert 0.93 < np.mean(held) < 0.97 and min(held) > 0.9


def test_what_five_rounds_say_holds_where_one_is_sometimes_disturbed_and_one_alone_says_nothing():
    """A tenth of the ratios scatter four times as far: the interval widens and may hold more, not less."""
    draw = np.random.default_rng(5)
    spread = np.where(draw.random((2_000, 5)) < 0.1, 0.4, 0.1)
    found = [ratio_interval(row) for row in np.exp(draw.normal(0, spread))]
    assert np.mean([low <= 1 <= high for _, low, high in found]) > 0.93
    assert mean_interval([3.0]) == (3.0, -math.inf, math.inf) and ratio_interval([2.0])[1:] == (0.0, math.inf)


def right(draw, rows, apart):
    """Of two models, of which the first has more right; what both find hard goes together."""
    hard, noise = draw.random(rows), draw.normal(0, 0.2, (2, rows))
    return hard + noise[0] < 0.8, hard + noise[1] < 0.8 - apart


@pytest.mark.parametrize("apart", [0.0, 0.1])
def test_of_the_intervals_of_a_paired_difference_95_percent_hold_it(apart):
    first, second = right(np.random.default_rng(0), 4_000_000, apart)
    truth, draw = np.mean(first) - np.mean(second), np.random.default_rng(7)
    found = [ours.paired_difference(*right(draw, 200, apart)) for _ in range(1_000)]
    assert 0.93 < np.mean([low <= truth <= high for _, low, high in found]) < 0.97


def test_where_nothing_is_there_a_sign_test_and_mcnemar_say_so_and_where_much_is_it_is_seen():
    for size in (5, 6, 12):
        draw = np.random.default_rng(size)
        alarms = np.mean([ours.sign_test(draw.normal(0, 1, size)) < 0.05 for _ in range(2_000)])
        assert alarms < 0.05 and (alarms == 0) == (size == 5), "five rounds can't tell, six can"
    draw = np.random.default_rng(3)
    equal = [mcnemar(*(draw.random((2, 200)) < 0.8)) < 0.05 for _ in range(1_000)]
    apart = [mcnemar(draw.random(200) < 0.9, draw.random(200) < 0.75) < 0.05 for _ in range(200)]
    assert np.mean(equal) < 0.05 and np.mean(apart) > 0.9


def test_of_many_verdicts_about_nothing_one_in_twenty_sets_holds_a_wrong_one():
    draw = np.random.default_rng(4)
    assert 0.03 < np.mean([min(holm(draw.random(12).tolist())) < 0.05 for _ in range(2_000)]) < 0.07
    assert holm([0.9, 0.001, 0.9]) == pytest.approx([1.0, 0.003, 1.0]) and holm([]) == []
