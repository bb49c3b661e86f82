"""Two methods on the same cases: paired differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from recurseg.data.files import write_json
from recurseg.errors import ConfigError, DataError
from recurseg.evaluation.failures import Limit, PairedFailures, compare_failures
from recurseg.evaluation.metrics import METRICS, choose
from recurseg.evaluation.result import SCHEMA_VERSION, Evaluation, number, read_evaluation
from recurseg.evaluation.statistics import Paired, paired


@dataclass(frozen=True)
class Line:
    """The paired comparison of one metric and class; `pairs` holds (case, first, second).

    A pooled metric is compared over all cases together; its pairs are the values that a case would have by itself.
    `failures` is there where a limit of this metric was asked for.
    """

    metric: str
    class_name: str
    unit: str
    paired: Paired
    pairs: list[tuple[str, float, float]]
    undefined: list[str]
    failures: PairedFailures | None

    def as_dict(self) -> dict[str, Any]:
        """Returns the line as plain data; differences are second − first."""
        return {
            "metric": self.metric,
            "class": self.class_name,
            "unit": self.unit,
            **self.paired._asdict(),
            "undefined": self.undefined,
            "failures": self.failures and asdict(self.failures),
            "cases": {case: {"first": a, "second": b} for case, a, b in self.pairs},
        }


@dataclass
class Comparison:
    """How a second method does against a first one.

    Attributes:
        lines: One a metric and class.
        notes: What was left out, one line each.
        limit: Where failure begins; None where nobody asked.
    """

    lines: list[Line]
    notes: list[str] = field(default_factory=list)
    limit: Limit | None = None

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as plain data; differences are second − first."""
        return {
            "schema_version": SCHEMA_VERSION,
            "notes": self.notes,
            "comparison": [line.as_dict() for line in self.lines],
        }

    def to_json(self, path: Path | str) -> Path:
        """Writes everything as one JSON document and returns its path."""
        write_json(Path(path), self.as_dict())
        return Path(path)

    def table(self) -> Any:
        """Returns a `rich.table.Table`, one line a metric and class."""
        from rich.table import Table

        table = Table(
            box=None, header_style="bold", padding=(0, 1, 0, 0),
            title="second − first, with 95 % interval", title_justify="left",
        )  # fmt: skip
        failures = [str(self.limit), "McNemar p"] if self.limit else []
        for heading in ("metric", "class", "first", "second", "difference", "p", "won/lost/tied", *failures):
            left = heading in ("metric", "class")
            table.add_column(heading, justify="left" if left else "right", overflow="fold")
        for line in self.lines:
            p = line.paired
            interval = f" [{number(p.interval[0])}, {number(p.interval[1])}]" if p.interval else ""
            table.add_row(
                line.metric,
                line.class_name,
                number(p.first),
                number(p.second),
                f"{number(p.difference)}{interval}",
                "" if p.p is None else f"{p.p:.2g}",
                f"{p.wins}/{p.losses}/{p.ties}",
                *(
                    [f"{line.failures.first} → {line.failures.second}", f"{line.failures.p:.2g}"]
                    if line.failures
                    else []
                ),
            )
        return table


def compare(
    first: Evaluation | Path | str,
    second: Evaluation | Path | str,
    *,
    metrics: Sequence[str] | None = None,
    failures: float | str | None = None,
) -> Comparison:
    """Compares two evaluations of the same cases.

    Args:
        first: An `Evaluation`, or the JSON or CSV file of one.
        second: The other; differences are second − first, wins are the second's.
        metrics: Ids to compare; by default all that both hold.
        failures: Where failure begins: 0.9 compares the cases with a Dice below it by the exact McNemar test,
            "hd95_mm=10" those with a value of this metric above 10.

    Returns:
        Paired differences with a bootstrap interval and the Wilcoxon signed-rank test from six cases up,
        and wins, losses and ties. A case where either value is undefined is left out and listed. The interval of a
        pooled metric is of the difference of both pooled values, over the same cases drawn for both; it has no test.

    Raises:
        DataError: The cases differ (named), or there is nothing in common.
        ConfigError: An unknown metric, or failures by one that is not compared.
    """
    limit = None if failures is None else Limit.read(failures)
    a = first if isinstance(first, Evaluation) else read_evaluation(first)
    b = second if isinstance(second, Evaluation) else read_evaluation(second)
    if only := sorted(set(a.cases) ^ set(b.cases)):
        raise DataError(f"the two evaluations hold different cases: {', '.join(only[:5])}: evaluate both on the same")
    one, other = a.by_class(), b.by_class()
    wanted = None if metrics is None else {m.id for m in choose(metrics)}
    lines, notes = [], []
    for metric, name in one:
        if (metric, name) not in other or (wanted is not None and metric not in wanted):
            continue
        triples = [(case, x, other[metric, name][case]) for case, x in one[metric, name].items()]
        defined = [t for t in triples if not (math.isnan(t[1]) or math.isnan(t[2]))]
        undefined = [t[0] for t in triples if t not in defined]
        if not defined:
            notes.append(f"{metric} of {name} left out: undefined in every case")
            continue
        cases, x, y = zip(*defined, strict=True)
        higher = metric not in METRICS or METRICS[metric].better == "higher"
        unit = METRICS[metric].unit if metric in METRICS else ""
        failed = None
        if limit and limit.metric == metric:
            failed = compare_failures(dict(zip(cases, x, strict=True)), dict(zip(cases, y, strict=True)), limit)
        lines.append(Line(metric, name, unit, paired(x, y, higher_is_better=higher), defined, undefined, failed))
    if a.pooled and b.pooled and a.pooled.class_names != b.pooled.class_names:
        notes.append("pooled metrics left out: the two evaluations know different classes")
    else:
        lines += _pooled_lines(a, b, wanted)
    if not lines:
        raise DataError("the two evaluations share no defined metric of a class: evaluate both with the same metrics")
    if limit and not any(line.failures for line in lines):
        raise ConfigError(f"failures by {limit.metric}: the evaluations share no value of it")
    return Comparison(lines, notes, limit)


def _pooled_lines(first: Evaluation, second: Evaluation, wanted: set[str] | None) -> list[Line]:
    """What both pooled over the same classes."""
    a, b = first.pooled, second.pooled
    if a is None or b is None:
        return []
    own, other, lines = a.by_case_values(), b.by_case_values(), []
    for (metric, name), whole in a.differences(b).items():
        pairs = [(case, value, other[metric, name][case]) for case, value in own[metric, name].items()]
        defined = [pair for pair in pairs if not math.isnan(pair[1] + pair[2])]
        if not defined or (wanted is not None and metric not in wanted):
            continue
        _, x, y = zip(*defined, strict=True)
        result = paired(x, y, higher_is_better=True)._replace(
            n=len(pairs),
            first=first.value(metric, class_name=name),
            second=second.value(metric, class_name=name),
            difference=whole.value,
            interval=whole.interval,
            p=None,
        )
        undefined = [case for case, *both in pairs if math.isnan(sum(both))]
        lines.append(Line(metric, name, METRICS[metric].unit, result, defined, undefined, None))
    return lines
