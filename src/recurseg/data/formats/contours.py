"""Outlines in text files, one polygon a section, as labels: 1 inside, 0 outside, filled when they are read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from recurseg.data.case import IGNORE, Deferred, Volume
from recurseg.data.formats.header import reading
from recurseg.data.formats.lazy import PagedArray
from recurseg.errors import DataError

SUFFIX = ".txt"
CORNER = 0.5
"""The coordinate of the first pixel's centre where (0, 0) is the corner of the image."""
_TIE = 1e-4
"""Pixels by which outlines are moved so that no centre lies on a line that follows the pixels' grid."""


def open_contours(files: Sequence[Path], images: Sequence[Path], like: Volume) -> Volume:
    """Opens outlines as the label of a stack, on its grid; nothing is read before `[...]`.

    Args:
        files: One outline a section: lines of "x y" in pixels, (0, 0) being the corner of the image at its first row
            and column. The last number behind a hyphen says which section it belongs to: 48 in
            `IM-0001-0048-icontour-manual.txt`.
        images: The sections of the stack in order, with the same numbers (`IM-0003-0048.dcm`).
        like: The stack, in (x, y, z).

    Returns:
        A uint8 volume of 1 inside and 0 outside; sections without an outline are 255.

    Raises:
        DataError: A missing file, a name without a number, or an outline of no section or of one that has another.
    """
    sections = {_number(path): index for index, path in enumerate(images)}
    outlines: dict[int, Path] = {}
    for file in files:
        number = _number(file)
        if not file.is_file():
            raise DataError(f"{file}: no such file")
        if number not in sections:
            raise DataError(
                f"{file}: outlines image {number}, which the case does not have: leave it out of the label"
            )
        if sections[number] in outlines:
            raise DataError(f"{file}: image {number} has another outline {outlines[sections[number]].name}: keep one")
        outlines[sections[number]] = file
    plane = (like.shape[0], like.shape[1])
    array = PagedArray((*plane, len(images)), np.dtype(np.uint8), partial(_masks, outlines, plane), axis=2)
    flat = Deferred(plane, array.dtype, lambda index: array[..., 0][index])
    return replace(like, array=array if len(like.shape) == 3 else flat, path=files[0], format="contours", notes=())


def read_contour(path: Path) -> np.ndarray:
    """Reads an outline: float64 `(n, 2)` of x and y, n ≥ 3.

    Raises:
        DataError: No text of two numbers a line, or fewer than three points.
    """
    with reading(path, "lines of x and y"):
        points = np.array([line.split() for line in path.read_text().splitlines() if line.strip()], float)
    if points.ndim != 2 or points.shape[1:] != (2,) or len(points) < 3 or not np.isfinite(points).all():
        raise DataError(f"{path}: an outline is three or more lines of x and y, not numbers of shape {points.shape}")
    return points


def polygon_area(points: np.ndarray) -> float:
    """Area inside an outline `(n, 2)`, square pixels."""
    x, y = points.T
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def fill_polygon(points: np.ndarray, shape: tuple[int, int], *, first: float = CORNER) -> np.ndarray:
    """The pixels whose centres lie inside an outline.

    A centre on the line itself counts where the inside is at larger x (or, on a line along x, at larger y), so that
    the number of pixels is the area on average. OpenCV's `fillPoly`, which the gamma-Net thesis used, takes every
    pixel that the line touches: a circle of radius 15 pixels gains 6 % of its area, one of radius 5 gains 23 %.

    Args:
        points: `(n, 2)` of x and y, pixels; the last is joined to the first.
        shape: Pixels along x and along y.
        first: Coordinate of the first pixel's centre: 0.5 where (0, 0) is the corner of the image, 0 where it is that
            centre.

    Returns:
        bool of `shape`.
    """
    from skimage.draw import polygon2mask

    return polygon2mask(shape, points - first - (_TIE, _TIE / np.pi))


def _masks(outlines: Mapping[int, Path], plane: tuple[int, int], sections: Sequence[int]) -> Iterator[np.ndarray]:
    for section in sections:
        if section in outlines:
            yield fill_polygon(read_contour(outlines[section]), plane).astype(np.uint8)
        else:
            yield np.full(plane, IGNORE, np.uint8)


def _number(path: Path) -> int:
    """The number of the image that a file is or belongs to: that after the last hyphen which a number follows."""
    found = re.findall(r"(?<=-)\d+", path.name) or re.findall(r"\d+", path.stem)
    if not found:
        raise DataError(f"{path}: has no number in its name that says which image it belongs to")
    return int(found[-1])
