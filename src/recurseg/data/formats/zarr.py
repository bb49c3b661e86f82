"""Zarr stores through zarr-python: a plain array, or an OME-Zarr image (OME-NGFF 0.4 and 0.5), in (z, y, x).

Of a multi-resolution image the finest level is read, with the voxel size of its coordinate transformations; a cine is
(t, z, y, x). Stores inside a store are named by their path: `scan.zarr/raw`, `scan.zarr/labels/cells`. A group
without OME metadata has an array `image`, else `label`, else only one; an attribute `spacing` of the array, or of the
group, has the millimetres per voxel in the order of the axes.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recurseg.data.case import Volume
from recurseg.data.formats.header import check_budget, check_spacing, kept_axes, quiet, reading, squeeze_note
from recurseg.data.formats.lazy import basic_index
from recurseg.data.formats.tiff_spacing import millimetres_in
from recurseg.errors import ConfigError, DataError

SUFFIX, SUFFIXES = ".zarr", (".ome.zarr", ".zarr")
_MARKERS = ("zarr.json", ".zgroup", ".zarray")
_DEFAULTS = ("image", "label")
_SECONDS = {"second": 1.0, "millisecond": 1e-3, "microsecond": 1e-6, "minute": 60.0, "hour": 3600.0}


@dataclass(frozen=True)
class ZarrArray:
    """An array of a store that is opened anew for every read: no file stays open, workers share nothing.

    Attributes:
        path: The folder of the array.
        chosen: For each of its axes the index that is read, or None for an axis that stays.
        shape: Lengths of the axes that stay.
        dtype: What `[...]` gives, in the machine's byte order.
    """

    path: Path
    chosen: tuple[int | None, ...]
    shape: tuple[int, ...]
    dtype: np.dtype

    def __getitem__(self, index: Any, /) -> np.ndarray:
        parts = basic_index(index, len(self.shape))
        if parts is None or any(isinstance(part, slice) and (part.step or 1) < 0 for part in parts):
            return self[...][index]
        given = iter(parts)
        whole = tuple(next(given) if fixed is None else fixed for fixed in self.chosen)
        with reading(self.path, "Zarr"):
            return np.asarray(opened(self.path)[whole], self.dtype)


@dataclass(frozen=True)
class _Image:
    """An array of a store and what its metadata say of it.

    Attributes:
        path: Its folder.
        shape: Its axes.
        names: Of its axes: t, c, z, y and x.
        sizes: Millimetres and seconds along its axes; None where they are not known.
        labels: Names of its channels, as far as there are any.
        notes: What was decided.
    """

    path: Path
    shape: tuple[int, ...]
    names: tuple[str, ...]
    sizes: tuple[float, ...] | None
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        return self.shape[self.names.index("c")] if "c" in self.names else 1


def is_store(path: Path) -> bool:
    """Whether a path is a Zarr store, or a group or array inside one."""
    return path.is_dir() and (path.suffix.lower() == SUFFIX or any(os.path.isfile(path / name) for name in _MARKERS))


def channels_in(path: Path) -> tuple[str, ...]:
    """The names of an image's channels, where it has several; `channel 0`, ... where it does not name them."""
    image = _image(path)
    numbers = range(image.channels) if image.channels > 1 else ()
    return tuple(image.labels[n] if n < len(image.labels) else f"channel {n}" for n in numbers)


def label_within(path: Path) -> Path | None:
    """The label that an OME-Zarr image holds, where there is exactly one, or the array `label` beside `image`."""
    with reading(path, "Zarr"):
        held = opened(path)
        attributes = metadata_of(held)
        if not hasattr(held, "array_keys"):
            return None
        if {"image", "label"} <= set(held.array_keys()) and "multiscales" not in attributes:
            return path / "label"
        labels = metadata_of(held["labels"]).get("labels", []) if "labels" in held else []
    return path / "labels" / labels[0] if len(labels) == 1 else None


def open_zarr(path: Path, *, max_bytes: int, channel: int | None = None) -> Volume:
    """Opens an array or OME-Zarr image; its metadata are read, voxels wait for `[...]`.

    Args:
        path: The store, or a group or array inside it.
        max_bytes: The most bytes of voxels that it may claim.
        channel: Which of several channels is read, counted from 0.

    Raises:
        ConfigError: The package zarr is not installed.
        DataError: No store, anything but numbers, several channels and none chosen, axes that are no image, or more
            bytes than `max_bytes`.
    """
    image = _image(path)
    with reading(path, "Zarr"):
        dtype = np.dtype(opened(image.path).dtype)
    if dtype.kind not in "iufb":
        raise DataError(f"{path}: holds {dtype} values, not numbers; name another array of the store")
    if "t" in image.names and "z" not in image.names and image.shape[0] > 1:
        raise DataError(f"{path}: is a film {image.shape} without an axis z; add one of length 1, or save each frame")
    chosen = _chosen(path, image, channel)
    kept = [axis for axis, fixed in enumerate(chosen) if fixed is None]
    shape, names = tuple(image.shape[axis] for axis in kept), [image.names[axis] for axis in kept]
    check_budget(path, shape, dtype, max_bytes)
    sizes = (1.0,) * len(kept) if image.sizes is None else [image.sizes[axis] for axis in kept]
    return Volume(
        array=ZarrArray(image.path, chosen, shape, dtype.newbyteorder("=")),
        spacing=check_spacing(path, sizes),
        affine=None,
        path=path,
        format="zarr",
        stack_axis=names.index("z") if "z" in names else 0 if len(names) == 3 else None,
        spacing_known=image.sizes is not None,
        notes=squeeze_note(image.shape, kept) + image.notes,
        time_axis=0 if names[0] == "t" else None,
    )


def library(path: Path) -> Any:
    """The package zarr. Raises ConfigError where it is not installed."""
    try:
        import zarr
    except ImportError:
        raise ConfigError(f"{path}: is Zarr, which needs the package zarr: pip install 'recurseg[zarr]'") from None
    return zarr


def opened(path: Path) -> Any:
    """The array or group at a path."""
    zarr = library(path)
    with quiet("zarr"):
        try:
            return zarr.open(path, mode="r")
        except FileNotFoundError:
            raise DataError(f"{path}: is no Zarr array or group, or damaged; copy or export it again") from None


def metadata_of(held: Any) -> Mapping[str, Any]:
    """The attributes of a group, those of OME-NGFF 0.5 among them."""
    attributes = dict(held.attrs)
    return {**attributes, **attributes.get("ome", {})}


def _image(path: Path) -> _Image:
    """Finds the array that a path means."""
    with reading(path, "Zarr"):
        held = opened(path)
        attributes = metadata_of(held)
        if not hasattr(held, "array_keys"):
            return _plain(path, held, attributes)
        if "multiscales" in attributes:
            return _ome(path, attributes)
        if "plate" in attributes or "well" in attributes:
            raise DataError(f"{path}: is a plate of many images; open one of its fields, such as {path.name}/A/1/0")
        if "bioformats2raw.layout" in attributes:
            series = sorted(name for name in held.group_keys() if name.isdecimal())
            if len(series) == 1:
                return _image(path / series[0])
            raise DataError(f"{path}: holds {len(series)} images; open one of them, such as {path.name}/0")
        arrays = sorted(held.array_keys())
        name = next((name for name in _DEFAULTS if name in arrays), arrays[0] if len(arrays) == 1 else None)
        if name is None:
            said = ", ".join(arrays[:6]) or "none"
            raise DataError(f"{path}: which array is meant; it holds {said}: name one as {path.name}/name")
        return _plain(path / name, held[name], {**attributes, **metadata_of(held[name])})


def _plain(path: Path, array: Any, attributes: Mapping[str, Any]) -> _Image:
    """An array without OME metadata."""
    shape, given = tuple(array.shape), attributes.get("spacing")
    if not 2 <= len(shape) <= 4:
        raise DataError(f"{path}: has axes {shape} where (y, x), (z, y, x) or (t, z, y, x) is meant; export it again")
    if given is not None and len(given) != len(shape):
        raise DataError(f"{path}: its attribute spacing has {len(given)} numbers for {len(shape)} axes; correct it")
    return _Image(path, shape, tuple("tzyx"[-len(shape) :]), None if given is None else tuple(map(float, given)))


def _ome(path: Path, attributes: Mapping[str, Any]) -> _Image:
    """The finest level of a multi-resolution image."""
    found = attributes["multiscales"][0]
    axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in found.get("axes", "tczyx")]
    names = tuple(axis["name"].lower() for axis in axes)
    finest = path / found["datasets"][0]["path"]
    shape = tuple(opened(finest).shape)
    if len(shape) != len(names) or tuple(sorted(names, key="tczyx".find)) != names or not {"y", "x"} <= set(names):
        raise DataError(f"{path}: has axes {', '.join(names)} for an array {shape}; export it again")
    sizes = np.ones(len(names))
    transformations = [place.get("coordinateTransformations", []) for place in (found["datasets"][0], found)]
    for step in itertools.chain(*transformations):
        if step["type"] == "scale":
            sizes *= np.asarray(step["scale"], float)
    units = [_unit(name, axis.get("unit")) for name, axis in zip(names, axes, strict=True)]
    without = [name for name, unit in zip(names, units, strict=True) if unit is None]
    known = None if without else tuple(float(s) * unit for s, unit in zip(sizes, units, strict=True) if unit)
    labels = (
        str(channel.get("label", n)) for n, channel in enumerate(attributes.get("omero", {}).get("channels", []))
    )
    notes = (f"no unit of length is stored along {', '.join(without)}",) if without else ()
    return _Image(finest, shape, names, known, tuple(labels), notes)


def _unit(axis: str, unit: str | None) -> float | None:
    """Millimetres or seconds in the unit of an axis; 1 along channels, and for time without a unit."""
    if axis not in "zyx":
        return _SECONDS.get(str(unit), 1.0)
    return None if unit is None else millimetres_in(unit)


def _chosen(path: Path, image: _Image, channel: int | None) -> tuple[int | None, ...]:
    """For each axis the index that is read; None for the axes that stay, at least two."""
    if image.channels > 1 and channel is None:
        raise DataError(
            f"{path}: holds {image.channels} channels; say in a dataset.yaml which modality is which of them "
            "(channels: {nuclei: 0, membranes: 1})"
        )
    if channel is not None and channel >= image.channels:
        raise DataError(
            f"{path}: has no channel {channel}, only {image.channels}; correct channels in the dataset.yaml"
        )
    lengths = dict(zip(image.names, image.shape, strict=True))
    space = [name for name in image.names if name in "zyx"]
    cine = lengths.get("t", 1) > 1
    kept = space if cine else [space[axis] for axis in kept_axes(path, [lengths[name] for name in space])]
    stay = {*kept, *("t" * cine)}
    return tuple(None if name in stay else (channel or 0) if name == "c" else 0 for name in image.names)
