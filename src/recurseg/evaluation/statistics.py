"""Means and shares with intervals, paired differences and paired failures: statistics over cases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

Key = TypeVar("Key")

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


class Resampled(NamedTuple):
    """A number that is taken over all cases together, nan where undefined, and its interval from six cases up."""

    value: float
    interval: tuple[float, float] | None


def resampled(
    statistic: Callable[[np.ndarray], Mapping[Key, np.ndarray]],
    n: int,
    *,
    level: float = 0.95,
    resamples: int = 9999,
    seed: int = 0,
) -> dict[Key, Resampled]:
    """Takes numbers over all cases together and bootstraps them: cases drawn, numbers taken again, percentiles.

    Args:
        statistic: How often each case counts, (draws, n) → name → (draws,).
        n: Number of cases.
        level: Share of intervals that hold the true number, in 0..1.
        resamples: Bootstrap samples; one in which a number is undefined is left out of its interval.
        seed: The same seed gives the same interval.

    Returns:
        Name → the number with every case counted once, and its interval.
    """
    whole = {key: float(value[0]) for key, value in statistic(np.ones((1, n))).items()}
    if n < FEWEST:
        return {key: Resampled(value, None) for key, value in whole.items()}
    rng = np.random.default_rng(seed)
    sizes = [min(100, resamples - start) for start in range(0, resamples, 100)]
    draws = [statistic(rng.multinomial(n, np.full(n, 1 / n), size).astype(float)) for size in sizes]
    ends = [(1 - level) / 2, (1 + level) / 2]

    def interval(key: Key) -> tuple[float, float] | None:
        if np.isnan(whole[key]):
            return None
        low, high = np.nanquantile(np.concatenate([draw[key] for draw in draws]), ends)
        return float(low), float(high)

    return {key: Resampled(value, interval(key)) for key, value in whole.items()}


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
