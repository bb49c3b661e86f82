"""Measures of all cases together: their confusion matrices are added before anything is divided."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from recurseg.evaluation.confusion import Confusion, dice, iou, mean, recall
from recurseg.evaluation.statistics import Resampled, resampled

ALL_CLASSES = "mean of classes"
RATIOS = {"mean_iou:pooled": iou, "iou:pooled": iou, "recall:pooled": recall, "dice:pooled": dice}
"""Pooled metric → what it divides."""

Key = tuple[str, str]
"""Metric and class."""


@dataclass(frozen=True)
class Pooled:
    """The confusion matrix of every case, and what all cases have together.

    Attributes:
        metrics: Ids of the pooled metrics that were asked for.
        class_names: Index = class.
        by_case: Case → its counts, (classes, classes + 1) as in `Confusion`.
        regions: Name → classes that are measured as one.
        not_evaluated: Classes without a measure.
    """

    metrics: list[str]
    class_names: list[str]
    by_case: dict[str, np.ndarray]
    regions: dict[str, list[int]] = field(default_factory=dict)
    not_evaluated: list[int] = field(default_factory=list)

    def of(self, cases: Collection[str]) -> Pooled:
        """Returns the same of some cases, in their order."""
        return replace(self, by_case={case: self.by_case[case] for case in cases})

    def confusion(self) -> Confusion:
        """Adds the counts of all cases."""
        counts = self._stacked().sum(0).astype(np.int64)
        return Confusion(len(self.class_names), not_evaluated=self.not_evaluated, counts=counts)

    def scores(self, weights: np.ndarray) -> dict[Key, np.ndarray]:
        """Takes the cases with weights.

        Args:
            weights: How often each case counts, (draws, cases).

        Returns:
            Metric and class → (draws,), nan where a class does not occur. `mean_iou:pooled` has the mean of classes
            alone, `iou:pooled` all but that, the others both; `dice:pooled` leaves out class 0, and the mean of one.
        """
        counts = np.tensordot(weights, self._stacked(), 1)  # (draws, classes, classes + 1)
        measured = {name: [c] for c, name in enumerate(self.class_names) if c not in self.not_evaluated}
        found: dict[Key, np.ndarray] = {}
        for metric in self.metrics:
            classes = {name: own for name, own in measured.items() if metric != "dice:pooled" or own != [0]}
            by_name = {name: RATIOS[metric](counts, members) for name, members in (classes | self.regions).items()}
            if metric != "mean_iou:pooled":
                found |= {(metric, name): values for name, values in by_name.items()}
            if metric != "iou:pooled" and (metric != "dice:pooled" or len(classes) > 1):
                found[metric, ALL_CLASSES] = mean(np.stack([by_name[name] for name in classes], axis=-1))
        return found

    def values(self) -> dict[Key, Resampled]:
        """Returns metric and class → value of all cases together, with an interval from cases drawn and pooled."""
        return resampled(self.scores, len(self.by_case))

    def differences(self, second: Pooled) -> dict[Key, Resampled]:
        """Returns metric and class → the second's value less this one's, as far as both have it.

        Args:
            second: Of the same cases. Both sides pool the same drawn cases for the interval.
        """
        other = second.of(self.by_case)

        def difference(weights: np.ndarray) -> dict[Key, np.ndarray]:
            one, two = self.scores(weights), other.scores(weights)
            return {key: two[key] - one[key] for key in one if key in two}

        return resampled(difference, len(self.by_case))

    def by_case_values(self) -> dict[Key, dict[str, float]]:
        """Returns metric and class → case → what the value would be if this case were the only one."""
        found = self.scores(np.eye(len(self.by_case)))
        return {key: dict(zip(self.by_case, values.tolist(), strict=True)) for key, values in found.items()}

    def as_dict(self) -> dict[str, Any]:
        """Returns the matrices as plain data; rows are the reference, columns the prediction."""
        return {
            "classes": self.class_names,
            "columns": [*self.class_names, "no class"],
            "regions": self.regions,
            "not_evaluated": self.not_evaluated,
            "metrics": self.metrics,
            "all": self.confusion().counts.tolist(),
            "cases": {case: counts.tolist() for case, counts in self.by_case.items()},
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Pooled:
        """Reads what `as_dict` returns."""
        by_case = {case: np.array(counts, np.int64) for case, counts in document["cases"].items()}
        regions = {name: list(members) for name, members in document["regions"].items()}
        return cls(
            list(document["metrics"]), list(document["classes"]), by_case, regions, list(document["not_evaluated"])
        )

    def _stacked(self) -> np.ndarray:
        classes = len(self.class_names)
        return np.array([*self.by_case.values()], float).reshape(-1, classes, classes + 1)
