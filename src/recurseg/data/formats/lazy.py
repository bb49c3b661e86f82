"""Arrays that read nothing before `[...]`: raw voxels in a file, and pages that are decoded one by one."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import EllipsisType
from typing import Any, Literal

import numpy as np

from recurseg.data.case import Deferred, LazyArray
from recurseg.data.formats.header import reading
from recurseg.data.formats.writing import writing

_MAPPED_BYTES = 2**22
"""About how much of a file is mapped at once: mapped pages count as memory of the process."""


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
        parts = basic_index(index, len(self.shape))
        with reading(self.source, "raw voxels"):
            if parts is None:
                return self._values(self._mapped("r", 0, self.shape[self._slowest])[index])
            found = np.empty(_result_shape(self.shape, parts), self.dtype, self.order)
            for place, voxels in self._pieces("r", parts):
                found[place] = self._values(voxels)
        return found

    @property
    def _slowest(self) -> int:
        return 0 if self.order == "C" else len(self.shape) - 1

    def _values(self, voxels: np.ndarray) -> np.ndarray:
        if self.scaled:
            return (voxels * np.float64(self.slope) + self.inter).astype(np.float32)
        return np.array(voxels, dtype=self.dtype)

    def _mapped(self, mode: Literal["r", "r+"], start: int, stop: int) -> np.ndarray:
        """The voxels from `start` to `stop` along the slowest axis."""
        shape = list(self.shape)
        shape[self._slowest] = stop - start
        first = self.offset + start * self._row_bytes
        return np.memmap(os.fspath(self.file), self.stored, mode, first, tuple(shape), self.order)

    @property
    def _row_bytes(self) -> int:
        return math.prod(self.shape) // self.shape[self._slowest] * self.stored.itemsize

    def _pieces(
        self, mode: Literal["r", "r+"], parts: tuple[int | slice, ...]
    ) -> Iterator[tuple[tuple[Any, ...], np.ndarray]]:
        """The place in the result and the mapped voxels of an index, so that few of them are in memory at once."""
        slowest = self._slowest
        before, after = parts[:slowest], parts[slowest + 1 :]
        rows = range(self.shape[slowest])[parts[slowest]]
        if isinstance(rows, int):
            yield (...,), self._mapped(mode, rows, rows + 1)[(*before, 0, *after, ...)]
            return
        if rows.step != 1:
            yield (...,), self._mapped(mode, 0, self.shape[slowest])[parts]
            return
        lead = (slice(None),) * sum(isinstance(part, slice) for part in before)
        step = max(1, _MAPPED_BYTES // self._row_bytes)
        for start in range(rows.start, rows.stop, step):
            stop = min(start + step, rows.stop)
            voxels = self._mapped(mode, start, stop)[(*before, slice(None), *after)]
            yield (*lead, slice(start - rows.start, stop - rows.start)), voxels


@dataclass(frozen=True)
class DiskArray(RawArray):
    """Raw voxels of a file that is already there, to read and to write; only what an index touches is in memory."""

    def __setitem__(self, index: Any, values: np.ndarray | float, /) -> None:
        parts = basic_index(index, len(self.shape))
        assert parts is not None, "written by whole numbers and slices"
        given = np.broadcast_to(values, _result_shape(self.shape, parts))
        with writing(self.source):
            for place, voxels in self._pieces("r+", parts):
                voxels[...] = given[place]


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
        pages = np.empty((len(picked), *_result_shape(plane_shape, within)), self.dtype)
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


def transposed(array: LazyArray, axes: Sequence[int]) -> LazyArray:
    """A lazy array with its axes in another order: new axis i is the old axis `axes[i]`, as `np.transpose` has it."""
    if isinstance(array, np.ndarray):
        return array.transpose(axes)

    def read(index: Any) -> np.ndarray:
        parts = basic_index(index, len(axes))
        if parts is None:
            return array[...].transpose(axes)[index]
        kept = [axis for axis, part in zip(axes, parts, strict=True) if isinstance(part, slice)]
        found = array[tuple(parts[list(axes).index(axis)] for axis in range(len(axes)))]
        return found.transpose([sorted(kept).index(axis) for axis in kept])

    return Deferred(tuple(array.shape[axis] for axis in axes), np.dtype(array.dtype), read)


def _result_shape(shape: Sequence[int], parts: Sequence[int | slice]) -> tuple[int, ...]:
    return tuple(len(range(n)[part]) for n, part in zip(shape, parts, strict=True) if isinstance(part, slice))
