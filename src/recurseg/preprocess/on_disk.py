"""A case larger than memory on its way to the network: `prepare`, slab by slab and through disk.

Every step is the one of `prepare`, so the result is the same to the last bit: sections are worked on by
themselves, whole-volume statistics are gathered section by section, and a line along an axis is resampled whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from recurseg.data.case import Case, Volume
from recurseg.data.formats.lazy import DiskArray
from recurseg.data.formats.spool import scratch
from recurseg.data.slabs import SLAB_BYTES, placed_slabs
from recurseg.preprocess.config import Preprocessing
from recurseg.preprocess.crop import Box, box_around, occupied_along, whole_box
from recurseg.preprocess.disk_arrays import fit_on_disk, resample_on_disk, section_ranges
from recurseg.preprocess.geometry import Geometry
from recurseg.preprocess.intensity import clip, normalise, percentiles, scale_of, sections_of
from recurseg.preprocess.orientation import Orientation, orientation_of
from recurseg.preprocess.prepare import (
    as_float,
    filtered,
    modality_of,
    non_finite_error,
    require_one_box,
    resampled_shape,
)

_BY_SECTION = ("slice", "slice_unit", "none")


@dataclass(frozen=True)
class PreparedOnDisk:
    """What a network reads, on disk.

    Attributes:
        image: float32 `(C, *spatial)`, of a cine `(C, T, *spatial)`; its file goes with it.
        geometry: The way back.
        present: bool `(C,)`, which channels are there; the others are 0. None: all of them.
    """

    image: DiskArray
    geometry: Geometry
    present: np.ndarray | None


def prepare_on_disk(
    case: Case, config: Preprocessing, *, modalities: Sequence[str], slab_bytes: int = SLAB_BYTES
) -> PreparedOnDisk:
    """Brings a case to the form that networks take without holding it in memory; otherwise as `prepare`.

    Args:
        case: Its images must lie on one grid.
        config: What to do.
        modalities: Which of the data set's modalities, in their order.
        slab_bytes: About how much to read at once; at least one section, and an image `(H, W)` whole.

    Raises:
        DataError, ConfigError: As for `prepare`.
        ResourceError: Not enough temporary disk.
    """
    if case.time_axis is not None:
        return _prepare_cine(case, config, modalities, slab_bytes)
    volumes = {name: modality_of(case, name) for name in modalities if name not in case.missing}
    for name, volume in volumes.items():
        if config.replace_non_finite is None:
            _require_finite(case, name, volume, slab_bytes)
    orientation = orientation_of(case.reference, config.orientation)
    box = whole_box(tuple(case.shape[axis] for axis in orientation.axes))
    readers = {name: _Reader(volume, orientation, box, config, slab_bytes) for name, volume in volumes.items()}
    if config.crop_foreground:
        box = _foreground_box(list(readers.values()))
        readers = {name: replace(reader, box=box) for name, reader in readers.items()}

    wanted = config.channels(modalities)
    present = np.array([name in readers for name, _ in wanted])
    image = scratch(case.reference.path, (len(wanted), *(side.stop - side.start for side in box)), np.float32)
    for number, (name, equalise) in enumerate(wanted):
        if name in readers:
            _fill(image, number, readers[name], equalise=equalise)

    spacing = tuple(float(case.spacing[axis]) for axis in orientation.axes)
    resampled = resampled_shape(case, image.shape[1:], spacing, config)
    shape = resampled if config.in_plane_size is None else (*resampled[:-2], *config.in_plane_size)
    geometry = Geometry(case.shape, orientation, box, resampled, shape)
    image = fit_on_disk(resample_on_disk(image, resampled, slab_bytes), shape, [0] * len(wanted), slab_bytes)
    return PreparedOnDisk(image, geometry, None if present.all() else present)


def _prepare_cine(case: Case, config: Preprocessing, modalities: Sequence[str], slab_bytes: int) -> PreparedOnDisk:
    require_one_box(case, config)
    whole: DiskArray | None = None
    for number in range(case.frames):
        frame = prepare_on_disk(case.frame(number), config, modalities=modalities, slab_bytes=slab_bytes)
        channels, *spatial = frame.image.shape
        if whole is None:
            whole = scratch(case.reference.path, (channels, case.frames, *spatial), np.float32)
        for channel in range(channels):
            for place in section_ranges(spatial, slab_bytes):
                whole[channel, number, place] = frame.image[channel, place]
    assert whole is not None
    return PreparedOnDisk(whole, replace(frame.geometry, time_axis=case.time_axis), frame.present)


@dataclass(frozen=True)
class _Reader:
    """A modality in the axes of the network, cropped, read a few sections at a time."""

    volume: Volume
    orientation: Orientation
    box: Box
    config: Preprocessing
    slab_bytes: int

    def __iter__(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Pairs of places within the box, along the first axis, and float32 `(n, H, W)`; an image `(H, W)` whole."""
        shape = tuple(self.volume.shape[axis] for axis in self.orientation.axes)
        for place in section_ranges(shape, self.slab_bytes, self.box[0]):
            stored = self.volume.array[self.orientation.stored(place, self.volume.shape)]
            slab = self.orientation.apply(as_float(stored))
            if self.config.replace_non_finite is not None:
                slab = np.where(np.isfinite(slab), slab, np.float32(self.config.replace_non_finite))
            first = self.box[0].start
            within = slab[(slice(None), *self.box[1:])]
            yield slice(place.start - first, place.stop - first), np.ascontiguousarray(within)

    def sections(self) -> Iterator[np.ndarray]:
        for _, slab in self:
            yield from sections_of(slab)


def _fill(image: DiskArray, number: int, reader: _Reader, *, equalise: bool) -> None:
    """Clips, filters and normalises a modality into a channel of `image`."""
    config, over = reader.config, reader.config.normalise
    foreground, bounds = over == "foreground", None
    if config.clip_percentiles is not None:
        bounds = percentiles(reader.sections, config.clip_percentiles, foreground=foreground)
    for place, slab in reader:
        channel = filtered(clip(slab, bounds, foreground=foreground), config, equalise=equalise)
        image[number, place] = normalise(channel, over) if over in _BY_SECTION else channel
    if over in _BY_SECTION:
        return
    places = list(section_ranges(image.shape[1:], reader.slab_bytes))
    scale = scale_of(lambda: (part for place in places for part in sections_of(image[number, place])), over)
    for place in places:
        image[number, place] = scale.apply(image[number, place])


def _require_finite(case: Case, name: str, volume: Volume, slab_bytes: int) -> None:
    """A DataError that counts the voxels that are NaN or infinite as float32."""
    count, first = 0, math.prod(volume.shape)
    for place, slab in placed_slabs(volume, max_bytes=slab_bytes):
        bad = ~np.isfinite(as_float(slab))
        if bad.any():
            count += int(bad.sum())
            where = np.argwhere(bad) + [part.start for part in place]
            first = min(first, int(np.ravel_multi_index(tuple(where.T), volume.shape).min()))
    if count:
        raise non_finite_error(case, name, volume, count, first)


def _foreground_box(readers: Sequence[_Reader]) -> Box:
    occupied: list[np.ndarray] = []
    for reader in readers:
        for place, slab in reader:
            found = occupied_along(slab[None])
            if not occupied:
                occupied = [np.zeros(side.stop, bool) for side in reader.box]
            occupied[0][place] |= found[0]
            for places, new in zip(occupied[1:], found[1:], strict=True):
                places |= new
    return box_around(occupied)
