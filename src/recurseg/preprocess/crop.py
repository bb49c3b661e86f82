"""The box around what is not zero."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MARGIN = 2
"""Voxels that stay on each side of the box."""

Box = tuple[slice, ...]


def foreground_box(image: np.ndarray) -> Box:
    """Bounding box of the voxels that are not 0 in some channel, with `MARGIN` voxels around it.

    Args:
        image: `(C, *spatial)`.

    Returns:
        A slice for each spatial axis; the whole image where everything is 0.
    """
    return box_around(occupied_along(image))


def occupied_along(image: np.ndarray) -> list[np.ndarray]:
    """For each spatial axis, which of its places have a voxel of `(C, *spatial)` that is not 0."""
    occupied = (image != 0).any(axis=0)
    axes = range(occupied.ndim)
    return [occupied.any(axis=tuple(other for other in axes if other != axis)) for axis in axes]


def box_around(occupied: Sequence[np.ndarray]) -> Box:
    """The box around places that are occupied along each axis; everything where none is."""
    if not occupied[0].any():
        return whole_box(tuple(len(places) for places in occupied))
    box = []
    for places in occupied:
        inside = np.flatnonzero(places)
        box.append(slice(max(int(inside[0]) - MARGIN, 0), min(int(inside[-1]) + 1 + MARGIN, len(places))))
    return tuple(box)


def whole_box(shape: tuple[int, ...]) -> Box:
    """The box that leaves everything in."""
    return tuple(slice(0, size) for size in shape)


def paste(part: np.ndarray, box: Box, shape: tuple[int, ...], fill: float) -> np.ndarray:
    """Puts a cropped array back into its place.

    Args:
        part: `(*spatial of box)`.
        box: Where it was.
        shape: Shape of the whole.
        fill: Value of everything outside.

    Returns:
        An array of `shape` with the type of `part`.
    """
    if part.shape == tuple(shape):
        return part
    whole = np.full(shape, fill, dtype=part.dtype)
    whole[box] = part
    return whole
