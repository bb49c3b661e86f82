"""A metric of a class over cases: mean, spread and what stands out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from recurseg.evaluation.failures import Failures, Limit, count_failures
from recurseg.evaluation.metrics import METRICS
from recurseg.evaluation.statistics import FEWEST, deviation, mean_interval


@dataclass(frozen=True)
class Summary:
    """A metric of a class over cases.

    Attributes:
        metric: Id of the metric.
        class_name: The class or region, or "mean of classes" (mean over a case's defined classes, then over cases).
        unit: Unit of mean, interval and values.
        n: Cases with a defined value; of a pooled metric, all cases.
        mean: Mean over those cases; of a pooled metric, its value over all of them together. nan for none.
        sd: Their standard deviation (n − 1 in the denominator); nan below two.
        interval: 95 % bootstrap interval of the mean from six cases up, else None.
        undefined: Cases without a value (both masks empty); they are not in the mean.
        values: Case → value, listed where there are fewer than six cases; else empty.
        failures: Cases worse than the evaluation's limit, where that is one of this metric; else None.
    """

    metric: str
    class_name: str
    unit: str
    n: int
    mean: float
    sd: float
    interval: tuple[float, float] | None
    undefined: list[str] = field(default_factory=list)
    values: dict[str, float] = field(default_factory=dict)
    failures: Failures | None = None

    @property
    def average(self) -> str:
        """What `mean` is over: "voxel" where the voxels of all cases are pooled first, else "sample"."""
        pooled = self.metric in METRICS and METRICS[self.metric].takes == "classes"
        return "voxel" if pooled else "sample"

    def as_dict(self) -> dict[str, Any]:
        """Returns the entry as plain data, with null for what is undefined."""
        plain: dict[str, Any] = asdict(self) | {"average": self.average}
        plain["class"] = plain.pop("class_name")
        return plain | {key: None for key in ("mean", "sd") if math.isnan(plain[key])}


def mean_of(values: Iterable[float]) -> float:
    """Mean of the values that are defined; nan for none."""
    values = [value for value in values if not math.isnan(value)]
    return math.fsum(values) / len(values) if values else float("nan")


def summarise(metric: str, class_name: str, values: dict[str, float], limit: Limit | None) -> Summary:
    """Sums up a metric of a class: case → value, nan where undefined."""
    defined = {case: value for case, value in values.items() if not math.isnan(value)}
    return Summary(
        metric=metric,
        class_name=class_name,
        unit=METRICS[metric].unit if metric in METRICS else "",
        n=len(defined),
        mean=mean_of(defined.values()),
        sd=deviation(list(defined.values())),
        interval=mean_interval(list(defined.values())),
        undefined=[case for case in values if case not in defined],
        values=defined if len(defined) < FEWEST else {},
        failures=count_failures(values, limit) if limit and limit.metric == metric else None,
    )
