"""The box around what is not zero."""

from __future__ import annotations

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
    occupied = (image != 0).any(axis=0)
    if not occupied.any():
        return whole_box(occupied.shape)
    box = []
    for axis, size in enumerate(occupied.shape):
        others = tuple(a for a in range(occupied.ndim) if a != axis)
        inside = np.flatnonzero(occupied.any(axis=others))
        box.append(slice(max(int(inside[0]) - MARGIN, 0), min(int(inside[-1]) + 1 + MARGIN, size)))
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
