"""What an evaluation found: one number a case, class and metric, and their summary, as table, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from recurseg.data.files import write_json, write_text
from recurseg.errors import DataError
from recurseg.evaluation.failures import Failures, Limit, count_failures
from recurseg.evaluation.metrics import METRICS
from recurseg.evaluation.statistics import FEWEST, deviation, mean_interval

SCHEMA_VERSION = 1
ALL_CLASSES = "mean of classes"
UNTAGGED = "no tag"
INSIDE = ("evaluation.json", "metrics.json", "validation/metrics.json")
COLUMNS = ("case", "class", "metric", "value", "unit")


@dataclass(frozen=True)
class Row:
    """One value; nan where the metric is undefined for this case and class."""

    case: str
    class_name: str
    metric: str
    value: float
    unit: str

    def as_dict(self) -> dict[str, Any]:
        value = None if math.isnan(self.value) else self.value
        return dict(zip(COLUMNS, (self.case, self.class_name, self.metric, value, self.unit), strict=True))


@dataclass(frozen=True)
class Summary:
    """A metric of a class over cases.

    Attributes:
        metric: Id of the metric.
        class_name: The class, or "mean of classes" (mean over a case's defined classes, then over cases).
        unit: Unit of mean, interval and values.
        n: Cases with a defined value.
        mean: Mean over those cases; nan for none.
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
    undefined: list[str]
    values: dict[str, float]
    failures: Failures | None


@dataclass
class Evaluation:
    """Values by case, class and metric.

    Attributes:
        rows: All values, in the order cases, metrics, classes.
        notes: What was decided or left out, one line each.
        tags: Case → its tags, of cases that have any.
        limit: Where failure begins; None where nobody asked.
    """

    rows: list[Row]
    notes: list[str] = field(default_factory=list)
    tags: dict[str, list[str]] = field(default_factory=dict)
    limit: Limit | None = None

    @property
    def cases(self) -> list[str]:
        """Ids of the evaluated cases."""
        return list(dict.fromkeys(row.case for row in self.rows))

    @property
    def groups(self) -> dict[str, list[str]]:
        """Tag → its cases, then "no tag" → those without; empty where no case has a tag. A case may be in several."""
        tags = sorted({tag for own in self.tags.values() for tag in own})
        groups = {tag: [case for case in self.cases if tag in self.tags.get(case, ())] for tag in tags}
        return groups | ({UNTAGGED: rest} if tags and (rest := [c for c in self.cases if c not in self.tags]) else {})

    def value(self, metric: str, *, class_name: str | None = None) -> float:
        """Returns the mean over cases of a metric: of one class, or of the mean of classes where there are several.

        Raises:
            KeyError: Where the evaluation does not hold it.
        """
        return _mean(self.by_case(metric, class_name=class_name).values())

    def by_case(self, metric: str, *, class_name: str | None = None) -> dict[str, float]:
        """Returns case → value of a metric, nan where undefined; chooses the class and raises as `value` does."""
        found = [v for (id, name), v in self.by_class().items() if id == metric and class_name in (None, name)]
        if not found:
            raise KeyError(f"{metric} of {class_name or 'all classes'}")
        return found[-1]

    def by_class(self) -> dict[tuple[str, str], dict[str, float]]:
        """Returns case → value for every (metric, class), after the classes also for "mean of classes".

        The mean of classes takes a case's defined classes; it is there where a metric has several classes.
        """
        values: dict[tuple[str, str], dict[str, float]] = {}
        for metric in dict.fromkeys(row.metric for row in self.rows):
            by_case: dict[str, list[float]] = {}
            for row in (row for row in self.rows if row.metric == metric):
                values.setdefault((metric, row.class_name), {})[row.case] = row.value
                by_case.setdefault(row.case, []).append(row.value)
            if any(len(classes) > 1 for classes in by_case.values()):
                values[metric, ALL_CLASSES] = {case: _mean(classes) for case, classes in by_case.items()}
        return values

    def summary(self, cases: Collection[str] | None = None) -> list[Summary]:
        """Returns one entry a metric and class, and one for the mean of classes where there are several.

        Args:
            cases: Ids of the cases to summarise; all by default.
        """
        return [
            _summarise(metric, name, {c: v for c, v in values.items() if cases is None or c in cases}, self.limit)
            for (metric, name), values in self.by_class().items()
        ]

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as plain data, with null for undefined values."""
        definitions = {
            id: {k: v for k, v in asdict(METRICS[id]).items() if k in ("unit", "better", "definition", "empty")}
            for id in dict.fromkeys(row.metric for row in self.rows)
            if id in METRICS
        }
        return {
            "schema_version": SCHEMA_VERSION,
            "notes": self.notes,
            "metrics": definitions,
            "summary": [_plain(s) for s in self.summary()],
            "by_tag": [{"tag": tag, **_plain(s)} for tag, cases in self.groups.items() for s in self.summary(cases)],
            "tags": self.tags,
            "rows": [row.as_dict() for row in self.rows],
        }

    def to_json(self, path: Path | str) -> Path:
        """Writes everything as one JSON document and returns its path."""
        write_json(Path(path), self.as_dict())
        return Path(path)

    def to_csv(self, path: Path | str) -> Path:
        """Writes the per-case table (case, class, metric, value, unit; undefined as nan) and returns its path."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows((r.case, r.class_name, r.metric, r.value, r.unit) for r in self.rows)
        write_text(Path(path), stream.getvalue())
        return Path(path)

    def table(self) -> Any:
        """Returns a `rich.table.Table` of the summary; where cases have tags, also of each tag's cases."""
        from rich.table import Table

        count, groups = len(self.cases), self.groups
        table = Table(
            box=None, header_style="bold", padding=(0, 1, 0, 0),
            title=f"{count} case{'s' * (count != 1)}", title_justify="left",
        )  # fmt: skip
        for heading, shown in {
            "cases": bool(groups), "metric": True, "class": True, "mean": True, "sd": True,
            "95 % interval" if count >= FEWEST else "values": True, str(self.limit): bool(self.limit), "unit": True,
        }.items():  # fmt: skip
            if shown:
                right = heading in ("mean", "sd")
                table.add_column(heading, justify="right" if right else "left", overflow="fold")
        for tag, cases in [("all", self.cases), *groups.items()]:
            for place, s in enumerate(self.summary(cases)):
                lead = [f"{tag} ({len(cases)})" if place == 0 else ""] if groups else []
                failed = [str(s.failures or "")] if self.limit else []
                table.add_row(*lead, s.metric, s.class_name, number(s.mean), _sd(s), _spread(s), *failed, s.unit)
        return table


def number(value: float) -> str:
    """Returns a value for reading: four decimals near 1, four digits far from it."""
    if math.isnan(value):
        return "undefined"
    return f"{value:.4f}" if value == 0 or 0.01 <= abs(value) < 1000 else f"{value:.3g}"


def _sd(s: Summary) -> str:
    return "" if math.isnan(s.sd) else number(s.sd)


def _spread(s: Summary) -> str:
    spread = f"{number(s.interval[0])} – {number(s.interval[1])}" if s.interval else _listed(s.values)
    if s.undefined:
        spread += f"  (undefined: {', '.join(s.undefined[:3])}{' …' if len(s.undefined) > 3 else ''})"
    return spread.strip()


def _listed(values: dict[str, float]) -> str:
    return ", ".join(f"{case} {number(value)}" for case, value in values.items())


def _mean(values: Iterable[float]) -> float:
    values = [value for value in values if not math.isnan(value)]
    return math.fsum(values) / len(values) if values else float("nan")


def _summarise(metric: str, class_name: str, values: dict[str, float], limit: Limit | None) -> Summary:
    defined = {case: value for case, value in values.items() if not math.isnan(value)}
    return Summary(
        metric=metric,
        class_name=class_name,
        unit=METRICS[metric].unit if metric in METRICS else "",
        n=len(defined),
        mean=_mean(defined.values()),
        sd=deviation(list(defined.values())),
        interval=mean_interval(list(defined.values())),
        undefined=[case for case in values if case not in defined],
        values=defined if len(defined) < FEWEST else {},
        failures=count_failures(values, limit) if limit and limit.metric == metric else None,
    )


def _plain(summary: Summary) -> dict[str, Any]:
    plain = asdict(summary)
    plain["class"] = plain.pop("class_name")
    return plain | {key: None for key in ("mean", "sd") if math.isnan(plain[key])}


def read_evaluation(path: Path | str) -> Evaluation:
    """Reads an evaluation that was written as JSON or CSV.

    Args:
        path: The file, a folder with `evaluation.json` or `metrics.json`, or a run folder (its `validation/`).

    Raises:
        DataError: Where the file is absent or is not an evaluation.
    """
    path = Path(path)
    if path.is_dir():
        inside = [path / name for name in INSIDE]
        path = next((file for file in inside if file.is_file()), inside[0])
    try:
        if path.suffix == ".csv":
            with path.open(newline="") as stream:
                document: dict[str, Any] = {"rows": list(csv.DictReader(stream))}
        else:
            document = json.loads(path.read_text())
        rows = [
            Row(r["case"], r["class"], r["metric"], float("nan" if r["value"] is None else r["value"]), r["unit"])
            for r in document["rows"]
        ]
        return Evaluation(rows, list(document.get("notes", [])), dict(document.get("tags", {})))
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}): pass a file from 'recurseg evaluate --out'"
        ) from None
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DataError(f"{path}: not an evaluation: pass a .json or .csv from 'recurseg evaluate --out'") from None
