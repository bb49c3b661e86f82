"""Warping error of the ISBI-2012 EM challenge: what is left once borders were moved, cells merged and cells split.

Jain et al. 2010, Boundary learning by optimization with topological constraints: the reference is warped towards
the prediction by flipping simple points alone, pixels whose flip changes no topology. Where the two still differ, no
bending of a border explains it. Of these pixels the challenge counts the mergers and splits (its program: Fiji,
Trainable Segmentation, WarpingError). Cells are 4-connected, membrane 8-connected, and what lies outside the image is
membrane.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from recurseg.evaluation.partition import numbered, sections, thresholds_of

RADIUS = 20
"""Pixels around a cell pixel in which it is looked for a way round it before its removal counts as a split."""

BATCH = 512
"""Windows that are labelled at once, about 5 MB."""


class Warped(NamedTuple):
    """What differs after warping, arrays over thresholds, and the number of labelled pixels.

    Attributes:
        differing: Pixels that could not be flipped.
        topological: Those of them that merge cells or split one.
        pixels: All labelled pixels.
    """

    differing: np.ndarray
    topological: np.ndarray
    pixels: int


def _simple_neighbourhoods() -> np.ndarray:
    """Whether a pixel is simple, by the code of its eight neighbours: bit k is set where neighbour k is cell.

    Neighbours are numbered around the pixel from the upper left, so odd ones share an edge with it. It is simple
    where Yokoi's connectivity number Σ x_k − x_k·x_(k+1)·x_(k+2) over these is one.
    """
    x = (np.arange(256)[:, None] >> np.arange(8)) & 1
    edge, corner, next_edge = x[:, 1::2], np.roll(x, -2, axis=1)[:, ::2], np.roll(x, -2, axis=1)[:, 1::2]
    return (edge - edge * corner * next_edge).sum(axis=1) == 1


SIMPLE = _simple_neighbourhoods()
_BITS = (1 << np.arange(8)).astype(np.uint8)


def _around(width: int) -> np.ndarray:
    """Offsets of the eight neighbours in a flat image of this width, in the order of the bits of SIMPLE."""
    return np.array([-width - 1, -width, -width + 1, 1, width + 1, width, width - 1, -1])


def warp(reference: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Moves the borders of a reference towards a prediction as far as flips of simple points lead.

    Rounds go over four interleaved lattices of every second row and column, upper left first. No two pixels of a
    lattice are neighbours, so flipping all its simple points at once is the same as one by one. It ends with a round
    that flips none; a point that was not simple waits until a neighbour flips. Another order can leave other pixels.

    Args:
        reference: Cells, bool (H, W).
        prediction: Cells, bool (H, W).

    Returns:
        Bool (H, W), with the topology of the reference.
    """
    height, width = reference.shape
    warped = np.pad(reference, 1).astype(np.uint8).ravel()
    goal = np.pad(prediction, 1).astype(np.uint8).ravel()
    stride = width + 2
    around = _around(stride)
    places = np.arange(warped.size).reshape(-1, stride)
    lattices = [places[row::2, column::2].ravel() for row in (1, 0) for column in (1, 0)]
    waiting = warped != goal
    while waiting.any():
        for lattice in lattices:
            points = lattice[waiting[lattice]]
            waiting[points] = False
            points = points[SIMPLE[warped[points[:, None] + around] @ _BITS]]
            warped[points] ^= 1
            near = points[:, None] + around
            waiting[near] = warped[near] != goal[near]
    return warped.reshape(height + 2, stride)[1:-1, 1:-1].astype(bool)


def merging_or_splitting(warped: np.ndarray, differing: np.ndarray) -> np.ndarray:
    """Picks the pixels that merge cells or split one, not those that make or fill holes and cells.

    Args:
        warped: Cells of the warped reference, bool (H, W).
        differing: Where the prediction says otherwise, bool (H, W).

    Returns:
        Bool (H, W). A differing pixel is in where its eight neighbours hold two cells, or, itself a cell pixel, would
        hold two without it within RADIUS pixels.
    """
    cells = np.pad(numbered(warped), 1)
    stride = cells.shape[1]
    places = np.flatnonzero(np.pad(differing, 1))
    found = _cells_among(cells.ravel()[places[:, None] + _around(stride)]) > 1
    alone = np.flatnonzero(~found & (cells.ravel()[places] > 0))
    found[alone] = _splits(warped, places[alone] // stride - 1, places[alone] % stride - 1)
    picked = np.zeros(cells.size, dtype=bool)
    picked[places[found]] = True
    return picked.reshape(cells.shape)[1:-1, 1:-1]


def _splits(warped: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Whether the neighbours of each of these cell pixels hold two cells once it is removed from its window."""
    from scipy.ndimage import label

    windows = np.lib.stride_tricks.sliding_window_view(np.pad(warped, RADIUS), (2 * RADIUS + 1, 2 * RADIUS + 1))
    in_plane = np.zeros((3, 3, 3), dtype=bool)
    in_plane[1] = [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
    middle = slice(RADIUS - 1, RADIUS + 2)
    splits = np.zeros(len(rows), dtype=bool)
    for start in range(0, len(rows), BATCH):
        batch = slice(start, start + BATCH)
        without = windows[rows[batch], columns[batch]].copy()
        without[:, RADIUS, RADIUS] = False
        pieces = np.empty(without.shape, dtype=np.int32)
        label(without, in_plane, output=pieces)
        splits[batch] = _cells_among(pieces[:, middle, middle].reshape(-1, 9)) > 1
    return splits


def _cells_among(neighbours: np.ndarray) -> np.ndarray:
    """Number of different cells in each row of an array of cell numbers; 0 is membrane."""
    ordered = np.sort(neighbours, axis=1)
    return (ordered[:, 0] > 0) + np.count_nonzero(np.diff(ordered, axis=1), axis=1)


def warped_counts(prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float] | None = None) -> Warped:
    """Warps every section at every threshold and counts what is left, pooled over sections.

    Args:
        prediction: Probability of membrane in 0..1 (float), or a membrane mask; (H, W) or (sections, H, W).
        reference: Membrane mask, bool or 0/1; 255 is ignored.
        spacing: Not used.
    """
    thresholds = thresholds_of(prediction)
    totals = np.zeros((2, len(thresholds)), dtype=np.int64)
    pixels = 0
    for section in sections(prediction, reference):
        pixels += int(np.count_nonzero(section.counted))
        for column, threshold in enumerate(thresholds):
            predicted = section.predicted_cell(threshold)
            warped = warp(section.cell, predicted)
            differing = warped != predicted
            totals[0, column] += np.count_nonzero(differing)
            totals[1, column] += np.count_nonzero(merging_or_splitting(warped, differing))
    return Warped(totals[0], totals[1], pixels)


def warping_error(w: Warped) -> float:
    """Smallest share over thresholds of pixels that differ after warping."""
    return float(w.differing.min() / w.pixels) if w.pixels else float("nan")


def error_splits_mergers(w: Warped) -> float:
    """Smallest share over thresholds of pixels that merge or split cells after warping, as the challenge printed."""
    return float(w.topological.min() / w.pixels) if w.pixels else float("nan")
