"""The numbers of a report: the verdict, the summary by metric and class, and the table of cases."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from recurseg.evaluation.metrics import METRICS
from recurseg.evaluation.result import ALL_CLASSES, Evaluation, Summary, number
from recurseg.evaluation.statistics import FEWEST
from recurseg.report.axes import round_values, tick_label

MOST_CASES = 200
"""Cases that a page lists and draws one by one; of more of them, the worst and an even choice."""


@dataclass(frozen=True)
class Verdict:
    """The main metric over the held-out cases, in words."""

    metric: str
    class_name: str
    mean: str
    unit: str
    spread: str
    direction: str


@dataclass(frozen=True)
class Strip:
    """Cases as dots on a line from `low` to `high`; positions in percent."""

    low: str
    high: str
    dots: list[float]
    mean: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class SummaryRow:
    """A line of the table of metrics; `first` opens a new metric of `span` classes."""

    metric: str
    first: bool
    span: int
    main: bool
    definition: str
    class_name: str
    mean: str
    unit: str
    interval: str
    n: int
    undefined: list[str]
    strip: Strip


@dataclass(frozen=True)
class CaseRow:
    """A case and class with (text, value to sort by) for every metric."""

    case: str
    class_name: str
    values: list[tuple[str, float | None]]


def main_metric(evaluation: Evaluation, wanted: str) -> str | None:
    """The recipe's metric where it was measured, else the first that was."""
    measured = list(dict.fromkeys(metric for metric, _ in values_by_class(evaluation)))
    return wanted if wanted in measured else next(iter(measured), None)


def values_by_class(evaluation: Evaluation) -> dict[tuple[str, str], dict[str, float]]:
    """Metric and class → case → value; of a pooled metric the value that a case would have by itself."""
    return evaluation.by_class() | (evaluation.pooled.by_case_values() if evaluation.pooled else {})


def main_values(evaluation: Evaluation, metric: str) -> dict[str, float]:
    """Case → value of a metric, mean of the classes where there are several."""
    return [values for (name, _), values in values_by_class(evaluation).items() if name == metric][-1]


def verdict(summaries: list[Summary], metric: str, cases: int) -> Verdict:
    """What to know first: the mean of the main metric with its interval, or the cases where they are few."""
    found = [summary for summary in summaries if summary.metric == metric][-1]
    known = METRICS.get(metric)
    few = f"fewer than {FEWEST}, so no interval"
    if found.interval:
        spread = (
            f"95 % interval {number(found.interval[0])} – {number(found.interval[1])} over {found.n} held-out cases"
        )
    elif found.n == 0:
        spread = f"undefined in {'the one held-out case' if cases == 1 else f'all {cases} held-out cases'}"
    elif known and known.takes == "classes":
        spread = f"all voxels of {'one held-out case' if cases == 1 else f'{cases} held-out cases together'} ({few})"
    elif found.n == 1:
        spread = f"one held-out case, {next(iter(found.values))} ({few})"
    else:
        listed = ", ".join(f"{case} {number(value)}" for case, value in found.values.items())
        spread = f"mean of {found.n} held-out cases ({few}): {listed}"
    if found.undefined and found.n:
        spread += f"; undefined in {', '.join(found.undefined[:3])}{' …' if len(found.undefined) > 3 else ''}"
    direction = f"{known.better} is better" if known else ""
    return Verdict(metric, found.class_name, number(found.mean), found.unit, spread, direction)


def summary_rows(evaluation: Evaluation, summaries: list[Summary], main: str | None) -> list[SummaryRow]:
    """The table of metrics, the main one first."""
    by_class = values_by_class(evaluation)
    rows = []
    for metric in sorted(dict.fromkeys(s.metric for s in summaries), key=lambda name: name != main):
        group = [summary for summary in summaries if summary.metric == metric]
        low, high = _range(metric, [v for s in group for v in by_class[metric, s.class_name].values()])
        for place, summary in enumerate(group):
            values = by_class[metric, summary.class_name].values()
            rows.append(
                SummaryRow(
                    metric=metric,
                    first=place == 0,
                    span=len(group),
                    main=metric == main,
                    definition=_definition(metric),
                    class_name=summary.class_name,
                    mean=number(summary.mean),
                    unit=summary.unit,
                    interval=" – ".join(number(end) for end in summary.interval) if summary.interval else "",
                    n=summary.n,
                    undefined=summary.undefined,
                    strip=_strip(summary, list(values), low, high),
                )
            )
    return rows


def case_table(evaluation: Evaluation, main: str | None) -> tuple[list[str], list[str], list[CaseRow]]:
    """Metrics, classes and one row a case and class; the main metric first, the mean of classes last.

    Of more than `MOST_CASES`, only the worst by the main metric are listed.
    """
    by_class = evaluation.by_class()
    metrics = sorted(dict.fromkeys(metric for metric, _ in by_class), key=lambda name: name != main)
    classes = sorted(dict.fromkeys(name for _, name in by_class), key=lambda name: name == ALL_CLASSES)
    rows = []
    for case in _worst(evaluation, main):
        for name in classes:
            values = [by_class.get((metric, name), {}).get(case) for metric in metrics]
            if any(value is not None for value in values):
                rows.append(CaseRow(case, name, [_cell(value) for value in values]))
    return metrics, classes, rows


def _worst(evaluation: Evaluation, main: str | None) -> list[str]:
    """The cases that are listed, in their order."""
    cases = evaluation.cases
    if len(cases) <= MOST_CASES or main is None:
        return cases
    values, sign = main_values(evaluation, main), 1 if METRICS[main].better == "higher" else -1
    worst = set(sorted(values, key=lambda case: sign * values[case])[:MOST_CASES])
    return [case for case in cases if case in worst]


def _cell(value: float | None) -> tuple[str, float | None]:
    if value is None:
        return "–", None
    return number(value), value if math.isfinite(value) else None


def _definition(metric: str) -> str:
    known = METRICS.get(metric)
    return f"{known.definition} ({known.better} is better; {known.empty})" if known else ""


def _range(metric: str, values: list[float]) -> tuple[float, float]:
    known: Any = METRICS.get(metric)
    low, high = known.range if known else (0.0, math.inf)
    if math.isinf(high):
        largest = max((value for value in values if math.isfinite(value)), default=1.0) or 1.0
        high = next(tick for tick in round_values(low, largest * 3, 6) if tick >= largest)
    return float(low), float(high)


def _strip(summary: Summary, values: list[float], low: float, high: float) -> Strip:
    def place(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    return Strip(
        low=tick_label(low),
        high=tick_label(high),
        dots=[place(value) for value in _thinned([value for value in values if math.isfinite(value)])],
        mean=place(summary.mean) if math.isfinite(summary.mean) else None,
        interval=(place(summary.interval[0]), place(summary.interval[1])) if summary.interval else None,
    )


def _thinned(values: list[float]) -> list[float]:
    """The values, or of many as many quantiles as are drawn."""
    if len(values) <= MOST_CASES:
        return values
    ordered = sorted(values)
    return [ordered[round(k * (len(ordered) - 1) / (MOST_CASES - 1))] for k in range(MOST_CASES)]
