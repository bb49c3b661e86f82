"""The confusion matrix: how many voxels of each class were predicted as which, and what follows from it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Sequence

import numpy as np

from recurseg.data.case import IGNORE
from recurseg.errors import DataError
from recurseg.evaluation.masks import same_shape

BATCH = 2**20
"""Voxels that are counted at once."""


class Confusion:
    """Voxels by reference class and predicted class, added up case by case.

    Every class counts, 0 as well: it is background in one data set and sky in another.

    Args:
        classes: Number of classes, 1 to 255.
        not_evaluated: Classes that have no measure; voxels whose reference is one of them count nowhere.
        counts: Counts to start from, as in the attribute.

    Attributes:
        counts: int64 (classes, classes + 1): rows are the reference, columns the prediction; the last column is for
            voxels that were given no class (255).
    """

    def __init__(
        self, classes: int, *, not_evaluated: Collection[int] = (), counts: np.ndarray | None = None
    ) -> None:
        self.not_evaluated = frozenset(not_evaluated)
        self.counts = np.zeros((classes, classes + 1), np.int64) if counts is None else counts

    @property
    def matrix(self) -> np.ndarray:
        """The square of the counts, (classes, classes)."""
        return self.counts[:, :-1]

    def add(self, prediction: np.ndarray, reference: np.ndarray) -> None:
        """Counts the voxels of one case, or of a part of it.

        Args:
            prediction: Classes, integers of any shape.
            reference: The same; voxels of 255 are not counted.

        Raises:
            DataError: The shapes differ, or a class is not one of these.
        """
        same_shape(prediction, reference)
        classes, unknown = len(self.counts), len(self.counts) + 1
        if any(side.size and not (side.min() >= 0 and side.max() <= IGNORE) for side in (prediction, reference)):
            raise DataError(f"a label map holds values beyond 0 to {IGNORE}, which cannot be classes")
        places = np.full(IGNORE + 1, unknown)
        places[:classes], places[IGNORE] = range(classes), classes
        rows = places.copy()
        rows[list(self.not_evaluated)] = classes
        joint = np.zeros((unknown + 1, unknown + 1), np.int64)
        found, expected = (side.astype(np.uint8, copy=False).ravel() for side in (prediction, reference))
        for start in range(0, found.size, BATCH):
            batch = slice(start, start + BATCH)
            pairs = rows[expected[batch]] * (unknown + 1) + places[found[batch]]
            joint += np.bincount(pairs, minlength=joint.size).reshape(joint.shape)
        if joint[:classes, unknown].any() or joint[unknown].any():
            raise DataError(f"a label map holds a class beyond 0 to {classes - 1}: name all classes")
        self.counts += joint[:classes, :unknown]

    def iou(self) -> np.ndarray:
        """TP / (TP + FP + FN) of each class, float (classes,); nan where neither side has it."""
        return self._by_class(iou)

    def recall(self) -> np.ndarray:
        """TP / (TP + FN) of each class, float (classes,); nan where the reference does not have it.

        Papers also call it the accuracy of a class.
        """
        return self._by_class(recall)

    def dice(self) -> np.ndarray:
        """2·TP / (2·TP + FP + FN) of each class, float (classes,); nan where neither side has it."""
        return self._by_class(dice)

    def mean_dice(self) -> float:
        """Mean of `dice` over the classes but 0 that occur in reference or prediction; nan for none."""
        return float(mean(self.dice()[1:]))

    def mean_iou(self) -> float:
        """Mean of `iou` over the classes that occur in reference or prediction; nan where nothing was counted."""
        return float(mean(self.iou()))

    def mean_recall(self) -> float:
        """Mean of `recall` over the classes that occur in the reference; nan where nothing was counted."""
        return float(mean(self.recall()))

    def _by_class(self, ratio: Callable[[np.ndarray, Sequence[int]], np.ndarray]) -> np.ndarray:
        none = np.array(np.nan)
        return np.stack(
            [none if c in self.not_evaluated else ratio(self.counts, [c]) for c in range(len(self.counts))]
        )


def confusion_of(prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float] | None = None) -> Confusion:
    """Counts one pair of label maps with as many classes as occur; `spacing` is not used."""
    highest = max(int(side[side != IGNORE].max(initial=0)) for side in (prediction, reference))
    return counted(prediction, reference, highest + 1)


def counted(prediction: np.ndarray, reference: np.ndarray, classes: int) -> Confusion:
    """Counts one pair of label maps."""
    confusion = Confusion(classes)
    confusion.add(prediction, reference)
    return confusion


def iou(counts: np.ndarray, members: Sequence[int]) -> np.ndarray:
    """TP / (TP + FP + FN) of some classes as one, counts (..., classes, classes + 1) → (...)."""
    both, expected, found = _overlap(counts, members)
    return _ratio(both, expected + found - both)


def dice(counts: np.ndarray, members: Sequence[int]) -> np.ndarray:
    """2·TP / (2·TP + FP + FN) of some classes as one, counts (..., classes, classes + 1) → (...)."""
    both, expected, found = _overlap(counts, members)
    return _ratio(2 * both, expected + found)


def recall(counts: np.ndarray, members: Sequence[int]) -> np.ndarray:
    """TP / (TP + FN) of some classes as one, counts (..., classes, classes + 1) → (...)."""
    both, expected, _ = _overlap(counts, members)
    return _ratio(both, expected)


def mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis without its nans; nan where there is nothing else."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmean(values, axis=-1)


def _overlap(counts: np.ndarray, members: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Voxels of some classes taken as one: on both sides, in the reference, in the prediction."""
    rows, columns = counts[..., members, :], counts[..., members]
    return rows[..., members].sum((-2, -1)), rows.sum((-2, -1)), columns.sum((-2, -1))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
