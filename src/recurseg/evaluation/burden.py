"""The lesions of cases in numbers: how many and how large, predicted and labelled, and how many were found."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from recurseg.data.files import write_text
from recurseg.evaluation.agreement import Agreeing, Pair, Quantity
from recurseg.evaluation.lesions import RATES, Detected, Matched, Rule, Size, detected, match_lesions, volumes_mm3
from recurseg.evaluation.statistics import Resampled, resampled
from recurseg.evaluation.tables import agreement_table, detection_table

ALL = "all"
"""Lesions of every size."""
LESION_QUANTITIES = {
    quantity.id: quantity
    for quantity in (
        Quantity("lesion_count", "count", "", "number of lesions"),
        Quantity("lesion_load_ml", "load", "ml", "volume of all lesions together, 1 ml = 1000 mm³"),
    )
}
"""What is measured of a case; in tables the name begins with the class."""


class Tally(NamedTuple):
    """The lesions of a case, of one class and size; ml are nan where lesions have no volume."""

    label: int
    found: int
    prediction: int
    false: int
    label_ml: float
    prediction_ml: float

    def as_dict(self) -> dict[str, Any]:
        """Returns plain data, with null for undefined values."""
        return {name: _or_null(value) for name, value in self._asdict().items()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Tally:
        """Reads what `as_dict` returns."""
        values: dict[str, Any] = {name: math.nan if value is None else value for name, value in plain.items()}
        return cls(**values)


@dataclass(frozen=True)
class Detection:
    """Lesions of all cases together, and rates over them with their intervals: cases drawn, lesions added again."""

    counts: Detected
    rates: dict[str, Resampled]


@dataclass(frozen=True)
class Lesions(Agreeing):
    """Number and load of lesions, predicted and labelled, and how many of them were found.

    Attributes:
        rule: What a lesion is, and when it is found.
        sizes: Name → range of volumes in mm³; empty where lesions have no volume.
        cases: Case → class → "all" and each of the sizes → tally.
    """

    one: ClassVar[str] = "case"
    what: ClassVar[str] = "lesions"

    rule: Rule
    sizes: dict[str, Size]
    cases: dict[str, dict[str, dict[str, Tally]]]

    @property
    def ids(self) -> list[str]:
        return list(self.cases)

    @property
    def classes(self) -> list[str]:
        """The classes and regions that were taken apart into lesions."""
        return list(next(iter(self.cases.values()), {}))

    @property
    def quantities(self) -> list[Quantity]:
        measured = [quantity for id, quantity in LESION_QUANTITIES.items() if self.sizes or id == "lesion_count"]
        if len(self.classes) == 1:
            return [replace(quantity, name=f"lesion {quantity.name}") for quantity in measured]
        return [
            replace(quantity, id=f"{quantity.id}:{name}", name=f"{name}, {quantity.name}")
            for name in self.classes
            for quantity in measured
        ]

    def pairs(self, quantity: str) -> dict[str, Pair]:
        kind, _, name = quantity.partition(":")
        whole = {case: classes[name or self.classes[0]][ALL] for case, classes in self.cases.items()}
        if kind == "lesion_count":
            return {case: (float(own.prediction), float(own.label)) for case, own in whole.items()}
        return {case: (own.prediction_ml, own.label_ml) for case, own in whole.items()}

    @cached_property
    def detection(self) -> dict[tuple[str, str], Detection]:
        """Class and size → found and false lesions of all cases together."""
        keys = [(name, size) for name in self.classes for size in (ALL, *self.sizes)]
        tallies = np.array([[own[name][size][:4] for name, size in keys] for own in self.cases.values()], float)

        def rates(weights: np.ndarray) -> dict[tuple[str, str, str], np.ndarray]:
            sums = Detected(*np.moveaxis(np.tensordot(weights, tallies, 1), -1, 0))  # (draws, keys) each
            values = {rate: of(sums) for rate, of in RATES.items()}
            return {(*key, rate): own[:, k] for rate, own in values.items() for k, key in enumerate(keys)}

        found = resampled(rates, len(self.cases))
        counts = tallies.sum(0).astype(int)
        return {
            key: Detection(Detected(*counts[k].tolist()), {rate: found[(*key, rate)] for rate in RATES})
            for k, key in enumerate(keys)
        }

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as plain data, with null for undefined values."""
        return {
            "rule": str(self.rule),
            "sizes_mm3": {name: [size.above, _or_null(size.to)] for name, size in self.sizes.items()},
            "quantities": {q.id: {"unit": q.unit, "definition": q.definition} for q in self.quantities},
            "agreement": {id: found.as_dict() for id, found in self.agreement.items()},
            "detection": [
                {"class": name, "size": size, **own.counts._asdict()}
                | {rate: {"value": _or_null(of.value), "interval": of.interval} for rate, of in own.rates.items()}
                for (name, size), own in self.detection.items()
            ],
            "cases": {
                case: {name: {size: own.as_dict() for size, own in sized.items()} for name, sized in classes.items()}
                for case, classes in self.cases.items()
            },
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Lesions:
        """Reads what `as_dict` returns."""
        bounds = document["sizes_mm3"].items()
        sizes = {name: Size(low, math.inf if high is None else high) for name, (low, high) in bounds}
        cases = {
            case: {
                name: {size: Tally.from_dict(own) for size, own in sized.items()} for name, sized in classes.items()
            }
            for case, classes in document["cases"].items()
        }
        return cls(Rule.read(document["rule"]), sizes, cases)

    def table(self) -> Any:
        """Returns what is printed: found and false lesions by size, a table a class, and the table of agreement."""
        from rich.console import Group

        return Group(*(detection_table(self, name) for name in self.classes), agreement_table(self))

    def to_csv(self, path: Path | str) -> Path:
        """Writes the table of cases (case, class, size, and the fields of `Tally`) and returns its path."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["case", "class", "size", *Tally._fields])
        for case, classes in self.cases.items():
            for name, tallies in classes.items():
                writer.writerows([case, name, size, *own] for size, own in tallies.items())
        write_text(Path(path), stream.getvalue())
        return Path(path)


def tally_classes(
    masks: Mapping[str, tuple[np.ndarray, np.ndarray]],
    spacing: Sequence[float],
    rule: Rule,
    sizes: Mapping[str, Size],
) -> dict[str, dict[str, Tally]]:
    """Counts and measures the lesions of one case.

    Args:
        masks: Class → predicted and labelled mask, bool of one shape.
        spacing: Millimetres per voxel.
        rule: What a lesion is, and when it is found.
        sizes: Name → range of volumes; empty where lesions have no volume.

    Returns:
        Class → "all" and each of the sizes → tally.
    """
    matched = {name: match_lesions(*pair, spacing, connectivity=rule.connectivity) for name, pair in masks.items()}
    return {name: _tally(own, rule, sizes) for name, own in matched.items()}


def _tally(matched: Matched, rule: Rule, sizes: Mapping[str, Size]) -> dict[str, Tally]:
    if not sizes:
        return {ALL: Tally(*detected(matched, rule), math.nan, math.nan)}
    label, prediction = (volumes_mm3(side, matched.voxel_mm3) for side in (matched.reference, matched.prediction))

    def of(size: Size) -> Tally:
        ml = (float(volumes[size.holds(volumes)].sum()) / 1000 for volumes in (label, prediction))
        return Tally(*detected(matched, rule, size), *ml)

    return {name: of(size) for name, size in {ALL: Size(0, math.inf), **sizes}.items()}


def _or_null(value: float) -> float | None:
    return value if math.isfinite(value) else None
