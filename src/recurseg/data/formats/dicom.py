"""A folder with one DICOM series through SimpleITK (GDCM): array in (x, y, z), world in RAS+ millimetres."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from recurseg.data.case import Volume
from recurseg.data.formats.header import check_affine, check_budget, check_spacing, reading
from recurseg.data.formats.itk import ras_affine, read_header, voxel_type
from recurseg.data.formats.lazy import RawArray
from recurseg.data.formats.spool import Spool
from recurseg.errors import DataError

SUFFIXES = (".dcm", ".dicom", ".ima")
_UNEVEN = 0.01
"""Slice distances may differ from their mean by this fraction."""


def is_series(folder: Path) -> bool:
    """True where the first file of the folder that could be DICOM begins as DICOM files do."""
    with reading(folder, "a folder"):
        files = sorted(f for f in folder.iterdir() if f.is_file() and not f.name.startswith("."))
    for file in files:
        if file.suffix.lower() in SUFFIXES:
            return True
        with reading(file, "a file"), file.open("rb") as handle:
            if handle.read(132)[128:] == b"DICM":
                return True
    return False


def open_series(folder: Path, *, files: Sequence[Path] | None = None, max_bytes: int) -> Volume:
    """Opens the one DICOM series of a folder; reads headers alone, the voxels go to a spool at the first `[...]`.

    Args:
        folder: The folder.
        files: Its slices in their order in space, such as one phase of a cine; None takes all files.
        max_bytes: Budget of the whole stack.

    Raises:
        DataError: Several series, slices that repeat, are missing, differ in size or are tilted, colour, or
            headers that claim more than `max_bytes`.
    """
    files = _sorted_files(folder) if files is None else files
    headers = [read_header(file) for file in files]
    first = headers[0]
    for file, header in zip(files, headers, strict=True):
        if header.GetNumberOfComponents() > 1:
            raise DataError(f"{file}: is a colour image; leave it out of the series")
        same = header.GetSize() == first.GetSize() and np.allclose(
            header.GetDirection(), first.GetDirection(), atol=1e-4
        )
        if not same:
            raise DataError(f"{file}: differs in size or direction from {files[0].name}; keep one series a folder")
    dtype = np.result_type(*(voxel_type(file, header) for file, header in zip(files, headers, strict=True)))
    columns, rows, *frames = (int(n) for n in first.GetSize())
    if frames and frames[0] > 1:
        raise DataError(f"{folder}: holds multi-frame files; open one of the files itself")
    shape = (columns, rows, len(files))
    size = check_budget(folder, shape, dtype, max_bytes)
    check_spacing(folder, first.GetSpacing())
    affine = ras_affine(first)
    if len(files) > 1:
        positions = np.array([ras_affine(header)[:3, 3] for header in headers])
        affine[:3, 2] = _step(folder, files, positions)
    spacing = check_affine(folder, affine)
    file = Spool(folder, size, partial(_voxels, files, shape[:2], dtype))
    kept = shape if len(files) > 1 else shape[:2]
    return Volume(
        array=RawArray(folder, file, kept, dtype, order="F"),
        spacing=spacing[: len(kept)],
        affine=affine,
        path=folder,
        format="dicom",
        stack_axis=2 if len(kept) == 3 else None,
    )


def _sorted_files(folder: Path) -> list[Path]:
    """The files of the folder's only series, by position along the slice normal."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    with reading(folder, "a DICOM series"):
        series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
        if not series:
            raise DataError(f"{folder}: holds no readable DICOM image; export it again")
        if len(series) > 1:
            raise DataError(f"{folder}: holds {len(series)} DICOM series; keep one a folder")
        return [Path(name) for name in sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series[0])]


def _step(folder: Path, files: Sequence[Path], positions: np.ndarray) -> np.ndarray:
    """The vector from slice to slice; a DataError where slices repeat or are unevenly spaced."""
    steps = np.diff(positions, axis=0)
    distances = np.linalg.norm(steps, axis=1)
    if distances.min() < 1e-4:
        at = int(distances.argmin())
        raise DataError(
            f"{folder}: {files[at].name} and {files[at + 1].name} lie at one position; "
            "keep one frame or echo a folder"
        )
    usual = np.median(steps, axis=0)
    off = np.linalg.norm(steps - usual, axis=1) / np.linalg.norm(usual)
    if off.max() > _UNEVEN:
        at = int(off.argmax())
        raise DataError(
            f"{folder}: {distances[at]:g} mm between {files[at].name} and {files[at + 1].name}, "
            f"{np.linalg.norm(usual):g} mm elsewhere; add the missing slice or resample"
        )
    return (positions[-1] - positions[0]) / len(steps)


def _voxels(files: Sequence[Path], shape: tuple[int, ...], dtype: np.dtype) -> Iterator[memoryview]:
    import SimpleITK as sitk

    for file in files:
        reader = read_header(file)
        with reading(file, "DICOM"):
            try:
                plane = sitk.GetArrayFromImage(reader.Execute())
            except RuntimeError:
                raise DataError(f"{file}: truncated or damaged; copy or export it again") from None
        yield np.ascontiguousarray(plane.reshape(shape[::-1]), dtype).data
