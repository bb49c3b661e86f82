"""Arrays that read nothing before `[...]`: raw voxels in a file, and pages that are decoded one by one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import EllipsisType
from typing import Any, Literal

import numpy as np

from recurseg.data.formats.header import reading


@dataclass(frozen=True)
class RawArray:
    """Uncompressed voxels of one file, mapped anew for every read: no file stays open, workers share nothing.

    Attributes:
        source: The file that the user knows, for messages.
        file: Where the raw voxels lie: `source` itself or a `Spool`.
        shape: Length of each axis.
        stored: dtype on disk, in the file's byte order.
        offset: Byte at which the voxels begin.
        order: "F" where the first axis runs fastest.
        slope: Stored values are multiplied by it; 1 and `inter` 0 keep the stored type, others give float32.
        inter: Added after the multiplication.
    """

    source: Path
    file: os.PathLike[str]
    shape: tuple[int, ...]
    stored: np.dtype
    offset: int = 0
    order: Literal["C", "F"] = "C"
    slope: float = 1.0
    inter: float = 0.0

    @property
    def scaled(self) -> bool:
        return (self.slope, self.inter) != (1.0, 0.0)

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.float32) if self.scaled else self.stored.newbyteorder("=")

    def __getitem__(self, index: Any, /) -> np.ndarray:
        with reading(self.source, "raw voxels"):
            whole = np.memmap(os.fspath(self.file), self.stored, "r", self.offset, self.shape, self.order)
        part = np.asarray(whole[index])
        if self.scaled:
            return (part * np.float64(self.slope) + self.inter).astype(np.float32)
        return np.array(part, dtype=self.dtype)


@dataclass(frozen=True)
class PagedArray:
    """An array made of 2-D pages along one axis; an index decodes only the pages that it touches.

    Attributes:
        shape: Length of each axis.
        dtype: Type of every page.
        read_pages: Numbers of pages → these pages one after the other, their axes in the order of the others.
        axis: The axis along which pages lie.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read_pages: Callable[[Sequence[int]], Iterable[np.ndarray]]
    axis: int = 0

    def __getitem__(self, index: Any, /) -> np.ndarray:
        basic = basic_index(index, len(self.shape))
        if basic is None:
            return self[...][index]
        picked = range(self.shape[self.axis])[basic[self.axis]]
        within = basic[: self.axis] + basic[self.axis + 1 :]
        if isinstance(picked, int):
            (page,) = self.read_pages([picked])
            return np.array(page[within])
        plane_shape = self.shape[: self.axis] + self.shape[self.axis + 1 :]
        result_shape = tuple(
            len(range(n)[i]) for n, i in zip(plane_shape, within, strict=True) if isinstance(i, slice)
        )
        pages = np.empty((len(picked), *result_shape), self.dtype)
        for position, page in enumerate(self.read_pages(picked)):
            pages[position] = page[within]
        return np.moveaxis(pages, 0, sum(isinstance(i, slice) for i in basic[: self.axis]))


def basic_index(index: Any, ndim: int) -> tuple[int | slice, ...] | None:
    """The index as one int or slice an axis; None where it is anything richer."""
    parts = index if isinstance(index, tuple) else (index,)
    if any(
        isinstance(p, bool | np.bool_) or not isinstance(p, int | np.integer | slice | EllipsisType) for p in parts
    ):
        return None
    dots = [i for i, p in enumerate(parts) if p is Ellipsis]
    if len(dots) > 1 or len(parts) - len(dots) > ndim:
        return None
    cut = dots[0] if dots else len(parts)
    missing = (slice(None),) * (ndim - len(parts) + len(dots))
    whole = (*parts[:cut], *missing, *parts[cut + len(dots) :])
    return tuple(p if isinstance(p, slice) else int(p) for p in whole)
