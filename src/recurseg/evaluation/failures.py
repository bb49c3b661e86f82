"""Failures: cases worse than a limit, how many of them there are, and whether two methods differ in them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from recurseg.errors import ConfigError
from recurseg.evaluation.metrics import METRICS, choose
from recurseg.evaluation.statistics import mcnemar, share_interval

DEFAULT_METRIC = "dice"


@dataclass(frozen=True)
class Limit:
    """Where failure begins: a case fails that is strictly worse.

    Attributes:
        metric: Id of the metric.
        value: In its unit; a failure lies below where higher is better, above where lower is.
    """

    metric: str
    value: float

    @classmethod
    def read(cls, text: str | float) -> Limit:
        """Reads 0.9 or "0.9" as a limit of Dice, "hd95_mm=10" as one of another metric.

        Raises:
            ConfigError: No number, or an unknown metric.
        """
        name, _, number = str(text).rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if math.isnan(value):
            raise ConfigError(f"failures '{text}': write a limit of Dice such as 0.9, or METRIC=LIMIT")
        (metric,) = choose([name.strip() or DEFAULT_METRIC])
        return cls(metric.id, value)

    def __str__(self) -> str:
        """The condition, such as "dice < 0.9"."""
        return f"{self.metric} {'<' if METRICS[self.metric].better == 'higher' else '>'} {self.value:g}"

    def failures(self, values: Mapping[str, float]) -> list[str]:
        """The cases that fail, of case → value; one without a value (nan) does not."""
        sign = 1 if METRICS[self.metric].better == "higher" else -1
        return [case for case, value in values.items() if sign * value < sign * self.value]


@dataclass(frozen=True)
class Failures:
    """How many of n cases fail; `interval` is the 95 % Wilson interval of their share, None for no case."""

    limit: float
    count: int
    n: int
    interval: tuple[float, float] | None
    cases: list[str]

    def __str__(self) -> str:
        """For reading, such as "5 of 75 (2.88 – 14.7 %)"."""
        shares = " – ".join(f"{100 * share:.3g}" for share in self.interval or ())
        return f"{self.count} of {self.n} ({shares} %)" if self.n else ""


@dataclass(frozen=True)
class PairedFailures:
    """Failures of two methods on the same cases; `p` is the exact McNemar test's, two-sided.

    `only_first` and `only_second` name the cases that one of them alone fails on, which is all that the test counts.
    """

    limit: float
    first: int
    second: int
    only_first: list[str]
    only_second: list[str]
    p: float


def count_failures(values: Mapping[str, float], limit: Limit) -> Failures:
    """Counts the failures among the defined values of case → value."""
    n, failed = sum(not math.isnan(value) for value in values.values()), limit.failures(values)
    return Failures(limit.value, len(failed), n, share_interval(len(failed), n) if n else None, failed)


def compare_failures(first: Mapping[str, float], second: Mapping[str, float], limit: Limit) -> PairedFailures:
    """Compares two methods on the same cases, each case → defined value."""
    a, b = limit.failures(first), limit.failures(second)
    only_first, only_second = [case for case in a if case not in b], [case for case in b if case not in a]
    p = mcnemar(len(only_first), len(only_second))
    return PairedFailures(limit.value, len(a), len(b), only_first, only_second, p)
