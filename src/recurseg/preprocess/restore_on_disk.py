"""A network's answer on its way back to a case larger than memory: `restore` and `restore_scores`, slab by slab."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from recurseg.data.formats.lazy import DiskArray
from recurseg.data.formats.spool import scratch
from recurseg.data.slabs import SLAB_BYTES
from recurseg.preprocess.crop import paste
from recurseg.preprocess.disk_arrays import fit_on_disk, ranges, resample_on_disk, section_ranges
from recurseg.preprocess.fit import fit_centred
from recurseg.preprocess.geometry import Geometry
from recurseg.preprocess.resample import resample_linear


def restore_on_disk(
    scores: Iterable[tuple[int, np.ndarray]],
    geometry: Geometry,
    labels: DiskArray,
    maps: Mapping[int, DiskArray],
    *,
    note: Callable[[int], None] = lambda done: None,
    slab_bytes: int = SLAB_BYTES,
) -> None:
    """Writes class scores that come slab by slab as labels, and maps, on the case's own grid.

    Args:
        scores: Pairs in order: the first place along the first axis of the prepared image, of a cine its first frame,
            and probabilities `(K, n, ...)`, class 0 = background.
        geometry: Of the prepared image.
        labels: uint8 zeros of the stored shape, which become the class of the largest score.
        maps: Class → float32 zeros of the stored shape, which become its probability.
        note: Called with the number of places of the prepared image that are written, if `is_direct`.
        slab_bytes: About how much to work on at once.
    """
    if geometry.time_axis is not None:
        for first, block in scores:
            for number in range(block.shape[1]):
                own = {key: _frame(target, first + number) for key, target in maps.items()}
                frame = [(0, block[:, number])]
                restore_on_disk(frame, geometry.frame, _frame(labels, first + number), own, slab_bytes=slab_bytes)
                note(first + number + 1)
        return
    orientation, stored = geometry.orientation, geometry.stored_shape
    inside, around = geometry.box, geometry.oriented_shape
    if 0 in maps:
        for outside in (slice(0, inside[0].start), slice(inside[0].stop, around[0])):
            for place in section_ranges(around, slab_bytes, outside):
                maps[0][orientation.stored(place, stored)] = 1
    if direct := is_direct(geometry):
        on_box = ((start, _unfit(slab, geometry)) for start, slab in scores)
    else:
        on_box = _unfit_on_disk(scores, geometry, labels, slab_bytes)
    for start, slab in on_box:
        first, count = inside[0].start + start, slab.shape[1]
        place = orientation.stored(slice(first, first + count), stored)
        found = [(labels, slab.argmax(axis=0).astype(np.uint8), 0)]
        found += [(target, slab[number], int(number == 0)) for number, target in maps.items()]
        for target, values, fill in found:
            whole = paste(values, (slice(None), *inside[1:]), (count, *around[1:]), fill)
            target[place] = orientation.undo(whole)
        if direct:
            note(start + count)


def is_direct(geometry: Geometry) -> bool:
    """Whether the answer at a place along the first axis depends on the scores at that place alone."""
    if geometry.time_axis is not None:
        return True
    if len(geometry.shape) == 2:
        return geometry.shape == geometry.resampled == geometry.box_shape
    return geometry.resampled[0] == geometry.box_shape[0]


def _frame(array: DiskArray, number: int) -> DiskArray:
    """One frame of a cine, whose time is the slowest axis of the file."""
    shape = array.shape[1:] if array.order == "C" else array.shape[:-1]
    return replace(array, shape=shape, offset=array.offset + number * math.prod(shape) * array.stored.itemsize)


def _unfit(scores: np.ndarray, geometry: Geometry) -> np.ndarray:
    """`Geometry.unfit` of a few sections."""
    count = scores.shape[1]
    background = np.eye(1, len(scores), dtype=np.float32).reshape(-1, *[1] * (scores.ndim - 1))
    fitted = fit_centred(scores, (count, *geometry.resampled[1:]), background)
    return resample_linear(fitted, (count, *geometry.box_shape[1:]))


def _unfit_on_disk(
    scores: Iterable[tuple[int, np.ndarray]], geometry: Geometry, labels: DiskArray, slab_bytes: int
) -> Iterator[tuple[int, np.ndarray]]:
    """`Geometry.unfit` of scores that first have to be complete."""
    whole: DiskArray | None = None
    for start, slab in scores:
        if whole is None:
            whole = scratch(labels.source, (len(slab), *geometry.shape), np.float32)
        whole[:, start : start + slab.shape[1]] = slab
    assert whole is not None
    fill = [1, *[0] * (whole.shape[0] - 1)]
    whole = resample_on_disk(fit_on_disk(whole, geometry.resampled, fill, slab_bytes), geometry.box_shape, slab_bytes)
    for place in ranges(geometry.box_shape, slab_bytes // whole.shape[0]):
        yield place.start, whole[:, place]
