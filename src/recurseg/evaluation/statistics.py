"""Means and shares with intervals, paired differences and paired failures: statistics over cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

FEWEST = 6
"""Cases from which on an interval or a test is worth printing; below, the cases themselves are listed."""


def mean_interval(
    values: Sequence[float] | np.ndarray, *, level: float = 0.95, resamples: int = 9999, seed: int = 0
) -> tuple[float, float] | None:
    """Returns the bias-corrected accelerated bootstrap interval of the mean, cases resampled.

    Args:
        values: One number a case, without nan.
        level: Share of intervals that hold the true mean, in 0..1.
        resamples: Bootstrap samples.
        seed: The same seed gives the same interval.

    Returns:
        (low, high); None below six cases, where a bootstrap promises more than it holds.
    """
    sample = np.asarray(values, dtype=float)
    if len(sample) < FEWEST:
        return None
    if np.ptp(sample) == 0:
        return float(sample[0]), float(sample[0])
    from scipy.stats import bootstrap

    interval = bootstrap(
        (sample,), np.mean, confidence_level=level, n_resamples=resamples, batch=1000,
        method="BCa", rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return float(interval.low), float(interval.high)


def deviation(values: Sequence[float]) -> float:
    """Returns the standard deviation of a sample (n − 1 in the denominator), nan below two values."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def share_interval(count: int, n: int, *, level: float = 0.95) -> tuple[float, float]:
    """Returns the Wilson interval of a share, `count` of `n` cases; it holds for few cases, and for none of them."""
    from scipy.stats import binomtest

    interval = binomtest(count, n).proportion_ci(confidence_level=level, method="wilson")
    return float(interval.low), float(interval.high)


def mcnemar(only_first: int, only_second: int) -> float:
    """Returns the two-sided p of the exact McNemar test; 1 where the methods differ in no case.

    Args:
        only_first: Cases that the first method alone fails on.
        only_second: Cases that the second alone fails on. Where the methods are equally good, each case that one of
            them alone fails on is as likely the one's as the other's.
    """
    if only_first + only_second == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(only_first, only_first + only_second).pvalue)


class Paired(NamedTuple):
    """Paired comparison of two sets of values, `difference` = second − first.

    `interval` and `p` (Wilcoxon signed-rank, two-sided) are None below six pairs.
    """

    n: int
    first: float
    second: float
    difference: float
    interval: tuple[float, float] | None
    p: float | None
    wins: int
    losses: int
    ties: int


def paired(first: Sequence[float], second: Sequence[float], *, higher_is_better: bool, seed: int = 0) -> Paired:
    """Compares two methods on the same cases.

    Args:
        first: One number a case, without nan.
        second: The other method's numbers in the same order.
        higher_is_better: Decides what counts as a win of the second.
        seed: Seed of the bootstrap.
    """
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    difference = b - a
    gain = difference if higher_is_better else -difference
    return Paired(
        n=len(difference),
        first=float(a.mean()),
        second=float(b.mean()),
        difference=float(difference.mean()),
        interval=mean_interval(difference, seed=seed),
        p=_wilcoxon(difference) if len(difference) >= FEWEST else None,
        wins=int((gain > 0).sum()),
        losses=int((gain < 0).sum()),
        ties=int((gain == 0).sum()),
    )


def _wilcoxon(difference: np.ndarray) -> float:
    if not difference.any():
        return 1.0
    from scipy.stats import wilcoxon

    return float(wilcoxon(difference).pvalue)  # type: ignore[union-attr]
