"""TIFF images (row, column) and stacks (z, y, x) through tifffile."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from recurseg.data.case import Deferred, LazyArray, Volume
from recurseg.data.formats.header import check_budget, check_length, check_spacing, quiet, reading
from recurseg.data.formats.image import EQUAL_CHANNELS, one_channel
from recurseg.data.formats.lazy import PagedArray, RawArray
from recurseg.data.formats.tiff_spacing import resolution_tags, stored_spacing
from recurseg.data.formats.writing import finished
from recurseg.errors import DataError

SUFFIXES = (".tif", ".tiff")
_STACKED = "ZITQR"
_CLASSIC_LIMIT = 2**32 - 2**25


def open_tiff(path: Path, *, max_bytes: int, channel: int | None = None) -> Volume:
    """Opens a TIFF file; reads its tags alone. One page is a 2-D image, several are a stack.

    Uncompressed contiguous voxels are mapped, others decoded page by page. Spacing comes from OME, ImageJ or
    resolution tags, in that order. `channel` is 0 red, 1 green or 2 blue of a colour image, as for `open_image`.

    Raises:
        DataError: No TIFF, images of several shapes, channels, four axes, a spacing that is not positive, or a
            header that claims more than `max_bytes` or more than the file holds.
    """
    with reading(path, "TIFF"), _opened(path) as file:
        _check_chain(path, file)
        found = list(file.series)
        if not found:
            raise DataError(f"{path}: holds no image; export it again")
        if len(found) > 1:
            raise DataError(f"{path}: holds {len(found)} images of different kind; save each as a file of its own")
        series = found[0]
        axes, shape, dtype = series.axes, tuple(int(n) for n in series.shape), series.dtype
        pages, offset, byte_order = len(series.pages), series.dataoffset, file.byteorder
        white_is_zero = getattr(series.keyframe, "photometric", None) == 0
        unsqueezed = series.get_shape(False) if series.kind == "shaped" else shape
        spacing, notes = stored_spacing(file, path, ndim=len(shape) - ("S" in axes))
    if dtype is None or dtype.kind not in "biuf":
        raise DataError(f"{path}: pixels of type {dtype} are not one number each; save one channel a file")
    check_budget(path, shape, dtype, max_bytes)
    grid = tuple(n for n, name in zip(shape, axes, strict=True) if name != "S")
    _check_axes(path, axes, shape)
    if len(unsqueezed) > len(shape):
        notes += (f"length-1 axis squeezed: {tuple(unsqueezed)} read as {shape}",)
    if white_is_zero:
        notes += ("the file says that 0 is white: values are read as stored",)
    if "S" in axes and channel is None:
        notes += (EQUAL_CHANNELS,)
    array: LazyArray
    values = np.dtype(np.uint8) if dtype.kind == "b" else dtype.newbyteorder("=")
    if offset is not None and dtype.kind != "b" and "S" not in axes:
        check_length(path, offset + int(np.prod(grid, dtype=object)) * dtype.itemsize)
        array = RawArray(path, path, grid, dtype.newbyteorder(byte_order), offset)
    elif len(grid) == 3 and pages == grid[0]:
        array = PagedArray(grid, values, partial(_pages, path, grid[1:], values, channel))
    else:
        array = Deferred(grid, values, partial(_whole, path, grid, values, channel))
    return Volume(
        array=array,
        spacing=check_spacing(path, spacing or (1.0,) * len(grid)),
        affine=None,
        path=path,
        format="tiff" if len(grid) == 3 else "image",
        stack_axis=0 if len(grid) == 3 else None,
        spacing_known=spacing is not None,
        notes=notes,
    )


def write_tiff(path: Path, array: LazyArray, like: Volume) -> Path:
    """Writes `array` with deflate compression and the resolution of `like`, reading it page by page.

    Labels take the source's kind (ImageJ, OME or plain); maps and what came from other formats become OME-TIFF,
    where a leading class axis is the channel axis.

    Args:
        path: Final name, `.tif` or `.tiff`.
        array: `(z, y, x)` or `(y, x)`, or maps with a leading class axis.
        like: The source, whole or a range of its sections.
    """
    import tifffile

    ndim = len(array.shape)
    axes = "CZYX"[-ndim:] if len(like.shape) == 3 or ndim == 2 else "CYX"
    kind, options = "ome", {}
    if like.path.suffix.lower() in SUFFIXES and like.path.is_file():
        with reading(like.path, "TIFF"), _opened(like.path) as source:
            kind, options = resolution_tags(source)
    metadata: dict[str, Any] = {"axes": axes}
    if kind == "imagej" and "C" not in axes:
        options["imagej"] = True
        metadata |= options.pop("metadata", {})
    else:
        options.pop("metadata", None)
        if kind != "plain" or "C" in axes:
            options["ome"] = True
            if like.spacing_known:
                for name, size in zip("XYZ", reversed(like.spacing), strict=False):
                    metadata[f"PhysicalSize{name}"] = float(f"{size * 1e3:.9g}")
    big = math.prod(array.shape) * array.dtype.itemsize > _CLASSIC_LIMIT and not options.get("imagej")
    with finished(path) as part:
        tifffile.imwrite(
            part,
            (array[index] for index in np.ndindex(*array.shape[:-2])),
            shape=array.shape,
            dtype=array.dtype,
            bigtiff=big,
            photometric="minisblack",
            compression="zlib",
            metadata=metadata,
            **options,
        )
    return path


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import tifffile

    with quiet("tifffile"), tifffile.TiffFile(path) as file:
        yield file


def _check_chain(path: Path, file: Any) -> None:
    """A DataError where the last page points to one that the file no longer holds; tifffile would stop there."""
    layout, handle = file.tiff, file.filehandle
    start = file.pages[-1].offset
    handle.seek(start)
    (tags,) = struct.unpack(layout.tagnoformat, handle.read(layout.tagnosize))
    handle.seek(start + layout.tagnosize + tags * layout.tagsize)
    (following,) = struct.unpack(layout.offsetformat, handle.read(layout.offsetsize))
    if following:
        raise DataError(f"{path}: truncated after {len(file.pages)} pages; copy or export it again")


def _check_axes(path: Path, axes: str, shape: tuple[int, ...]) -> None:
    others = [name for name in axes if name not in "YXS"]
    if "C" in others:
        count = shape[axes.index("C")]
        raise DataError(f"{path}: holds {count} channels; save each as a file of its own, or set them to be slices")
    if len(others) > 1:
        raise DataError(
            f"{path}: has axes {axes} {shape} where a 3-D image is meant; save each frame as a file of its own"
        )
    if (others and others[0] not in _STACKED) or not {"Y", "X"} <= set(axes):
        raise DataError(f"{path}: has axes {axes} {shape} where (Z, Y, X) or (Y, X) is meant; export it again")


def _pages(
    path: Path, shape: tuple[int, ...], dtype: np.dtype, channel: int | None, numbers: Sequence[int]
) -> Iterator[np.ndarray]:
    with reading(path, "TIFF"), _opened(path) as file:
        pages = file.series[0].pages
        for number in numbers:
            page = pages[number]
            _check_page(path, page)
            yield _plain(path, page.asarray(), page.axes, shape, dtype, channel)


def _whole(path: Path, shape: tuple[int, ...], dtype: np.dtype, channel: int | None, index: Any) -> np.ndarray:
    with reading(path, "TIFF"), _opened(path) as file:
        series = file.series[0]
        for page in series.pages:
            _check_page(path, page)
        pixels = _plain(path, series.asarray(), series.axes, shape, dtype, channel)
    return np.array(pixels[index])


def _check_page(path: Path, page: Any) -> None:
    """A DataError where the file ends before the pixels of a page do; tifffile would fill in zeros."""
    ends = [o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=False)]
    check_length(path, max(ends, default=0))


def _plain(
    path: Path, pixels: np.ndarray, axes: str, shape: tuple[int, ...], dtype: np.dtype, channel: int | None
) -> np.ndarray:
    """Decoded pixels without their channel axis; a DataError where they are not what the tags claim."""
    if "S" in axes:
        pixels = one_channel(path, pixels, axes.index("S"), channel)
    if pixels.shape != shape:
        raise DataError(f"{path}: truncated or damaged ({pixels.shape} instead of {shape}); copy or export it again")
    return pixels.astype(dtype, copy=False)
