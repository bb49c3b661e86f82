"""What a row's run measured: a number a column, in the units of the paper, and the same for reading."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from recurseg.evaluation import METRICS
from recurseg.evaluation.cardiac import Cardiac
from recurseg.evaluation.failures import Limit, count_failures
from recurseg.evaluation.pooled import ALL_CLASSES
from recurseg.evaluation.result import Evaluation
from recurseg.evaluation.statistics import deviation
from recurseg.evaluation.summary import mean_of
from recurseg.experiments.completion import Estimate
from recurseg.experiments.ledger import Result
from recurseg.experiments.subsets import over_subsets
from recurseg.experiments.table import Fact, Measure, Table


def values(table: Table, result: Result) -> dict[str, float]:
    """Heading → number, in the units of the paper, its mean over splits where there are several; nan where the run
    has no such metric or fact."""
    if result.splits:
        each = [values(table, own) for own in result.splits.results]
        return {name: mean_of(own[name] for own in each) for name in each[0]}
    if result.completion:
        found = result.completion.completed
        measured = {m.name: found[m.metric].mean * m.factor for m in table.measures}
    else:
        measured = {measure.name: _value(measure, result) for measure in table.measures}
    return measured | {fact.name: _fact(fact, result) for fact in table.facts}


def texts(table: Table, result: Result) -> dict[str, str]:
    """Heading → number for reading; a pooled one has its interval, failures that of their share, the mean of several
    splits its standard deviation over them; a dash for none."""
    digits = {m.name: m.digits for m in table.measures}
    shown = {name: number(value, digits.get(name, 3)) for name, value in values(table, result).items()}
    if result.splits:
        each = [values(table, own) for own in result.splits.results]
        spread = {m.name: deviation([own[m.name] for own in each]) for m in table.measures}
        return shown | {name: f"{shown[name]} ± {number(sd, 2)}" for name, sd in spread.items() if sd == sd}
    if result.completion:
        return shown | estimates(table, result.completion.completed)
    intervals = {(s.metric, s.class_name): s.interval for s in result.evaluated.pooled_summary()}
    for m in table.measures:
        if m.limit is not None:
            shown[m.name] = str(count_failures(cases_of(m, result), Limit(m.metric, m.limit))) or number(math.nan)
        elif interval := intervals.get((m.metric, m.class_name or ALL_CLASSES)):
            shown[m.name] += f" ({_range(m, interval)})"
    return shown


def cases_of(measure: Measure, result: Result) -> dict[str, float]:
    """Case → value of a measure, nan where undefined; of a pooled metric what a case would have by itself.

    Empty where the run has none.
    """
    if measure.statistic in ("over_epochs", "sd_over_epochs"):
        return {}
    if measure.statistic == "error":
        pairs = Cardiac.from_dict(result.cardiac).pairs(measure.metric) if result.cardiac else {}
        return {patient: abs(found - expected) for patient, (found, expected) in pairs.items()}
    evaluation = result.evaluated_elsewhere if measure.elsewhere else result.evaluated
    try:
        if measure.of_subsets:
            lost = measure.statistic == "lost_over_subsets"
            return over_subsets(result.evaluated_by_subset, lost=lost, class_name=measure.class_name)
        if evaluation.pooled and METRICS[measure.metric].takes == "classes":
            return evaluation.pooled.by_case_values()[measure.metric, measure.class_name or ALL_CLASSES]
        return evaluation.by_case(measure.metric, class_name=measure.class_name)
    except KeyError:
        return {}


def estimates(table: Table, found: Mapping[str, Estimate]) -> dict[str, str]:
    """Heading → mean over digits with its interval, for reading; a dash where there is none."""
    shown = {}
    for m in table.measures:
        estimate = found.get(m.metric)
        text = number(estimate.mean * m.factor if estimate else math.nan, m.digits)
        shown[m.name] = f"{text} ({_range(m, (estimate.low, estimate.high))})" if estimate else text
    return shown


def number(value: float, digits: int = 3) -> str:
    """A number for reading; a dash where it is undefined."""
    return "–" if math.isnan(value) else f"{value:.{digits}g}"


def _range(measure: Measure, ends: Iterable[float]) -> str:
    return " – ".join(number(end * measure.factor, measure.digits) for end in ends)


def _value(measure: Measure, result: Result) -> float:
    if measure.statistic in ("over_epochs", "sd_over_epochs"):
        statistic = deviation if measure.statistic == "sd_over_epochs" else mean_of
        return statistic(result.soft) * measure.factor if result.soft else math.nan
    if measure.metric in METRICS and METRICS[measure.metric].takes == "classes":
        return _pooled(measure, result.evaluated)
    cases = cases_of(measure, result)
    defined = [value for value in cases.values() if not math.isnan(value)]
    if not defined:
        return math.nan
    if measure.limit is not None:
        return count_failures(cases, Limit(measure.metric, measure.limit)).count
    return (deviation(defined) if measure.statistic == "sd" else mean_of(defined)) * measure.factor


def _pooled(measure: Measure, evaluation: Evaluation) -> float:
    try:
        return evaluation.value(measure.metric, class_name=measure.class_name) * measure.factor
    except KeyError:
        return math.nan


def _fact(fact: Fact, result: Result) -> float:
    value = getattr(result, fact.fact)
    return math.nan if value is None else value * fact.factor
