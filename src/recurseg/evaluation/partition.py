"""Membranes that part an image into cells: pixel error and Rand error of the ISBI-2012 EM challenge.

The prediction is the probability of membrane (or a mask); a pixel is membrane where it reaches the threshold.
The challenge thresholds the probability of cell in tenths, "cell > 0.9" to "cell > 0.0", which are the
thresholds 0.1, 0.2, ... 1.0 on membrane.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from recurseg.errors import DataError
from recurseg.evaluation.masks import as_mask, same_shape

THRESHOLDS = np.arange(1, 11, dtype=np.float32) / np.float32(10)
HALF = 4
"""Position of 0.5 in THRESHOLDS."""


class Pixels(NamedTuple):
    """Pixels by outcome, membrane positive; arrays over THRESHOLDS."""

    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    tn: np.ndarray


class Pairs(NamedTuple):
    """Pixel pairs of one cell: in both images, in the prediction, in the reference; arrays over thresholds."""

    both: np.ndarray
    prediction: np.ndarray
    reference: np.ndarray


class Section(NamedTuple):
    """One 2-D section: which cells the prediction has at a threshold, and what the reference says.

    Attributes:
        levels: How many of THRESHOLDS each pixel's membrane probability reaches, 0 to 10.
        cell: Pixels that the reference calls cell.
        counted: Pixels that have a label.
    """

    levels: np.ndarray
    cell: np.ndarray
    counted: np.ndarray

    def predicted_cell(self, threshold: int) -> np.ndarray:
        """Pixels below the threshold with this number, counted from 1; unlabelled pixels are no cell."""
        return (self.levels < threshold) & self.counted


def membrane_class(names: Sequence[str]) -> int | None:
    """The foreground class that is called membrane, None where there is none."""
    return next((c for c, name in enumerate(names) if "membrane" in name.lower() and c > 0), None)


def _levels(prediction: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """How many of THRESHOLDS each pixel's membrane probability reaches, 0 to 10."""
    same_shape(prediction, reference)
    if prediction.dtype.kind != "f":
        return np.where(as_mask(prediction, "prediction"), len(THRESHOLDS), 0).astype(np.uint8)
    if prediction.size and not (prediction.min() >= -1e-4 and prediction.max() <= 1 + 1e-4):
        raise DataError("membrane probabilities lie outside 0..1: pass probabilities, not logits")
    return np.searchsorted(THRESHOLDS, prediction.astype(np.float32), side="right").astype(np.uint8)


def numbered(cell: np.ndarray) -> np.ndarray:
    """Numbers the 4-connected pieces of a section, bool (H, W), from 1; 0 is what lies between them."""
    from scipy.ndimage import label

    cells = np.empty(cell.shape, dtype=np.int32)
    label(cell, output=cells)
    return cells


def thresholds_of(prediction: np.ndarray) -> range:
    """Numbers, from 1, of the thresholds worth trying: all for probabilities, one for masks."""
    return range(1 if prediction.dtype.kind == "f" else len(THRESHOLDS), len(THRESHOLDS) + 1)


def sections(prediction: np.ndarray, reference: np.ndarray) -> Iterator[Section]:
    """Takes a prediction and its reference apart, section by section.

    Args:
        prediction: Probability of membrane in 0..1 (float), or a membrane mask; (H, W) or (sections, H, W).
        reference: Membrane mask, bool or 0/1; 255 is ignored.

    Raises:
        DataError: Shapes differ, not two or three axes, or values that are neither.
    """
    levels = _levels(prediction, reference)
    if levels.ndim not in (2, 3):
        raise DataError(f"metrics of cells work on (H, W) or (sections, H, W), not on shape {levels.shape}")
    membrane = as_mask(reference, "reference")
    cell = ~membrane if reference.dtype == bool else reference == 0
    parts = (array.reshape(-1, *array.shape[-2:]) for array in (levels, cell, cell | membrane))
    yield from map(Section, *parts)


def pixel_counts(prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float] | None = None) -> Pixels:
    """Counts pixels by outcome at every threshold.

    Args:
        prediction: Probability of membrane in 0..1 (float), or a membrane mask (bool or 0/1).
        reference: Membrane mask, bool or 0/1; 255 is ignored.
        spacing: Not used; a pixel is a pixel.
    """
    levels = _levels(prediction, reference)
    membrane = as_mask(reference, "reference")
    cell = ~membrane if reference.dtype == bool else reference == 0

    def reaching(where: np.ndarray) -> np.ndarray:
        histogram = np.bincount(levels[where], minlength=len(THRESHOLDS) + 1)
        return histogram[::-1].cumsum()[::-1][1:]

    tp, fp = reaching(membrane), reaching(cell)
    return Pixels(tp, fp, np.count_nonzero(membrane) - tp, np.count_nonzero(cell) - fp)


def error_fraction(p: Pixels) -> float:
    """Share of wrong pixels at threshold 0.5."""
    total = p.tp[HALF] + p.fp[HALF] + p.fn[HALF] + p.tn[HALF]
    return float((p.fp[HALF] + p.fn[HALF]) / total) if total else float("nan")


def _best_f_error(hits: np.ndarray, errors: np.ndarray) -> float:
    """1 − max over thresholds of F; none of the structure on either side at threshold 0.5 is undefined."""
    if hits.max() == 0:
        return 1.0 if errors[HALF] else float("nan")
    return float(1 - (2 * hits / np.maximum(2 * hits + errors, 1)).max())


def error_best_f(p: Pixels) -> float:
    """1 − max over thresholds of the F-score of membrane pixels."""
    return _best_f_error(p.tp, p.fp + p.fn)


def error_best_f_cell(p: Pixels) -> float:
    """1 − max over thresholds of the F-score of cell pixels: the number that the challenge's board printed."""
    return _best_f_error(p.tn, p.fp + p.fn)


def _pairs(sizes: np.ndarray) -> float:
    sizes = sizes.astype(np.float64)
    return float((sizes * (sizes - 1) / 2).sum())


def _section_pairs(predicted_cell: np.ndarray, true_cells: np.ndarray) -> tuple[float, float, float]:
    """Pairs of one section: (both, prediction, reference), over the pixels of the reference's cells."""
    from scipy.sparse import coo_array

    cells = numbered(predicted_cell)
    inside = true_cells > 0
    truth, found = true_cells[inside], cells[inside]
    shape = (int(true_cells.max(initial=0)) + 1, int(cells.max(initial=0)) + 1)
    table = coo_array((np.ones(len(truth)), (truth, found)), shape=shape).tocsc()
    in_cells = table[:, 1:]  # predicted membrane is no cell: its pixels form no pairs
    return _pairs(in_cells.data), _pairs(in_cells.sum(axis=0)), _pairs(table.sum(axis=1))


def pair_counts(prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float] | None = None) -> Pairs:
    """Counts pixel pairs of 4-connected cells, section by section, pooled over sections at each threshold.

    Args:
        prediction: Probability of membrane in 0..1 (float), or a membrane mask; (H, W) or (sections, H, W).
        reference: Membrane mask, bool or 0/1; 255 is ignored.
        spacing: Not used.

    Returns:
        Pairs over the thresholds (one for masks, ten for probabilities). Only pixels in the reference's
        cells count: its membrane (the "zero component") is left out.
    """
    thresholds = thresholds_of(prediction)
    totals = np.zeros((len(thresholds), 3))
    for section in sections(prediction, reference):
        true_cells = numbered(section.cell)
        for row, threshold in enumerate(thresholds):
            totals[row] += _section_pairs(section.levels < threshold, true_cells)
    return Pairs(*totals.T)


def rand_error(p: Pairs) -> float:
    """1 − max over thresholds of the F-score of pairs, 2·both / (prediction + reference)."""
    whole = p.prediction + p.reference
    if not whole.max(initial=0):
        return float("nan")
    return float(1 - (2 * p.both / np.maximum(whole, 1)).max())
