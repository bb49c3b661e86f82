"""Volumes on disk that are read and written in slabs along any axis, through plain files and not a memory map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path

import numpy as np
from jaxtyping import Float

from recurseg.data.formats.writing import writing


@dataclass(frozen=True)
class Bricks:
    """A float32 image or volume `(C, *spatial)` in a file, cut into bricks that lie there one after the other.

    A slab is one brick thick. Along the first axis it is one piece of the file; along the last, where single planes
    would scatter over every row, it is a piece for each brick.

    Attributes:
        path: The file.
        channels: C.
        spatial: Size.
        longest: Most voxels along a side of a brick; sides of an axis are even, to waste little at its end.
    """

    path: Path
    channels: int
    spatial: tuple[int, ...]
    longest: int

    @cached_property
    def sides(self) -> tuple[int, ...]:
        """Size of a brick."""
        return tuple(-(-size // -(-size // self.longest)) for size in self.spatial)

    @cached_property
    def grid(self) -> tuple[int, ...]:
        """Number of bricks, and so of slabs, along each axis."""
        return tuple(-(-size // side) for size, side in zip(self.spatial, self.sides, strict=True))

    @property
    def nbytes(self) -> int:
        """Size of the file: whole bricks."""
        return 4 * self.channels * prod(self.grid) * prod(self.sides)

    @property
    def complete(self) -> bool:
        """Whether the file is there in full length."""
        return self.path.is_file() and self.path.stat().st_size == self.nbytes

    def create(self) -> None:
        """Makes the file, all zeros. Raises ResourceError where it cannot be written."""
        with writing(self.path), self.path.open("wb") as file:
            file.truncate(self.nbytes)

    def planes(self, axis: int, index: int) -> range:
        """The positions along `axis` that slab number `index` holds."""
        start = index * self.sides[axis]
        return range(start, min(start + self.sides[axis], self.spatial[axis]))

    def read(self, axis: int, index: int) -> Float[np.ndarray, "c ..."]:
        """Reads slab number `index` along `axis`; it has all of the other axes."""
        bricks = self._slab(axis)
        with self.path.open("rb") as file:
            for offset, piece in self._pieces(bricks, axis, index):
                file.seek(offset)
                file.readinto(piece.data)
        view = self._as_voxels(bricks)
        whole = view.reshape(self.channels, *(view.shape[k] * view.shape[k + 1] for k in range(1, view.ndim, 2)))
        return whole[self._cut(axis, index)]

    def write(self, axis: int, index: int, slab: Float[np.ndarray, "c ..."]) -> None:
        """Writes what `read` gives. Raises ResourceError where the disk is full."""
        bricks = self._slab(axis)
        view = self._as_voxels(bricks)
        missing = [b * s - n for b, s, n in zip(view.shape[1::2], view.shape[2::2], slab.shape[1:], strict=True)]
        padded = np.pad(slab, [(0, 0), *((0, n) for n in missing)]) if any(missing) else slab
        view[...] = padded.reshape(view.shape)
        with writing(self.path), self.path.open("r+b") as file:
            for offset, piece in self._pieces(bricks, axis, index):
                file.seek(offset)
                file.write(piece.data)

    def _slab(self, axis: int) -> np.ndarray:
        """Room for the bricks of a slab, `(*grid, C, *sides)` with one brick along `axis`, as the file has them."""
        grid = (1 if k == axis else count for k, count in enumerate(self.grid))
        return np.empty((*grid, self.channels, *self.sides), np.float32)

    def _as_voxels(self, bricks: np.ndarray) -> np.ndarray:
        """A view `(C, bricks, side, bricks, side, ...)`."""
        dims = len(self.spatial)
        return bricks.transpose(dims, *(k for axis in range(dims) for k in (axis, dims + 1 + axis)))

    def _pieces(self, bricks: np.ndarray, axis: int, index: int) -> Iterator[tuple[int, np.ndarray]]:
        """The runs of bricks that follow each other in the file, each with the byte at which it begins."""
        for number, piece in enumerate(bricks.reshape(prod(self.grid[:axis]), -1)):
            yield (number * self.grid[axis] + index) * piece.nbytes, piece

    def _cut(self, axis: int, index: int) -> tuple[slice, ...]:
        sizes = list(self.spatial)
        sizes[axis] = len(self.planes(axis, index))
        return slice(None), *map(slice, sizes)
