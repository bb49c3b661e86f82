"""Arrays on a finer or coarser grid of the same extent: voxel edges stay where they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def target_shape(shape: Sequence[int], spacing: Sequence[float], wanted: Sequence[float | None]) -> tuple[int, ...]:
    """Shape of the grid whose spacing comes nearest to what is wanted, at least 1 voxel an axis.

    Args:
        shape: Voxels an axis.
        spacing: Millimetres per voxel.
        wanted: Millimetres per voxel; None keeps the axis.
    """
    return tuple(
        size if new is None else max(1, round(size * old / new))
        for size, old, new in zip(shape, spacing, wanted, strict=True)
    )


def scaled_shape(shape: Sequence[int], factor: float) -> tuple[int, ...]:
    """The shape with its last two sides times a factor, at least 1 pixel each."""
    return (*shape[:-2], *(max(1, round(size * factor)) for size in shape[-2:]))


def resample_linear(array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Resamples linearly, one axis after the other; shrinking averages over what a new voxel covers.

    Args:
        array: `(C, *spatial)`.
        shape: New spatial shape.

    Returns:
        float32 `(C, *shape)`; `array` itself where nothing changes.
    """
    if array.shape[1:] == tuple(shape):
        return array

    array = np.ascontiguousarray(array, dtype=np.float32)
    for axis in resampling_order(array.shape, shape):
        array = resample_axis(array, axis, shape[axis - 1])
    return array


def resampling_order(old: Sequence[int], shape: Sequence[int]) -> list[int]:
    """The axes of `(C, *spatial)` that change, those that shrink most first."""
    axes = [axis for axis in range(1, len(old)) if old[axis] != shape[axis - 1]]
    return sorted(axes, key=lambda axis: shape[axis - 1] / old[axis])


def resample_axis(array: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Resamples one axis to `size`; each line along it by itself, whatever the others are."""
    import torch
    from torch.nn.functional import interpolate

    lines = torch.from_numpy(array).movedim(axis, -1)
    rows = lines.reshape(1, 1, -1, lines.shape[-1])  # torch (2.13) errs on antialiased columns of an image 1 wide
    rows = interpolate(rows, size=(rows.shape[2], size), mode="bilinear", antialias=True)
    return rows.reshape(*lines.shape[:-1], size).movedim(-1, axis).numpy()


def resample_nearest(array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Gives every voxel of the new grid the value of the voxel that its centre lies in.

    Args:
        array: `(*spatial)`, of any type.
        shape: New shape.

    Returns:
        The same type, of `shape`; `array` itself where nothing changes.
    """
    if array.shape == tuple(shape):
        return array
    picks = [((2 * np.arange(new) + 1) * old) // (2 * new) for old, new in zip(array.shape, shape, strict=True)]
    return array[np.ix_(*picks)]
