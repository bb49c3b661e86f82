"""Every benchmark by its id, and what one finds."""

from __future__ import annotations

import importlib
import importlib.util
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from recurseg.errors import ConfigError, did_you_mean

MODULES = (
    "recurseg.bench.recurrences",
    "recurseg.bench.bound",
    "recurseg.bench.busy",
    "recurseg.bench.low_memory",
    "recurseg.bench.memory",
    "recurseg.bench.volume",
    "recurseg.bench.stream",
    "recurseg.bench.out_of_core",
    "recurseg.bench.attention",
    "recurseg.bench.attention_claims",
    "recurseg.bench.growths",
    "recurseg.bench.start",
    "recurseg.bench.gpu",
    "recurseg.bench.ops",
    "recurseg.bench.models",
)
"""Modules that register benchmarks, in the order in which these are run."""


@dataclass(frozen=True)
class Measurement:
    """What a benchmark measured.

    Attributes:
        samples: The value, once a round; a single one where nothing varies.
        curve: (size, what grows) where the value is a growth.
        picture: The picture that shows the curve, beside others of its kind.
        quantity: What grows, with its unit.
        size: What it grows with.
        verdict: What the numbers say of a published claim, in words.
    """

    samples: Sequence[float]
    curve: Sequence[tuple[int, float]] = ()
    picture: str = "growth"
    quantity: str = "seconds (median)"
    size: str = "voxels"
    verdict: str = ""


Measure = TypeVar("Measure", bound=Callable[[], Measurement])


@dataclass(frozen=True)
class Benchmark:
    """One thing to measure.

    Attributes:
        id: What `recurseg bench` calls it; colons part the names of the groups it belongs to.
        unit: Of its value, such as "ratio" or "steps".
        what: What is measured, at which size, in one line.
        measure: Measures it; under 20 s on two quiet cores.
        needs: A package that it compares with and that recurseg does not depend on; None where there is none.
        long: Whether it takes minutes instead, and is not among all but measured where it is named.
        gpu: Whether it runs on a CUDA device.
    """

    id: str
    unit: str
    what: str
    measure: Callable[[], Measurement]
    needs: str | None = None
    long: bool = False
    gpu: bool = False

    @property
    def obstacle(self) -> str:
        """Why it cannot run here and what to do; empty where it can."""
        if self.gpu and not torch.cuda.is_available():
            return "needs a CUDA device: run it on a machine that has one"
        if self.needs is not None and importlib.util.find_spec(self.needs) is None:
            return f"compares with the package {self.needs}: install it"
        return ""


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
    id: str, *, unit: str, what: str, needs: str | None = None, long: bool = False, gpu: bool = False
) -> Callable[[Measure], Measure]:
    """Makes a function that measures something a benchmark.

    Args:
        id: Unique; lower case with underscores, colons between groups.
        unit: Of the samples that it returns.
        what: What is measured, at which size, in one line.
        needs: A package beyond recurseg's own that it compares with.
        long: Whether it takes minutes.
        gpu: Whether it runs on a CUDA device.

    Returns:
        A decorator that returns what it decorates, a function without arguments.
    """

    def decorate(measure: Measure) -> Measure:
        _benchmarks[id] = Benchmark(id, unit, what, measure, needs, long, gpu)
        return measure

    return decorate


def benchmarks(ids: Sequence[str] = ()) -> list[Benchmark]:
    """Returns the benchmarks that are asked for.

    Args:
        ids: Ids, or names of groups: "models:small" is all whose ids begin with "models:small:" and that can run
            here. None: all that can run here but those that take minutes.

    Raises:
        ConfigError: If an id is unknown, or what it needs is not there.
    """
    for module in MODULES:
        importlib.import_module(module)
    if not ids:
        return [found for found in _benchmarks.values() if not found.obstacle and not found.long]
    return list(dict.fromkeys(found for id in ids for found in _named(id)))


def _named(id: str) -> list[Benchmark]:
    if id in _benchmarks:
        found = _benchmarks[id]
        if found.obstacle:
            raise ConfigError(f"benchmark '{id}' {found.obstacle}")
        return [found]
    group = [found for name, found in _benchmarks.items() if name.startswith(f"{id}:")]
    if not group:
        raise ConfigError(f"unknown benchmark '{id}'{did_you_mean(id, [*_benchmarks, *_groups()])}")
    if obstacles := [found.obstacle for found in group if found.obstacle]:
        group = [found for found in group if not found.obstacle]
        if not group:
            raise ConfigError(f"benchmarks '{id}': each {obstacles[0]}")
    return group


def _groups() -> list[str]:
    """Every name before a colon, such as "models" and "models:small"."""
    return list(dict.fromkeys(id[: colon.start()] for id in _benchmarks for colon in re.finditer(":", id)))
