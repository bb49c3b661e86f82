"""Intervals and paired tests."""

import numpy as np
import pytest

from recurseg.evaluation.statistics import mean_interval, paired


def test_below_six_cases_there_is_no_interval():
    assert mean_interval([1, 2, 3, 4, 5]) is None
    assert mean_interval([1, 2, 3, 4, 5, 6]) is not None


def test_the_interval_is_the_same_for_the_same_seed_and_holds_the_mean():
    values = np.random.default_rng(1).random(12)
    low, high = mean_interval(values)
    assert (low, high) == mean_interval(values)
    assert low < values.mean() < high


def test_ninety_five_percent_of_intervals_hold_the_true_mean():
    rng = np.random.default_rng(0)
    held = [low <= 0 <= high for low, high in (mean_interval(rng.normal(size=30), resamples=999) for _ in range(200))]
    assert 0.89 <= np.mean(held) <= 0.99


def test_equal_values_have_an_interval_of_no_width():
    assert mean_interval([0.5] * 8) == (0.5, 0.5)


def test_paired_comparison_worked_by_hand():
    first, second = [1, 2, 3, 4, 5, 6], [2, 3, 4, 5, 6, 6]
    got = paired(first, second, higher_is_better=True)
    assert (got.n, got.wins, got.losses, got.ties) == (6, 5, 0, 1)
    assert got.difference == pytest.approx(5 / 6)
    better_low = paired(first, second, higher_is_better=False)
    assert (better_low.wins, better_low.losses) == (0, 5)


def test_wilcoxon_of_six_wins_is_the_exact_two_sided_probability():
    got = paired([0] * 6, [1, 2, 3, 4, 5, 6], higher_is_better=True)
    assert got.p == pytest.approx(2 / 2**6)


def test_equal_methods_differ_by_nothing():
    got = paired([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6], higher_is_better=True)
    assert (got.p, got.interval, got.ties) == (1.0, (0.0, 0.0), 6)


def test_below_six_pairs_no_test_is_made():
    got = paired([1, 2], [2, 3], higher_is_better=True)
    assert got.p is None
    assert got.interval is None
