"""One method trained on several random splits of the same cases: the mean over splits, and what it is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from recurseg.evaluation.metrics import METRICS
from recurseg.evaluation.result import Evaluation
from recurseg.evaluation.statistics import deviation
from recurseg.evaluation.summary import mean_of
from recurseg.evaluation.tables import number

CAUTION = "cases recur: what several splits hold out is in each of them, so that their values depend on each other"


class OverSplits(NamedTuple):
    """Mean of a number over random splits.

    Attributes:
        mean: nan for no split.
        sd: Standard deviation over splits (n − 1 in the denominator); nan below two.
        interval: 95 % interval of the mean; None below two splits.
        p: Two-sided, of the mean being 0; None below two splits.
    """

    mean: float
    sd: float
    interval: tuple[float, float] | None
    p: float | None


def over_splits(values: Sequence[float], *, held_over_trained: float, level: float = 0.95) -> OverSplits:
    """Takes the mean over random splits of one data set, with the corrected resampled t (Nadeau and Bengio 2003).

    Splits share cases, on either side, so that their values vary less than those of new cases and new trainings
    would: the variance of their mean is not s²/n. Nadeau and Bengio put (1/n + held out / trained)·s² in its place,
    and t with n − 1 degrees of freedom. The second term does not fall with n: further splits make the mean steadier,
    not the patients more. It is an approximation, on the safe side where more cases are held out than trained on.

    Args:
        values: One number a split, without nan; or the difference of two methods on each.
        held_over_trained: Cases that a split holds out over those that it trains on.
        level: Share of intervals that hold the true mean, in 0..1.
    """
    mean, sd, n = mean_of(values), deviation(values), len(values)
    if n < 2:
        return OverSplits(mean, sd, None, None)
    from scipy.stats import t

    error = math.sqrt(1 / n + held_over_trained) * sd
    reach = float(t.ppf((1 + level) / 2, n - 1)) * error
    p = float(2 * t.sf(abs(mean) / error, n - 1)) if error else float(mean == 0)
    return OverSplits(mean, sd, (mean - reach, mean + reach), p)


@dataclass(frozen=True)
class SplitsSummary:
    """A metric of a class over splits.

    Attributes:
        metric: Id of the metric.
        class_name: The class or region, or "mean of classes".
        unit: Unit of all numbers.
        average: "sample": a split's value is the mean over its cases; "voxel": of all its voxels together.
        n: Splits with a defined value.
        mean: Over these splits; nan for none.
        sd: Over these splits; nan below two.
        interval: As in `over_splits`.
        values: One a split in their order, nan where undefined.
    """

    metric: str
    class_name: str
    unit: str
    average: Literal["sample", "voxel"]
    n: int
    mean: float
    sd: float
    interval: tuple[float, float] | None
    values: list[float]

    def as_dict(self) -> dict[str, Any]:
        """Returns the entry as plain data, with null for what is undefined."""
        plain = asdict(self)
        plain["class"] = plain.pop("class_name")
        defined = {key: None if math.isnan(plain[key]) else plain[key] for key in ("mean", "sd")}
        values = [None if math.isnan(value) else value for value in self.values]
        return plain | defined | {"interval": self.interval and list(self.interval), "values": values}


def summarise_splits(evaluations: Sequence[Evaluation], *, held_over_trained: float) -> list[SplitsSummary]:
    """Sums up every metric and class that the evaluations of all splits have.

    Args:
        evaluations: One a split.
        held_over_trained: As for `over_splits`.
    """
    by_split = [{(s.metric, s.class_name): s for s in own.full_summary()} for own in evaluations]
    found = []
    for metric, name in by_split[0]:
        if any((metric, name) not in own for own in by_split):
            continue
        each = [own[metric, name] for own in by_split]
        values = [s.mean for s in each]
        defined = [value for value in values if not math.isnan(value)]
        whole = over_splits(defined, held_over_trained=held_over_trained)
        pooled = metric in METRICS and METRICS[metric].takes == "classes"
        average = "voxel" if pooled else "sample"
        n = len(defined)
        found.append(
            SplitsSummary(metric, name, each[0].unit, average, n, whole.mean, whole.sd, whole.interval, values)
        )
    return found


def cases_over_splits(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """Every case, class and metric with its values: place of the split, from 0 → value, null where undefined."""
    values: dict[tuple[str, str, str], dict[int, float | None]] = {}
    for place, evaluation in enumerate(evaluations):
        for row in evaluation.rows:
            of_case = values.setdefault((row.case, row.class_name, row.metric), {})
            of_case[place] = None if math.isnan(row.value) else row.value
    keys = ("case", "class", "metric")
    return [dict(zip(keys, key, strict=True)) | {"values": own} for key, own in sorted(values.items())]


def splits_table(summaries: Sequence[SplitsSummary]) -> Any:
    """Returns a `rich.table.Table`: a line a metric and class."""
    from rich.table import Table

    count = len(summaries[0].values) if summaries else 0
    table = Table(
        box=None, header_style="bold", padding=(0, 1, 0, 0), title_justify="left", caption_justify="left",
        title=f"{count} random splits, mean over splits", caption=f"Interval: Nadeau and Bengio 2003; {CAUTION}.",
    )  # fmt: skip
    for heading in ("metric", "class", "average", "mean", "sd over splits", "95 % interval", "splits", "unit"):
        right = heading in ("mean", "sd over splits")
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for s in summaries:
        interval = f"{number(s.interval[0])} – {number(s.interval[1])}" if s.interval else ""
        sd = "" if math.isnan(s.sd) else number(s.sd)
        each = ", ".join(number(value) for value in s.values)
        table.add_row(s.metric, s.class_name, s.average, number(s.mean), sd, interval, each, s.unit)
    return table
