"""A folder of 2-D files, one a section, as one stack in (z, y, x)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
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
_NUMBERED = re.compile(r"(.*?)(\d+)(\D*)", re.ASCII)
_LOSSLESS = (".png", *tiff.SUFFIXES)


def image_files(folder: Path) -> list[Path]:
    """The 2-D image files of a folder in natural order (`s2` before `s10`); hidden files are left out."""
    with reading(folder, "a folder"):
        files = [f for f in folder.iterdir() if f.suffix.lower() in SUFFIXES and not f.name.startswith(".")]
    return sorted((f for f in files if f.is_file()), key=_natural)


def open_folder(
    folder: Path, *, files: Sequence[Path] | None = None, max_bytes: int, channel: int | None = None
) -> Volume:
    """Opens a folder of 2-D files as a stack; reads headers alone.

    Args:
        folder: The folder.
        files: Its sections in order; None takes all image files, whose stems must be consecutive numbers, alone
            or beside the same text (`07.png`, `slice_07.png`).
        max_bytes: Budget of the whole stack.
        channel: 0 red, 1 green or 2 blue of colour files.

    Raises:
        DataError: No image files, stems that are no consecutive numbers, or files that differ in size or type.
    """
    files = _numbered_files(folder) if files is None else files
    planes = [open_plane(file, max_bytes=max_bytes, channel=channel) for file in files]
    first = planes[0]
    for file, plane in zip(files, planes, strict=True):
        if (plane.shape, plane.array.dtype) != (first.shape, first.array.dtype):
            raise DataError(
                f"{file}: is {_described(plane)} where {files[0].name} is {_described(first)}; "
                "all sections of a stack must agree"
            )
    shape = (len(planes), *first.shape)
    check_budget(folder, shape, np.dtype(first.array.dtype), max_bytes)
    read = partial(_pages, tuple(plane.array for plane in planes))
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


def open_plane(path: Path, *, max_bytes: int, channel: int | None = None) -> Volume:
    """Opens one file that must hold a single 2-D image."""
    if path.suffix.lower() not in tiff.SUFFIXES:
        return image.open_image(path, max_bytes=max_bytes, channel=channel)
    volume = tiff.open_tiff(path, max_bytes=max_bytes, channel=channel)
    if len(volume.shape) != 2:
        raise DataError(f"{path}: is a stack {volume.shape} where one section is meant; open the file itself")
    return volume


def write_folder(folder: Path, labels: LazyArray, like: Volume) -> Path:
    """Writes `(z, y, x)` labels as one file a section under the names of `like.files`; lossy formats become PNG."""
    names = [f.name if f.suffix.lower() in _LOSSLESS else f"{f.stem}.png" for f in like.files]
    with finished_folder(folder, set(names)) as part:
        for number, (name, source) in enumerate(zip(names, like.files, strict=True)):
            section = labels[number]
            if name.lower().endswith(tiff.SUFFIXES):
                tiff.write_tiff(part / name, section, open_plane(source, max_bytes=DEFAULT_MAX_BYTES))
            else:
                image.write_image(part / name, section)
    return folder


def _pages(planes: Sequence[LazyArray], numbers: Sequence[int]) -> Iterator[np.ndarray]:
    for number in numbers:
        yield planes[number][...]


def _natural(path: Path) -> list[tuple[int, int | str]]:
    return [(0, int(t)) if t.isdecimal() else (1, t.lower()) for t in re.split(r"(\d+)", path.name) if t]


def _described(plane: Volume) -> str:
    return f"{plane.shape[0]}×{plane.shape[1]} {plane.array.dtype}"


def _numbered_files(folder: Path) -> list[Path]:
    """The image files of a folder, whose stems must differ by one number, which counts up without a gap."""
    files = image_files(folder)
    if not files:
        raise DataError(f"{folder}: holds no image files; check the path")
    parts = [_NUMBERED.fullmatch(f.stem) for f in files]
    for file, part in zip(files, parts, strict=True):
        if not part or not parts[0] or part.group(1, 3) != parts[0].group(1, 3):
            raise DataError(
                f"{folder}: is no stack of numbered files, as '{file.name}' shows; open its files one by one"
            )
    numbered = sorted((int(part.group(2)), file) for file, part in zip(files, parts, strict=True) if part)
    for (a, first), (b, second) in pairwise(numbered):
        if a == b:
            raise DataError(f"{folder}: '{first.name}' and '{second.name}' have one number; leave one of them")
        if b != a + 1:
            raise DataError(f"{folder}: no file with number {a + 1} before '{second.name}'; add it or number anew")
    return [file for _, file in numbered]
