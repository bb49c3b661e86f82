"""A folder of 2-D files, one a section, as one stack in (z, y, x)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from recurseg.data.case import LazyArray, Volume
from recurseg.data.formats import image, tiff
from recurseg.data.formats.header import DEFAULT_MAX_BYTES, check_budget, reading
from recurseg.data.formats.lazy import PagedArray
from recurseg.data.formats.writing import finished_folder
from recurseg.errors import DataError

SUFFIXES = image.SUFFIXES + tiff.SUFFIXES
_LOSSLESS = (".png", *tiff.SUFFIXES)


def image_files(folder: Path) -> list[Path]:
    """The 2-D image files of a folder in natural order (`s2` before `s10`); hidden files are left out."""
    with reading(folder, "a folder"):
        files = [f for f in folder.iterdir() if f.suffix.lower() in SUFFIXES and not f.name.startswith(".")]
    return sorted((f for f in files if f.is_file()), key=_natural)


def is_stack(files: Sequence[Path]) -> bool:
    """True where two or more stems are purely numeric, consecutive and named once each."""
    stems = [f.stem for f in files]
    if len(stems) < 2 or not all(s.isascii() and s.isdecimal() for s in stems):
        return False
    numbers = sorted(int(s) for s in stems)
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def open_folder(folder: Path, *, files: Sequence[Path] | None = None, max_bytes: int) -> Volume:
    """Opens a folder of 2-D files as a stack; reads headers alone.

    Args:
        folder: The folder.
        files: Its sections in order; None takes all image files, whose stems must be consecutive numbers.
        max_bytes: Budget of the whole stack.

    Raises:
        DataError: No image files, stems that are no consecutive numbers, or files that differ in size or type.
    """
    if files is None:
        files = image_files(folder)
        if not files:
            raise DataError(f"{folder}: holds no image files; check the path")
        if not is_stack(files):
            raise DataError(
                f"{folder}: {_why_no_stack(files)}; rename or complete the files, or name them one by one"
            )
    planes = [open_plane(file, max_bytes=max_bytes) for file in files]
    first = planes[0]
    for file, plane in zip(files, planes, strict=True):
        if (plane.shape, plane.array.dtype) != (first.shape, first.array.dtype):
            raise DataError(
                f"{file}: is {_described(plane)} where {files[0].name} is {_described(first)}; "
                "all sections of a stack must agree"
            )
    shape = (len(planes), *first.shape)
    check_budget(folder, shape, np.dtype(first.array.dtype), max_bytes)
    read = partial(_page, tuple(plane.array for plane in planes))
    return Volume(
        array=PagedArray(shape, np.dtype(first.array.dtype), read),
        spacing=(1.0, 1.0, 1.0),
        affine=None,
        path=folder,
        format="folder",
        stack_axis=0,
        spacing_known=False,
        notes=tuple(dict.fromkeys(note for plane in planes for note in plane.notes)),
        files=tuple(files),
    )


def open_plane(path: Path, *, max_bytes: int) -> Volume:
    """Opens one file that must hold a single 2-D image."""
    if path.suffix.lower() not in tiff.SUFFIXES:
        return image.open_image(path, max_bytes=max_bytes)
    volume = tiff.open_tiff(path, max_bytes=max_bytes)
    if len(volume.shape) != 2:
        raise DataError(f"{path}: is a stack {volume.shape} where one section is meant; open the file itself")
    return volume


def write_folder(folder: Path, labels: np.ndarray, like: Volume) -> Path:
    """Writes `(z, y, x)` labels as one file a section under the names of `like.files`; lossy formats become PNG."""
    names = [f.name if f.suffix.lower() in _LOSSLESS else f"{f.stem}.png" for f in like.files]
    with finished_folder(folder, set(names)) as part:
        for name, source, section in zip(names, like.files, labels, strict=True):
            if name.lower().endswith(tiff.SUFFIXES):
                tiff.write_tiff(part / name, section, open_plane(source, max_bytes=DEFAULT_MAX_BYTES))
            else:
                image.write_image(part / name, section)
    return folder


def _page(planes: Sequence[LazyArray], number: int) -> np.ndarray:
    return planes[number][...]


def _natural(path: Path) -> list[tuple[int, int | str]]:
    return [(0, int(t)) if t.isdecimal() else (1, t.lower()) for t in re.split(r"(\d+)", path.name) if t]


def _described(plane: Volume) -> str:
    return f"{plane.shape[0]}×{plane.shape[1]} {plane.array.dtype}"


def _why_no_stack(files: Sequence[Path]) -> str:
    named = [f.name for f in files if not f.stem.isdecimal()]
    if named:
        return f"is no stack, as '{named[0]}' is not a number"
    numbers = sorted(int(f.stem) for f in files)
    if len(numbers) == 1:
        return "is no stack, as it holds a single image"
    for a, b in pairwise(numbers):
        if a == b:
            return f"has two files with number {a}"
        if b != a + 1:
            return f"lacks section {a + 1}"
    return "is no stack"
