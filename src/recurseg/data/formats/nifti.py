"""NIfTI files through nibabel: arrays in (x, y, z) or, of a cine, (x, y, z, t), world in RAS+ millimetres."""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from recurseg.data.case import LazyArray, Volume
from recurseg.data.formats.header import (
    check_affine,
    check_budget,
    check_length,
    check_spacing,
    kept_axes,
    quiet,
    reading,
    squeeze_note,
    squeezed_affine,
)
from recurseg.data.formats.lazy import RawArray
from recurseg.data.formats.spool import Spool
from recurseg.data.formats.writing import finished
from recurseg.errors import DataError

SUFFIXES = (".nii.gz", ".nii")
_MILLIMETRES = {1: 1e3, 3: 1e-3}
"""Codes of `xyzt_units` for metre and micrometre; 2 is millimetre."""
_SECONDS = {0: 1.0, 8: 1.0, 16: 1e-3, 24: 1e-6}
"""Codes of `xyzt_units` for an unnamed unit, second, millisecond and microsecond; others are no times."""

_CHUNK = 2**22


def open_nifti(path: Path, *, max_bytes: int) -> Volume:
    """Opens a `.nii` or `.nii.gz` file; reads its header alone.

    An uncompressed file is mapped; a compressed one is unpacked to a temporary file at the first `[...]`. A fourth
    axis longer than 1 is time, in frames of pixdim[4] seconds (the header's unit is converted); such a cine keeps
    all its four axes.

    Raises:
        DataError: No NIfTI, more axes than four, colour or complex voxels, an unusable affine, or a header
            that claims more than `max_bytes` or more than the file holds.
    """
    header, offset, slope, inter = _header(path)
    shape = tuple(int(n) for n in header.get_data_shape())
    stored = header.get_data_dtype()
    if stored.kind not in "iuf":
        raise DataError(f"{path}: voxels of type {stored} are not one number each; save one channel a file")
    size = check_budget(path, shape, stored, max_bytes)
    kept = _kept(path, shape)
    affine = np.array(header.get_best_affine(), dtype=np.float64)
    affine[:3] *= _unit(header)
    affine = squeezed_affine(affine, kept)
    spacing, notes = check_affine(path, affine)[: len(kept)], squeeze_note(shape, kept)
    cine = 3 in kept
    if cine:
        seconds = _frame_seconds(header)
        spacing = (*spacing, seconds or 1.0)
        notes += () if seconds else ("no time between frames in the header: 1 s stands in",)
    if path.name.lower().endswith(".gz"):
        file, skipped = Spool(path, size, partial(_unpack, path, offset, size)), 0
    else:
        check_length(path, offset + size)
        file, skipped = path, offset
    array = RawArray(path, file, tuple(shape[a] for a in kept), stored, skipped, "F", slope, inter)
    return Volume(
        array=array,
        spacing=spacing,
        affine=affine,
        path=path,
        format="nifti",
        notes=notes,
        time_axis=3 if cine else None,
    )


def write_nifti(path: Path, array: LazyArray, like: Volume) -> Path:
    """Writes `array` on the grid of `like`; from a NIfTI source the header's geometry is copied bit by bit.

    A lazy array is read a few sections at a time.

    Args:
        path: Final name, `.nii` or `.nii.gz`.
        array: Labels `(x, y, z, t)`, `(x, y, z)` or `(x, y)`, or maps with a leading class axis, which becomes the
            last, behind those of space and time.
        like: The source, whole, a range of its sections or one of its frames.
    """
    import nibabel as nib
    from nibabel.openers import ImageOpener

    if like.format == "nifti":
        header, *_ = _header(like.path)
        stored_shape = header.get_data_shape()
        kept = _kept(like.path, stored_shape)
        if 3 in kept and like.time_axis is None:
            stored_shape, kept = stored_shape[:3], kept[:3]
            header.set_data_shape(stored_shape)
        _shift(header, like, kept)
    else:
        header, stored_shape, kept = _new_header(like), like.shape, tuple(range(len(like.shape)))
    shape = list(stored_shape)
    for axis, length in zip(kept, like.shape, strict=True):
        shape[axis] = length
    classes = len(array.shape) > len(like.shape)
    if classes:
        axes = 3 if like.time_axis is None else 4
        shape = [*(*shape, 1)[:axes], array.shape[0]]
        zooms = (*header.get_zooms(), 1.0)[:axes]
        header.set_data_shape(shape)
        header.set_zooms((*zooms, 1.0))
    header.set_data_dtype(array.dtype)
    header.set_intent("none", name="")
    header["cal_min"], header["cal_max"] = 0, 0
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    header = kind(np.broadcast_to(np.zeros((), array.dtype), shape), None, header).header
    header.set_slope_inter(1.0, 0.0)
    stored = header.get_data_dtype()
    with finished(path) as part, ImageOpener(str(part), "wb") as file:
        header.write_to(file)
        for voxels in _in_file_order(array, classes):
            file.write(voxels.astype(stored, copy=False).tobytes(order="F"))
    return path


def _in_file_order(array: LazyArray, classes: bool) -> Iterator[np.ndarray]:
    """The voxels some sections at a time, those of each class after those of the one before."""
    depth = array.shape[-1]
    step = max(1, depth * _CHUNK // (math.prod(array.shape) * array.dtype.itemsize))
    for number in range(array.shape[0] if classes else 1):
        for start in range(0, depth, step):
            yield array[(*[number] * classes, ..., slice(start, start + step))]


def _header(path: Path) -> tuple[Any, int, float, float]:
    """The header without extensions, the voxels' offset, slope and intercept; damaged files end in a DataError."""
    import nibabel as nib

    with reading(path, "NIfTI"), quiet("nibabel.global"):
        path.open("rb").close()
        image = nib.load(path)
        if not isinstance(image, nib.Nifti1Image | nib.Nifti2Image):
            raise DataError(f"{path}: is no NIfTI file but {type(image).__name__}; convert it to NIfTI")
        _check_pixdim(path, type(image.header))
        header = image.header.copy()
        header.extensions.clear()
        _ = header.get_best_affine()
        voxels: Any = image.dataobj
        return header, int(voxels.offset), float(voxels.slope), float(voxels.inter)


def _check_pixdim(path: Path, kind: Any) -> None:
    """A DataError where the geometry rests on a pixdim that nibabel would mend by a guess."""
    from nibabel.openers import ImageOpener

    with ImageOpener(str(path)) as file:
        header = kind.from_fileobj(file, check=False)
    axes = [axis for axis in range(1, 4) if axis <= header["dim"][0] and header["dim"][axis] > 1]
    if header["sform_code"] <= 0:
        check_spacing(path, [float(header["pixdim"][axis]) for axis in axes])


def _kept(path: Path, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes that stay: all four of a cine, of others those that `kept_axes` keeps."""
    cine = len(shape) > 3 and shape[3] > 1 and all(n == 1 for n in shape[4:])
    return (0, 1, 2, 3) if cine else kept_axes(path, shape)


def _frame_seconds(header: Any) -> float | None:
    """Seconds from frame to frame; None where the header does not tell."""
    unit = _SECONDS.get(int(header["xyzt_units"]) & 0x38)
    step = float(header["pixdim"][4])
    return step * unit if unit and 0 < step < float("inf") else None


def _unit(header: Any) -> float:
    """Millimetres in the unit of the header's geometry; files that name none mean millimetres."""
    return _MILLIMETRES.get(int(header["xyzt_units"]) & 7, 1.0)


def _new_header(like: Volume) -> Any:
    """A NIfTI-1 header with the geometry of a volume that came from another format."""
    import nibabel as nib

    header = nib.Nifti2Header() if max(like.shape) > 32767 else nib.Nifti1Header()
    header.set_data_shape(like.shape)
    header.set_zooms(like.spacing)
    header.set_xyzt_units("mm", None if like.time_axis is None else "sec")
    space = like.frame(0).spacing
    affine = like.affine if like.affine is not None else np.diag([*space, *[1.0] * (4 - len(space))])
    code = "scanner" if like.affine is not None else "unknown"
    header.set_qform(affine, code=code)
    header.set_sform(affine, code=code)
    header.set_zooms(like.spacing)
    return header


def _shift(header: Any, like: Volume, kept: tuple[int, ...]) -> None:
    """Moves the header's origin to the first section of `like`; a whole volume changes nothing."""
    unit = _unit(header)
    whole = squeezed_affine(header.get_best_affine(), kept)
    assert like.affine is not None
    steps = np.rint(np.linalg.solve(like.affine[:3, :3] / unit, like.affine[:3, 3] / unit - whole[:3, 3]))
    if not steps.any():
        return
    if not header["sform_code"] and not header["qform_code"]:
        origin = np.eye(4)
        origin[:3, 3] = header.get_best_affine()[:3, 3] + whole[:3, :3] @ steps
        origin[:3, :3] = header.get_best_affine()[:3, :3]
        header.set_sform(origin, code="aligned")
        return
    if header["sform_code"]:
        affine = header.get_sform()
        origin = affine[:3, 3] + squeezed_affine(affine, kept)[:3, :3] @ steps
        for name, value in zip(("srow_x", "srow_y", "srow_z"), origin, strict=True):
            header[name][3] = value
    if header["qform_code"]:
        affine = header.get_qform()
        origin = affine[:3, 3] + squeezed_affine(affine, kept)[:3, :3] @ steps
        header["qoffset_x"], header["qoffset_y"], header["qoffset_z"] = origin


def _unpack(path: Path, offset: int, size: int) -> Iterator[bytes]:
    """Unpacks `size` bytes from `offset` on; a damaged end or a wrong checksum is a DataError."""
    with reading(path, "gzip"), gzip.open(path) as source:
        source.seek(offset)
        left = size
        while left:
            chunk = source.read(min(_CHUNK, left))
            if not chunk:
                raise DataError(
                    f"{path}: truncated ({size - left} of {size} bytes that its header claims); "
                    "copy or export it again"
                )
            left -= len(chunk)
            yield chunk
        source.read(1)
