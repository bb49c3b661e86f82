"""MetaImage and NRRD files through SimpleITK: arrays in (x, y, z), world in RAS+ millimetres as NIfTI has it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from recurseg.data.case import Volume
from recurseg.data.formats.header import (
    check_affine,
    check_budget,
    check_spacing,
    kept_axes,
    reading,
    squeeze_note,
    squeezed_affine,
)
from recurseg.data.formats.lazy import RawArray
from recurseg.data.formats.spool import Spool
from recurseg.data.formats.writing import finished
from recurseg.errors import DataError

SUFFIXES = (".mha", ".mhd", ".nrrd", ".nhdr")
SINGLE_FILE = {".mhd": ".mha", ".nhdr": ".nrrd"}
"""Formats of two files → the one-file twin, which is what gets written."""

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_SLAB_BYTES = 2**26


def open_itk(path: Path, *, max_bytes: int, format: str = "itk") -> Volume:
    """Opens a file that SimpleITK reads; reads its header alone, the voxels go to a spool at the first `[...]`.

    Raises:
        DataError: Unreadable, vector voxels, more axes than three, unusable geometry, or a header that claims more
            than `max_bytes`.
    """
    reader = read_header(path)
    if reader.GetNumberOfComponents() > 1:
        raise DataError(f"{path}: has {reader.GetNumberOfComponents()} values a voxel; save one channel a file")
    shape = tuple(int(n) for n in reader.GetSize())
    dtype = voxel_type(path, reader)
    size = check_budget(path, shape, dtype, max_bytes)
    kept = kept_axes(path, shape)
    check_spacing(path, reader.GetSpacing())
    affine = squeezed_affine(ras_affine(reader), kept)
    spacing = check_affine(path, affine)[: len(kept)]
    file = Spool(path, size, partial(_voxels, path, shape, dtype))
    return Volume(
        array=RawArray(path, file, tuple(shape[a] for a in kept), dtype, order="F"),
        spacing=spacing,
        affine=affine,
        path=path,
        format=format,
        notes=squeeze_note(shape, kept),
    )


def write_itk(path: Path, array: np.ndarray, like: Volume) -> Path:
    """Writes `array` compressed, with origin, spacing and direction of the source.

    Args:
        path: Final name, `.mha` or `.nrrd`.
        array: Labels `(x, y, z)` or `(x, y)`, or maps with a leading class axis, which become vector voxels.
        like: The source, whole or a range of its sections.
    """
    import SimpleITK as sitk

    classes = array.ndim > len(like.shape)
    reader = read_header(like.path) if like.format == "itk" else None
    shape = list(reader.GetSize()) if reader else [*like.shape, *[1] * (3 - len(like.shape))]
    kept = kept_axes(like.path, shape) if reader else tuple(range(len(like.shape)))
    for axis, length in zip(kept, like.shape, strict=True):
        shape[axis] = length
    voxels = np.moveaxis(array, 0, -1).reshape(*shape, len(array)) if classes else array.reshape(shape)
    spatial = tuple(reversed(range(len(shape))))
    image = sitk.GetImageFromArray(voxels.transpose(*spatial, *([len(shape)] if classes else [])), isVector=classes)
    if reader:
        image.SetSpacing(reader.GetSpacing())
        image.SetDirection(reader.GetDirection())
        image.SetOrigin(_first_voxel(reader, like, kept))
    else:
        _set_geometry(image, like)
    with finished(path) as part:
        sitk.WriteImage(image, str(part), useCompression=True)
    return path


def read_header(path: Path) -> Any:
    """A SimpleITK reader that has read the header of `path`; a DataError where it cannot."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    with reading(path, "an image"):
        path.open("rb").close()
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        try:
            reader.ReadImageInformation()
        except RuntimeError:
            raise DataError(f"{path}: is damaged or no image of its format; copy or export it again") from None
        return reader


def ras_affine(reader: Any) -> np.ndarray:
    """The 4×4 RAS affine of an ITK header, whose world is LPS."""
    ndim = reader.GetDimension()
    directions = np.reshape(reader.GetDirection(), (ndim, ndim)) * np.asarray(reader.GetSpacing())
    spatial = min(ndim, 3)
    affine = np.eye(4)
    affine[:spatial, :spatial] = directions[:spatial, :spatial]
    affine[:spatial, 3] = reader.GetOrigin()[:spatial]
    return _LPS_TO_RAS @ affine


def voxel_type(path: Path, reader: Any) -> np.dtype:
    """The numpy type of an ITK header's voxels."""
    import SimpleITK as sitk

    try:
        dtype = sitk.GetArrayViewFromImage(sitk.Image([1, 1], reader.GetPixelID())).dtype
    except (RuntimeError, TypeError, KeyError):
        dtype = np.dtype(object)
    if dtype.kind not in "iuf":
        kind = sitk.GetPixelIDValueAsString(reader.GetPixelID())
        raise DataError(f"{path}: voxels of type {kind} are not one number each; save one channel a file")
    return dtype


def _voxels(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> Iterator[memoryview]:
    """The voxels, x fastest: slab by slab where ITK can, else in one piece."""
    import SimpleITK as sitk

    reader = read_header(path)
    depth = shape[-1]
    plane = int(np.prod(shape[:-1], dtype=object)) * dtype.itemsize
    step = max(1, _SLAB_BYTES // plane) if _can_stream(path) else depth
    for start in range(0, depth, step):
        thickness = min(step, depth - start)
        reader.SetExtractIndex([0] * (len(shape) - 1) + [start])
        reader.SetExtractSize([*shape[:-1], thickness])
        with reading(path, "an image"):
            try:
                slab = sitk.GetArrayFromImage(reader.Execute())
            except RuntimeError:
                raise DataError(f"{path}: truncated or damaged; copy or export it again") from None
        if slab.size != plane * thickness // dtype.itemsize:
            raise DataError(f"{path}: truncated or damaged; copy or export it again")
        yield np.ascontiguousarray(slab, dtype).data


def _can_stream(path: Path) -> bool:
    """True for uncompressed MetaImage, of which ITK reads a slab without the rest."""
    if path.suffix.lower() not in (".mha", ".mhd"):
        return False
    with path.open("rb") as file:
        head = file.read(4096).lower()
    return b"compresseddata = true" not in head


def _first_voxel(reader: Any, like: Volume, kept: tuple[int, ...]) -> tuple[float, ...]:
    """The origin in the file's own numbers, moved to the first section of `like`."""
    assert like.affine is not None
    whole = squeezed_affine(ras_affine(reader), kept)
    steps = np.rint(np.linalg.solve(like.affine[:3, :3], like.affine[:3, 3] - whole[:3, 3]))
    if not steps.any():
        return reader.GetOrigin()
    index = [0.0] * reader.GetDimension()
    for axis, step in zip(kept, steps, strict=False):
        index[axis] = step
    ndim = reader.GetDimension()
    directions = np.reshape(reader.GetDirection(), (ndim, ndim)) * np.asarray(reader.GetSpacing())
    return tuple(float(v) for v in np.asarray(reader.GetOrigin()) + directions @ index)


def _set_geometry(image: Any, like: Volume) -> None:
    """Origin, spacing and direction from a volume of another format, as a 3-D image."""
    image.SetSpacing([*like.spacing, *[1.0] * (3 - len(like.spacing))])
    if like.affine is not None:
        lps = _LPS_TO_RAS @ like.affine
        lengths = np.linalg.norm(lps[:3, :3], axis=0)
        image.SetSpacing(lengths.tolist())
        image.SetOrigin(lps[:3, 3].tolist())
        image.SetDirection((lps[:3, :3] / lengths).ravel().tolist())
