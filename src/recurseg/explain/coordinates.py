"""A voxel and its axes on two grids: the file's, in stored axis order, and the prepared one that networks read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recurseg.errors import ConfigError
from recurseg.preprocess import Geometry
from recurseg.preprocess.fit import border

ANATOMY = ("sagittal", "coronal", "axial")
"""What planes across the axes of the world are to the patient."""


def prepared_voxel(stored: Sequence[int], geometry: Geometry) -> tuple[int, ...]:
    """The prepared voxel that the centre of a stored voxel lies in.

    Args:
        stored: Index into the file's array, counted from 0.
        geometry: Of the prepared case.

    Raises:
        ConfigError: The voxel lies outside the volume, or was cropped away before the network.
    """
    shape, text = geometry.stored_shape, ",".join(map(str, stored))
    if len(stored) != len(shape):
        raise ConfigError(f"voxel {text}: give {len(shape)} numbers, one for each axis of {shape}")
    if any(not 0 <= index < size for index, size in zip(stored, shape, strict=True)):
        last = ",".join(str(size - 1) for size in shape)
        raise ConfigError(f"voxel {text} lies outside the volume {shape}: the last voxel is {last}")
    found = []
    for network_axis, axis in enumerate(geometry.orientation.axes):
        index = shape[axis] - 1 - stored[axis] if geometry.orientation.flips[axis] else stored[axis]
        side = geometry.box[network_axis]
        if not side.start <= index < side.stop:
            raise ConfigError(f"voxel {text} lies in the empty border that is cropped away: choose one inside")
        size, fitted = geometry.resampled[network_axis], geometry.shape[network_axis]
        index = border(size, fitted) + _nearest(index - side.start, side.stop - side.start, size)
        if not 0 <= index < fitted:
            raise ConfigError(f"voxel {text} lies outside the sections' in_plane_size: choose one inside")
        found.append(index)
    return tuple(found)


def stored_voxel(prepared: Sequence[int], geometry: Geometry) -> tuple[int, ...]:
    """The stored voxel that the centre of a prepared voxel lies in; the inverse where nothing is resampled.

    A voxel of the zeros that sections were filled up with is taken for the nearest one of the image.
    """
    found = [0] * len(prepared)
    for network_axis, axis in enumerate(geometry.orientation.axes):
        side, size = geometry.box[network_axis], geometry.resampled[network_axis]
        index = min(max(prepared[network_axis] - border(size, geometry.shape[network_axis]), 0), size - 1)
        index = side.start + _nearest(index, size, side.stop - side.start)
        found[axis] = geometry.stored_shape[axis] - 1 - index if geometry.orientation.flips[axis] else index
    return tuple(found)


def anatomy_of(affine: np.ndarray | None, geometry: Geometry) -> tuple[str, ...]:
    """What planes across each axis of a prepared volume are to the patient; empty where there is no telling.

    Args:
        affine: From the file's index to world millimetres (RAS+).
        geometry: Of the prepared volume.
    """
    axes = geometry.orientation.axes
    if affine is None or len(axes) != 3:
        return ()

    from nibabel.orientations import io_orientation

    across = io_orientation(affine)[:, 0]  # stored axis → world axis
    return tuple(ANATOMY[int(across[axis])] for axis in axes)


def _nearest(index: int, size: int, new: int) -> int:
    return min(int((index + 0.5) * new / size), new - 1)
