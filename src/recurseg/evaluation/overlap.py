"""Overlap of two masks: dice, iou, precision, recall and the difference of volumes, all from three counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from recurseg.data.case import IGNORE
from recurseg.evaluation.masks import masks


class Counts(NamedTuple):
    """Voxels of a structure that were found (`tp`), invented (`fp`) and missed (`fn`)."""

    tp: int
    fp: int
    fn: int


def count(prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float] | None = None) -> Counts:
    """Counts voxels of two masks; `spacing` is not used, since every voxel weighs the same."""
    found, expected = masks(prediction, reference)
    tp = int(np.count_nonzero(found & expected))
    return Counts(tp, int(np.count_nonzero(found)) - tp, int(np.count_nonzero(expected)) - tp)


def _share(part: float, whole: float, counts: Counts) -> float:
    """`part / whole`; both masks empty is undefined (nan), one of them empty is the worst value, 0."""
    if not any(counts):
        return float("nan")
    return part / whole if whole else 0.0


def dice(c: Counts) -> float:
    """2·TP / (2·TP + FP + FN)."""
    return _share(2 * c.tp, 2 * c.tp + c.fp + c.fn, c)


def iou(c: Counts) -> float:
    """TP / (TP + FP + FN)."""
    return _share(c.tp, c.tp + c.fp + c.fn, c)


def precision(c: Counts) -> float:
    """TP / (TP + FP)."""
    return _share(c.tp, c.tp + c.fp, c)


def recall(c: Counts) -> float:
    """TP / (TP + FN)."""
    return _share(c.tp, c.tp + c.fn, c)


def avd_percent(c: Counts) -> float:
    """100·|V_prediction − V_reference| / V_reference; 100 where only the reference is empty."""
    if not any(c):
        return float("nan")
    volume = c.tp + c.fn
    return 100.0 * abs(c.fp - c.fn) / volume if volume else 100.0


def soft_dice(probability: Any, reference: Any) -> Any:
    """(2·Σ p·q + 1) / (Σ p + Σ q + 1) over everything together, id `dice:soft_batch`.

    The score of the γ-Net thesis (its §4.6): p is the sigmoid of the network's output, the sums go over all voxels of
    a validation batch, and a validation's value is the mean over its batches. The thesis reports `thesis_epoch_mean`,
    the mean over the validations of *all* epochs of a run: it says how fast and how steadily a network learned, not
    how good it is in the end. Two empty masks have 1.

    Args:
        probability: Probabilities of the structure in 0..1, any shape, an array or a tensor.
        reference: 0, 1 or 255 (not counted) on the same shape, of the same kind.

    Returns:
        The value, a scalar of the kind that `probability` is.
    """
    counted = reference != IGNORE
    p, q = probability * counted, (reference == 1) * counted
    return (2 * (p * q).sum() + 1) / (p.sum() + q.sum() + 1)
