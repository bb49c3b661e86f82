"""Reading a volume in slabs, so that statistics of one larger than memory need little of it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from recurseg.data.case import Volume

SLAB_BYTES = 2**23


def slabs(volume: Volume, *, max_bytes: int = SLAB_BYTES) -> Iterator[np.ndarray]:
    """Yields a volume's voxels piece by piece, in the order in which its file stores them.

    Args:
        volume: 2-D, 3-D or a cine.
        max_bytes: About how much to hold at once; at least one plane.

    Yields:
        Arrays that together make up the volume: slabs along axis 0 where sections or frames follow each other along
        it in the file, along the last axis otherwise.
    """
    return (slab for _, slab in placed_slabs(volume, max_bytes=max_bytes))


def placed_slabs(volume: Volume, *, max_bytes: int = SLAB_BYTES) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
    """As `slabs`, each with its place in the volume."""
    shape = volume.shape
    axis = 0 if 0 in (volume.stack_axis, volume.time_axis) else len(shape) - 1
    plane_bytes = math.prod(shape) // shape[axis] * np.dtype(volume.array.dtype).itemsize
    step = shape[axis] if len(shape) == 2 else max(1, max_bytes // max(plane_bytes, 1))
    for start in range(0, shape[axis], step):
        index = [slice(0, size) for size in shape]
        index[axis] = slice(start, min(start + step, shape[axis]))
        yield tuple(index), np.asarray(volume.array[tuple(index)])
