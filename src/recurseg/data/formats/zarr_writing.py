"""Labels and maps as Zarr: an OME-Zarr image of one level where the source is one, else a plain array."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from recurseg.data.case import LazyArray, Volume
from recurseg.data.formats.header import quiet, reading
from recurseg.data.formats.writing import finished_folder
from recurseg.data.formats.zarr import is_store, library, metadata_of, opened

_CHUNK = 64


def write_zarr(path: Path, array: LazyArray, like: Volume) -> Path:
    """Writes labels, or maps with a leading class axis, chunk by chunk: OME-Zarr where the source is, else an array.

    Labels of an OME-Zarr image become an image of one level with the metadata `image-label`.

    Args:
        path: Final name, a folder.
        array: In the axis order of `like`.
        like: The source; version and voxel size are its own.
    """
    zarr = library(path)
    ome, version = _written_as(like)
    axes = ["c"] * (len(array.shape) - len(like.shape)) + _axis_names(like)
    replaced = {file.name for file in path.iterdir()} if is_store(path) else set()
    with finished_folder(path, replaced) as part, quiet("zarr"):
        if ome is not None:
            group = zarr.open_group(part, mode="w", zarr_format=version)
            group.attrs.update(_multiscales(ome, axes, like, labels=array.dtype.kind == "u"))
        target = zarr.create_array(
            part / "0" if ome is not None else part,
            shape=array.shape,
            dtype=array.dtype,
            chunks=tuple(1 if name in "ct" else min(_CHUNK, n) for name, n in zip(axes, array.shape, strict=True)),
            zarr_format=version,
            attributes={"spacing": list(like.spacing)} if ome is None and like.spacing_known else {},
            dimension_names=axes if version == 3 else None,
            chunk_key_encoding={"name": "v2", "separator": "/"} if version == 2 else None,
        )
        for place in _chunk_places(array.shape, target.chunks):
            target[place] = array[place]
    return path


def _chunk_places(shape: Sequence[int], chunks: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    starts = (range(0, size, step) for size, step in zip(shape, chunks, strict=True))
    for corner in itertools.product(*starts):
        yield tuple(slice(a, min(a + step, n)) for a, step, n in zip(corner, chunks, shape, strict=True))


def _written_as(like: Volume) -> tuple[str | None, int]:
    """The version of OME-NGFF, None for a plain array, and of Zarr in which results of a volume are written."""
    if like.format != "zarr":
        return "0.5", 3
    with reading(like.path, "Zarr"):
        held = opened(like.path)
        version = held.metadata.zarr_format
        ome = {"multiscales", "bioformats2raw.layout"} & set(metadata_of(held))
    return (None if not ome else "0.4" if version == 2 else "0.5"), version


def _axis_names(like: Volume) -> list[str]:
    space = list("zyx"[-len(like.frame(0).shape) :])
    return space if like.time_axis is None else ["t", *space]


def _multiscales(version: str, axes: Sequence[str], like: Volume, *, labels: bool) -> dict[str, Any]:
    """The attributes of an image of one level."""
    kinds = {"t": "time", "c": "channel"}
    units = {"time": "second", "space": "millimeter"} if like.spacing_known else {"time": "second"}
    described = [{"name": name, "type": kinds.get(name, "space")} for name in axes]
    described = [axis | ({"unit": units[axis["type"]]} if axis["type"] in units else {}) for axis in described]
    scale = [1.0] * (len(axes) - len(like.spacing)) + [float(size) for size in like.spacing]
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}
    image: dict[str, Any] = {"axes": described, "datasets": [level]}
    if version == "0.4":
        label = {"image-label": {"version": version}} if labels else {}
        return {"multiscales": [{"version": version, **image}], **label}
    return {"ome": {"version": version, "multiscales": [image], **({"image-label": {}} if labels else {})}}
