"""Rows of a table against their rivals, held-out case by case."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from recurseg.evaluation import compare
from recurseg.evaluation.comparison import Line
from recurseg.evaluation.over_splits import OverSplits
from recurseg.evaluation.pooled import ALL_CLASSES
from recurseg.evaluation.statistics import mcnemar, paired
from recurseg.experiments.completion import ACCURACY, Completion
from recurseg.experiments.ledger import Result
from recurseg.experiments.measured import cases_of
from recurseg.experiments.rows import Entry
from recurseg.experiments.splits import over_difference
from recurseg.experiments.table import Measure, Table

HEADINGS = ["row − rival", "measure", "difference", "95 % interval", "Wilcoxon p", "failures", "McNemar p"]


@dataclass(frozen=True)
class Paired:
    """A row against its rival in one measure; differences are row − rival."""

    row: Entry
    rival: Entry
    measure: Measure
    line: Line

    def as_data(self) -> dict[str, Any]:
        """Returns the comparison as plain data, in the metric's own units."""
        return {"rival": self.rival.row.id, "measure": self.measure.name, **self.line.as_dict()}

    def as_cells(self) -> list[str]:
        """Returns the comparison for reading, in the units of the paper, under `HEADINGS`."""
        paired, failures, factor = self.line.paired, self.line.failures, self.measure.factor
        interval = " – ".join(f"{bound * factor:+.3g}" for bound in paired.interval or ())
        return [
            f"{self.row.row.name} − {self.rival.row.name}",
            self.measure.name,
            f"{paired.difference * factor:+.3g}",
            interval,
            "" if paired.p is None else f"{paired.p:.2g}",
            f"{failures.second} against {failures.first}" if failures else "",
            f"{failures.p:.2g}" if failures else "",
        ]


@dataclass(frozen=True)
class PairedRight:
    """A row against its rival in how many completed digits the classifier gets right; differences are row − rival."""

    row: Entry
    rival: Entry
    measure: Measure
    difference: float
    interval: tuple[float, float]
    only_row: int
    only_rival: int
    p: float

    def as_data(self) -> dict[str, Any]:
        """Returns the comparison as plain data."""
        names = ("difference", "interval", "only_row", "only_rival", "p")
        return {"rival": self.rival.row.id, "measure": self.measure.name, **{n: getattr(self, n) for n in names}}

    def as_cells(self) -> list[str]:
        """Returns the comparison for reading, in the units of the paper, under `HEADINGS`."""
        return [
            f"{self.row.row.name} − {self.rival.row.name}",
            self.measure.name,
            f"{self.difference * self.measure.factor:+.3g}",
            " – ".join(f"{bound * self.measure.factor:+.3g}" for bound in self.interval),
            "",
            f"{self.only_rival} alone against {self.only_row} alone",
            f"{self.p:.2g}",
        ]


@dataclass(frozen=True)
class PairedSplits:
    """A row against its rival over the random splits that both were trained on; differences are row − rival."""

    row: Entry
    rival: Entry
    measure: Measure
    over: OverSplits

    def as_data(self) -> dict[str, Any]:
        """Returns the comparison as plain data, in the units of the paper."""
        return {"rival": self.rival.row.id, "measure": self.measure.name, **self.over._asdict()}

    def as_cells(self) -> list[str]:
        """Returns the comparison for reading, in the units of the paper, under `HEADINGS`."""
        interval = " – ".join(f"{bound:+.3g}" for bound in self.over.interval or ())
        return [
            f"{self.row.row.name} − {self.rival.row.name}, over splits",
            self.measure.name,
            f"{self.over.mean:+.3g}",
            interval if self.over.p is None else f"{interval} (corrected t, p {self.over.p:.2g})",
            "",
            "",
            "",
        ]


def compare_pairs(table: Table, entries: Sequence[Entry]) -> list[Paired | PairedRight | PairedSplits]:
    """Compares the table's pairs in each mean and pooled value, where both rows ran on the same held-out data.

    Two rows on several splits are compared over splits; one on several with one on a single split, on the first.
    """
    measures = [m for m in table.measures if m.statistic == "mean" or m.of_subsets]
    limits = {m.metric: f"{m.metric}={m.limit}" for m in table.measures if m.statistic == "failures"}
    found: list[Paired | PairedRight | PairedSplits] = []
    for pair in table.pairs:
        for row, rival in product(entries, entries):
            named = (row.row.id, rival.row.id) == (pair.row, pair.rival)
            if not (named and row.result and rival.result and _same_data(row.result, rival.result)):
                continue
            if row.result.completion and rival.result.completion:
                measure = next(m for m in measures if m.metric == ACCURACY)
                found.append(_compare_right(row, rival, measure, row.result.completion, rival.result.completion))
                continue
            if row.result.splits and rival.result.splits:
                over = [(m, over_difference(table, m, row.result, rival.result)) for m in measures]
                found += [PairedSplits(row, rival, m, whole) for m, whole in over if whole]
                continue
            for m in measures:
                line = _line(m, row.result.on_first_split, rival.result.on_first_split, limits.get(m.metric))
                found += [Paired(row, rival, m, line)] if line else []
    return found


def _line(measure: Measure, row: Result, rival: Result, limit: str | None) -> Line | None:
    """The comparison of a measure, None where no case has it on both sides."""
    one, two = cases_of(measure, rival), cases_of(measure, row)
    triples = [(case, value, two[case]) for case, value in one.items() if case in two]
    defined = [triple for triple in triples if not math.isnan(triple[1] + triple[2])]
    if not defined:
        return None
    if not measure.of_subsets:
        first, second = (r.evaluated_elsewhere if measure.elsewhere else r.evaluated for r in (rival, row))
        lines = compare(first, second, metrics=[measure.metric], failures=limit).lines
        return [line for line in lines if measure.class_name in (None, line.class_name)][-1]
    _, first, second = zip(*defined, strict=True)
    result = paired(first, second, higher_is_better=measure.statistic == "over_subsets")
    undefined = [triple[0] for triple in triples if triple not in defined]
    return Line(measure.metric, measure.class_name or ALL_CLASSES, "", result, defined, undefined, None)


def _compare_right(row: Entry, rival: Entry, measure: Measure, one: Completion, other: Completion) -> PairedRight:
    """The difference of two shares over the same digits with its 95 % interval (Agresti and Min 2005, eq. 1)."""
    a, b = one.legible, other.legible
    only_row, only_rival = int((a & ~b).sum()), int((b & ~a).sum())
    difference = (only_row - only_rival) / one.n
    reach = 1.96 * math.sqrt(only_row + only_rival - (only_row - only_rival) ** 2 / one.n) / one.n
    return PairedRight(
        row, rival, measure, difference, (difference - reach, difference + reach), only_row, only_rival,
        mcnemar(only_rival, only_row),
    )  # fmt: skip


def _same_data(one: Result, other: Result) -> bool:
    return (one.source, one.scale, one.holdout) == (other.source, other.scale, other.holdout)
