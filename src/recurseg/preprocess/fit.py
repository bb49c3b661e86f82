"""Sections of one size: centred, with a border of a fixed value, or cut at the border."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def fit_centred(array: np.ndarray, shape: Sequence[int], fill: float | np.ndarray) -> np.ndarray:
    """Crops or pads the last axes around their centre; back to the old shape it is its own inverse.

    Args:
        array: `(..., *spatial)`.
        shape: New spatial shape.
        fill: Value of what is added, one or an array that broadcasts to the result.

    Returns:
        `(..., *shape)` of the same type; `array` itself where nothing changes. An odd difference of a side cuts or
        adds the further voxel at its end.
    """
    lead = array.ndim - len(shape)
    old = array.shape[lead:]
    if old == tuple(shape):
        return array
    whole = np.full((*array.shape[:lead], *shape), fill, dtype=array.dtype)
    source, target = zip(*(_overlap(size, new) for size, new in zip(old, shape, strict=True)), strict=True)
    whole[(..., *target)] = array[(..., *source)]
    return whole


def border(size: int, new: int) -> int:
    """Voxels that `fit_centred` adds before a side of `size`; negative where it cuts."""
    return int((new - size) / 2)


def covering_factor(shape: Sequence[int], size: Sequence[int]) -> float:
    """How far `(H, W)` must shrink for its shorter side to fit into `size`; 1 where it does already."""
    return min(1.0, max(new / old for old, new in zip(shape, size, strict=True)))


def _overlap(size: int, new: int) -> tuple[slice, slice]:
    """What both have in common, as a range of the old side and one of the new."""
    before, length = border(size, new), min(size, new)
    return slice(max(-before, 0), max(-before, 0) + length), slice(max(before, 0), max(before, 0) + length)
