"""Every benchmark by its id, and what one finds."""

from __future__ import annotations

import importlib.util
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from recurseg.errors import ConfigError, did_you_mean

MODULES = (
    "recurseg.bench.recurrences",
    "recurseg.bench.bound",
    "recurseg.bench.memory",
    "recurseg.bench.volume",
    "recurseg.bench.attention",
    "recurseg.bench.attention_claims",
)
"""Modules that register benchmarks, in the order in which these are run."""


@dataclass(frozen=True)
class Measurement:
    """What a benchmark measured.

    Attributes:
        samples: The value, once a round; a single one where nothing varies.
        curve: (voxels, what grows) where the value is a growth.
        picture: The picture that shows the curve, beside others of its kind.
        quantity: What grows, with its unit.
        verdict: What the numbers say of a published claim, in words.
    """

    samples: Sequence[float]
    curve: Sequence[tuple[int, float]] = ()
    picture: str = "growth"
    quantity: str = "seconds (median)"
    verdict: str = ""


Measure = TypeVar("Measure", bound=Callable[[], Measurement])


@dataclass(frozen=True)
class Benchmark:
    """One thing to measure.

    Attributes:
        id: What `recurseg bench` calls it.
        unit: Of its value, such as "ratio" or "steps".
        what: What is measured, at which size, in one line.
        measure: Measures it; under 20 s on two quiet cores.
        needs: A package that it compares with and that recurseg does not depend on; None where there is none.
        long: Whether it takes minutes instead, and is not among all but measured where it is named.
    """

    id: str
    unit: str
    what: str
    measure: Callable[[], Measurement]
    needs: str | None = None
    long: bool = False

    @property
    def possible(self) -> bool:
        """Whether what it needs is installed."""
        return self.needs is None or importlib.util.find_spec(self.needs) is not None


@dataclass(frozen=True)
class Result:
    """A benchmark and what it measured."""

    benchmark: Benchmark
    measurement: Measurement

    @property
    def value(self) -> float:
        """The median of the samples."""
        return statistics.median(self.measurement.samples)

    @property
    def spread(self) -> float:
        """Half the range between the quartiles of the samples; 0 of a single one."""
        samples = self.measurement.samples
        if len(samples) < 2:
            return 0.0
        lower, _, upper = statistics.quantiles(samples, n=4, method="inclusive")
        return (upper - lower) / 2

    def as_dict(self) -> dict[str, Any]:
        """Value, spread and unit, and a verdict where there is one, as `recurseg bench --json` prints them."""
        found = {"value": self.value, "spread": self.spread, "unit": self.benchmark.unit}
        return found | ({"verdict": self.measurement.verdict} if self.measurement.verdict else {})


_benchmarks: dict[str, Benchmark] = {}


def benchmark(
    id: str, *, unit: str, what: str, needs: str | None = None, long: bool = False
) -> Callable[[Measure], Measure]:
    """Makes a function that measures something a benchmark.

    Args:
        id: Unique; lower case with underscores.
        unit: Of the samples that it returns.
        what: What is measured, at which size, in one line.
        needs: A package beyond recurseg's own that it compares with.
        long: Whether it takes minutes.

    Returns:
        A decorator that returns what it decorates, a function without arguments.
    """

    def decorate(measure: Measure) -> Measure:
        _benchmarks[id] = Benchmark(id, unit, what, measure, needs, long)
        return measure

    return decorate


def benchmarks(ids: Sequence[str] = ()) -> list[Benchmark]:
    """Returns the benchmarks of these ids, or all whose packages are installed but those that take minutes.

    Raises:
        ConfigError: If an id is unknown, or needs a package that is not installed.
    """
    for module in MODULES:
        importlib.import_module(module)
    for id in ids:
        if id not in _benchmarks:
            raise ConfigError(f"unknown benchmark '{id}'{did_you_mean(id, _benchmarks)}")
        if not _benchmarks[id].possible:
            raise ConfigError(f"benchmark '{id}' compares with the package {_benchmarks[id].needs}: install it")
    short = [id for id, found in _benchmarks.items() if found.possible and not found.long]
    return [_benchmarks[id] for id in dict.fromkeys(ids or short)]
