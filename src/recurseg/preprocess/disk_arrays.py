"""Resampling and cutting images from file to file, a few sections or lines at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from recurseg.data.formats.lazy import DiskArray
from recurseg.data.formats.spool import scratch
from recurseg.preprocess.fit import fit_centred
from recurseg.preprocess.resample import resample_axis, resampling_order

_FLOAT = 4


def resample_on_disk(image: DiskArray, shape: Sequence[int], slab_bytes: int) -> DiskArray:
    """`resample_linear` from file to file."""
    for axis in resampling_order(image.shape, shape):
        size, other = shape[axis - 1], 2 if axis == 1 else 1
        new = scratch(image.source, (*image.shape[:axis], size, *image.shape[axis + 1 :]), np.float32)
        lead = (slice(None),) * (other - 1)
        moved = (image.shape[other], *image.shape[1:other], *image.shape[other + 1 :])
        for channel in range(image.shape[0]):
            for place in ranges(moved, slab_bytes):
                index = (slice(channel, channel + 1), *lead, place)
                new[index] = resample_axis(image[index], axis, size)
        image = new
    return image


def fit_on_disk(image: DiskArray, shape: tuple[int, ...], fill: Sequence[float], slab_bytes: int) -> DiskArray:
    """`fit_centred` of the sections, from file to file."""
    if image.shape[1:] == shape:
        return image
    new = scratch(image.source, (image.shape[0], *shape), np.float32)
    for channel, value in enumerate(fill):
        for place in section_ranges(image.shape[1:], slab_bytes):
            part = image[channel, place]
            size = part.shape[0] if len(shape) == 3 else shape[0]
            new[channel, place if len(shape) == 3 else ...] = fit_centred(part, (size, *shape[1:]), value)
    return new


def section_ranges(shape: Sequence[int], slab_bytes: int, within: slice | None = None) -> Iterator[slice]:
    """Sections of float32 voxels that take about `slab_bytes` together; an image `(H, W)` is one section."""
    return ranges(shape, math.prod(shape) * _FLOAT if len(shape) == 2 else slab_bytes, within)


def ranges(shape: Sequence[int], slab_bytes: int, within: slice | None = None) -> Iterator[slice]:
    """Ranges along the first axis whose float32 voxels take about `slab_bytes`."""
    begin, end = (0, shape[0]) if within is None else (within.start, within.stop)
    step = max(1, slab_bytes // (math.prod(shape[1:]) * _FLOAT))
    for start in range(begin, end, step):
        yield slice(start, min(start + step, end))
