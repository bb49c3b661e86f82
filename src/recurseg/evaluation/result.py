"""What an evaluation found: one number a case, class and metric, and their summary, as table, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from recurseg.data.files import write_json, write_text
from recurseg.errors import DataError
from recurseg.evaluation.burden import Lesions
from recurseg.evaluation.cardiac import Cardiac
from recurseg.evaluation.failures import Limit
from recurseg.evaluation.metrics import METRICS
from recurseg.evaluation.pooled import ALL_CLASSES, Pooled
from recurseg.evaluation.summary import Summary, mean_of, summarise
from recurseg.evaluation.tables import number as number
from recurseg.evaluation.tables import summary_table

SCHEMA_VERSION = 1
UNTAGGED = "no tag"
INSIDE = ("evaluation.json", "metrics.json", "validation/metrics.json")
COLUMNS = ("case", "class", "metric", "value", "unit")


@dataclass(frozen=True)
class Row:
    """One value; nan where the metric is undefined for this case and class.

    `region` marks a set of classes, which the mean of classes leaves out.
    """

    case: str
    class_name: str
    metric: str
    value: float
    unit: str
    region: bool = False

    def as_dict(self) -> dict[str, Any]:
        value = None if math.isnan(self.value) else self.value
        plain = dict(zip(COLUMNS, (self.case, self.class_name, self.metric, value, self.unit), strict=True))
        return plain | ({"region": True} if self.region else {})

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Row:
        """Reads a row of a JSON document or of a table of text."""
        case, class_name, metric, value, unit = (plain[column] for column in COLUMNS)
        value = float("nan" if value is None else value)
        return cls(case, class_name, metric, value, unit, bool(plain.get("region")))


@dataclass
class Evaluation:
    """Values by case, class and metric.

    Attributes:
        rows: All values, in the order cases, metrics, classes.
        notes: What was decided or left out, one line each.
        tags: Case → its tags, of cases that have any.
        limit: Where failure begins; None where nobody asked.
        regions: Region → its classes.
        pooled: Confusion matrices, where pooled metrics were computed.
        cardiac: Clinical numbers of the patients, where the data are hearts.
        lesions: Number and load of lesions, and how many were found, where they were counted.
    """

    rows: list[Row]
    notes: list[str] = field(default_factory=list)
    tags: dict[str, list[str]] = field(default_factory=dict)
    limit: Limit | None = None
    regions: dict[str, list[int]] = field(default_factory=dict)
    pooled: Pooled | None = None
    cardiac: Cardiac | None = None
    lesions: Lesions | None = None

    @property
    def cases(self) -> list[str]:
        """Ids of the evaluated cases."""
        return list(dict.fromkeys([*(row.case for row in self.rows), *(self.pooled.by_case if self.pooled else ())]))

    @property
    def groups(self) -> dict[str, list[str]]:
        """Tag → its cases, then "no tag" → those without; empty where no case has a tag. A case may be in several."""
        tags = sorted({tag for own in self.tags.values() for tag in own})
        groups = {tag: [case for case in self.cases if tag in self.tags.get(case, ())] for tag in tags}
        return groups | ({UNTAGGED: rest} if tags and (rest := [c for c in self.cases if c not in self.tags]) else {})

    def value(self, metric: str, *, class_name: str | None = None) -> float:
        """Returns the mean over cases of a metric: of one class, or of the mean of classes where there are several.

        Of a pooled metric it is the value over all cases together.

        Raises:
            KeyError: Where the evaluation does not hold it.
        """
        if self.pooled and metric in self.pooled.metrics:
            if class_name is None:
                return METRICS[metric].score(self.pooled.confusion())
            return float(self.pooled.scores(np.ones((1, len(self.cases))))[metric, class_name][0])
        return mean_of(self.by_case(metric, class_name=class_name).values())

    def by_case(self, metric: str, *, class_name: str | None = None) -> dict[str, float]:
        """Returns case → value of a metric, nan where undefined; chooses the class and raises as `value` does."""
        found = [v for (id, name), v in self.by_class().items() if id == metric and class_name in (None, name)]
        if not found:
            raise KeyError(f"{metric} of {class_name or 'all classes'}")
        return found[-1]

    def by_class(self) -> dict[tuple[str, str], dict[str, float]]:
        """Returns case → value for every (metric, class), after classes and regions also for "mean of classes".

        The mean of classes takes a case's defined classes; it is there where a metric has several classes or a
        region. Pooled metrics have no value of a case.
        """
        values: dict[tuple[str, str], dict[str, float]] = {}
        for metric in dict.fromkeys(row.metric for row in self.rows):
            rows = [row for row in self.rows if row.metric == metric]
            by_case: dict[str, list[float]] = {}
            for row in rows:
                values.setdefault((metric, row.class_name), {})[row.case] = row.value
                if not row.region:
                    by_case.setdefault(row.case, []).append(row.value)
            if len({row.class_name for row in rows}) > 1:
                values[metric, ALL_CLASSES] = {case: mean_of(classes) for case, classes in by_case.items()}
        return values

    def summary(self, cases: Collection[str] | None = None) -> list[Summary]:
        """Returns one entry a metric and class, and one for the mean of classes where there are several.

        Args:
            cases: Ids of the cases to summarise; all by default.
        """
        return [
            summarise(metric, name, {c: v for c, v in values.items() if cases is None or c in cases}, self.limit)
            for (metric, name), values in self.by_class().items()
        ]

    def pooled_summary(self, cases: Collection[str] | None = None) -> list[Summary]:
        """Returns one entry a pooled metric and class, class 0 too, and their mean; empty without such metrics.

        Args:
            cases: Ids of the cases to pool; all by default.
        """
        if self.pooled is None:
            return []
        pooled = self.pooled if cases is None else self.pooled.of(cases)
        return [
            Summary(
                metric,
                name,
                METRICS[metric].unit,
                len(pooled.by_case),
                whole.value,
                math.nan,
                whole.interval,
                [],
                {},
                None,
            )
            for (metric, name), whole in pooled.values().items()
        ]

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as plain data, with null for undefined values."""
        definitions = {
            id: {k: v for k, v in asdict(METRICS[id]).items() if k in ("unit", "better", "definition", "empty")}
            for id in dict.fromkeys(
                [*(row.metric for row in self.rows), *(self.pooled.metrics if self.pooled else ())]
            )
            if id in METRICS
        }
        return {
            "schema_version": SCHEMA_VERSION,
            "notes": self.notes,
            "metrics": definitions,
            "regions": self.regions,
            "summary": [s.as_dict() for s in self.summary()],
            "pooled": [s.as_dict() for s in self.pooled_summary()],
            "by_tag": [
                {"tag": tag, **s.as_dict()} for tag, cases in self.groups.items() for s in self.full_summary(cases)
            ],
            "tags": self.tags,
            "rows": [row.as_dict() for row in self.rows],
            "confusion": self.pooled and self.pooled.as_dict(),
            "cardiac": self.cardiac and self.cardiac.as_dict(),
            "lesions": self.lesions and self.lesions.as_dict(),
        }

    def to_json(self, path: Path | str) -> Path:
        """Writes everything as one JSON document and returns its path."""
        write_json(Path(path), self.as_dict())
        return Path(path)

    def to_csv(self, path: Path | str) -> Path:
        """Writes the per-case table (case, class, metric, value, unit; undefined as nan) and returns its path.

        Where there are regions, a column says so. Pooled metrics are not in it.
        """
        stream = io.StringIO()
        columns = [*COLUMNS, *(["region"] if any(row.region for row in self.rows) else [])]
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row.as_dict(), "value": row.value} for row in self.rows)
        write_text(Path(path), stream.getvalue())
        return Path(path)

    def table(self) -> Any:
        """Returns a `rich.table.Table` of the summary; where cases have tags, also of each tag's cases."""
        return summary_table(self)

    def full_summary(self, cases: Collection[str] | None = None) -> list[Summary]:
        """Returns `summary` and then `pooled_summary` of these cases, by default of all."""
        return [*self.summary(cases), *self.pooled_summary(cases)]


def together(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Joins evaluations of different cases of one data set, each with the same metrics, to one of all their cases."""
    pooled = [evaluation.pooled for evaluation in evaluations if evaluation.pooled]
    counts = {case: own for of_cases in pooled for case, own in of_cases.by_case.items()}
    not_evaluated = sorted({c for of_cases in pooled for c in of_cases.not_evaluated})
    hearts = [evaluation.cardiac for evaluation in evaluations if evaluation.cardiac]
    patients = {patient: numbers for own in hearts for patient, numbers in own.patients.items()}
    lesions = [evaluation.lesions for evaluation in evaluations if evaluation.lesions]
    tallies = {case: own for of_cases in lesions for case, own in of_cases.cases.items()}
    return replace(
        evaluations[0],
        rows=[row for evaluation in evaluations for row in evaluation.rows],
        notes=list(dict.fromkeys(note for evaluation in evaluations for note in evaluation.notes)),
        tags={case: tags for evaluation in evaluations for case, tags in evaluation.tags.items()},
        pooled=replace(pooled[0], by_case=counts, not_evaluated=not_evaluated) if pooled else None,
        cardiac=Cardiac(patients) if patients else None,
        lesions=replace(lesions[0], cases=tallies) if lesions else None,
    )


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
        rows = [Row.from_dict(row) for row in document["rows"]]
        counts, hearts, lesions = (document.get(key) for key in ("confusion", "cardiac", "lesions"))
        return Evaluation(
            rows,
            list(document.get("notes", [])),
            dict(document.get("tags", {})),
            regions=dict(document.get("regions", {})),
            pooled=Pooled.from_dict(counts) if counts else None,
            cardiac=Cardiac.from_dict(hearts) if hearts else None,
            lesions=Lesions.from_dict(lesions) if lesions else None,
        )
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}): pass a file from 'recurseg evaluate --out'"
        ) from None
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DataError(f"{path}: not an evaluation: pass a .json or .csv from 'recurseg evaluate --out'") from None
