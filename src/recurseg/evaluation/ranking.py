"""The rank sum of the MRBrainS challenge: every run is ranked on every measure, the smallest sum of ranks wins.

Mendrik et al. 2015, MRBrainS challenge: online evaluation framework for brain image segmentation in 3T MRI scans. A
measure is a metric of a class, there Dice, 95th percentile of the Hausdorff distance and absolute volume difference
of grey matter, white matter and CSF.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recurseg.data.files import write_json
from recurseg.errors import ConfigError, DataError
from recurseg.evaluation.metrics import METRICS, choose
from recurseg.evaluation.result import ALL_CLASSES, SCHEMA_VERSION, Evaluation, number
from recurseg.evaluation.statistics import deviation

CHALLENGE = ("dice", "hd95_mm", "avd_percent")


@dataclass(frozen=True)
class Measure:
    """One metric of one class over all runs.

    Attributes:
        metric: Id of the metric.
        class_name: The class.
        means: Run → mean over its defined cases; nan where there is none.
        deviations: Run → standard deviation over the same cases; nan below two.
        ranks: Run → rank by mean, 1 is best; equal means share the better rank, nan is last.
        deviation_ranks: Run → rank by deviation, the smallest is best.
    """

    metric: str
    class_name: str
    means: dict[str, float]
    deviations: dict[str, float]
    ranks: dict[str, int]
    deviation_ranks: dict[str, int]


@dataclass(frozen=True)
class Ranking:
    """Runs in the order of their rank sums.

    Attributes:
        measures: What was ranked.
        scores: Run → sum of its ranks, best run first.
        deviation_scores: Run → sum of its ranks by standard deviation, which parts runs of equal score.
        places: Run → place; runs that nothing parts share one.
    """

    measures: list[Measure]
    scores: dict[str, int]
    deviation_scores: dict[str, int]
    places: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as plain data, with null for undefined values."""
        return {
            "schema_version": SCHEMA_VERSION,
            "ranking": [
                {
                    "run": run,
                    "place": self.places[run],
                    "rank_sum": score,
                    "deviation_rank_sum": self.deviation_scores[run],
                    "measures": [
                        {
                            "metric": m.metric,
                            "class": m.class_name,
                            "mean": None if math.isnan(m.means[run]) else m.means[run],
                            "deviation": None if math.isnan(m.deviations[run]) else m.deviations[run],
                            "rank": m.ranks[run],
                            "deviation_rank": m.deviation_ranks[run],
                        }
                        for m in self.measures
                    ],
                }
                for run, score in self.scores.items()
            ],
        }

    def to_json(self, path: Path | str) -> Path:
        """Writes everything as one JSON document and returns its path."""
        write_json(Path(path), self.as_dict())
        return Path(path)

    def table(self) -> Any:
        """Returns a `rich.table.Table`: a line a measure, a column a run with means and ranks, sums below."""
        from rich.table import Table

        table = Table(
            box=None, header_style="bold", title="mean (rank), smallest rank sum first", title_justify="left"
        )
        table.add_column("metric")
        table.add_column("class")
        for run in self.scores:
            table.add_column(run, justify="right")
        for m in self.measures:
            cells = (f"{number(m.means[run])} ({m.ranks[run]})" for run in self.scores)
            table.add_row(m.metric, m.class_name, *cells)
        table.add_section()
        table.add_row("rank sum", "", *map(str, self.scores.values()), style="bold")
        if len(set(self.scores.values())) < len(self.scores):
            table.add_row("of deviations", "", *(str(self.deviation_scores[run]) for run in self.scores))
        table.add_row("place", "", *(str(self.places[run]) for run in self.scores), style="bold")
        return table


def rank_sum(evaluations: Mapping[str, Evaluation], *, metrics: Sequence[str] | None = None) -> Ranking:
    """Ranks runs by the sum of their ranks over metrics and classes.

    Args:
        evaluations: Run → evaluation, two or more, of the same cases.
        metrics: Ids to rank by; by default dice, hd95_mm and avd_percent as far as all runs hold them, or all that
            they share where they hold none of these.

    Returns:
        The ranking. Runs of equal score are parted by the sum of their ranks by standard deviation over cases.

    Raises:
        DataError: The runs hold different cases (named), or share no measure.
        ConfigError: Fewer than two runs, an unknown metric, or one that a run does not hold.
    """
    if len(evaluations) < 2:
        raise ConfigError("a ranking takes two runs or more")
    first, *others = evaluations.items()
    for name, evaluation in others:
        if only := sorted(set(first[1].cases) ^ set(evaluation.cases)):
            raise DataError(
                f"{first[0]} and {name} hold different cases: {', '.join(only[:5])}: evaluate both on the same"
            )
    values = {run: evaluation.by_class() for run, evaluation in evaluations.items()}
    shared = [key for key in values[first[0]] if key[1] != ALL_CLASSES and all(key in own for own in values.values())]
    measures = [_measure(key, {run: own[key] for run, own in values.items()}) for key in _wanted(shared, metrics)]
    scores = {run: sum(m.ranks[run] for m in measures) for run in evaluations}
    deviation_scores = {run: sum(m.deviation_ranks[run] for m in measures) for run in evaluations}
    order = {run: (scores[run], deviation_scores[run]) for run in evaluations}
    best_first = sorted(evaluations, key=order.__getitem__)
    places = {run: 1 + sum(other < order[run] for other in order.values()) for run in best_first}
    return Ranking(measures, {run: scores[run] for run in best_first}, deviation_scores, places)


def _wanted(shared: list[tuple[str, str]], metrics: Sequence[str] | None) -> list[tuple[str, str]]:
    held = {metric for metric, _ in shared}
    if metrics is None:
        ids = [id for id in CHALLENGE if id in held] or list(held)
    else:
        chosen = choose(metrics)
        if whole := [metric.id for metric in chosen if metric.takes == "classes"]:
            raise ConfigError(f"{', '.join(whole)}: one number over all cases; ranks are of values by case")
        ids = [metric.id for metric in chosen]
        if missing := [id for id in ids if id not in held]:
            raise ConfigError(f"not all runs hold {', '.join(missing)}: evaluate them with the same metrics")
    if not ids:
        raise DataError("the runs share no metric of a class: evaluate all with the same metrics")
    return [key for key in shared if key[0] in ids]


def _measure(key: tuple[str, str], by_run: Mapping[str, Mapping[str, float]]) -> Measure:
    metric, class_name = key
    defined = {run: [v for v in cases.values() if not math.isnan(v)] for run, cases in by_run.items()}
    means = {run: float(np.mean(v)) if v else math.nan for run, v in defined.items()}
    deviations = {run: deviation(v) for run, v in defined.items()}
    higher = metric in METRICS and METRICS[metric].better == "higher"
    return Measure(
        metric, class_name, means, deviations,
        ranks=_ranks({run: -mean if higher else mean for run, mean in means.items()}),
        deviation_ranks=_ranks(deviations),
    )  # fmt: skip


def _ranks(costs: Mapping[str, float]) -> dict[str, int]:
    """1 + the number of runs that cost less; nan costs most."""
    finite = {run: math.inf if math.isnan(cost) else cost for run, cost in costs.items()}
    return {run: 1 + sum(other < cost for other in finite.values()) for run, cost in finite.items()}
