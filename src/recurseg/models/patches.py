"""An image as a sequence of overlapping patches: where they lie, in which order they are read, how they are fused."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Counts = tuple[int, ...]


@dataclass(frozen=True)
class PatchGrid:
    """Patches that cover an image, numbered row by row; the image is padded with zeros, as "same" padding does.

    An axis of size s holds n = ceil(s / stride) patches; (n - 1) stride + patch - s zeros are added, half in front
    of it (the smaller half) and half behind.

    Attributes:
        size: Of the image.
        patch: Size of a patch.
        stride: From one patch to the next.

    Source: SHAMANN, section 4.1 (13 × 13 patches of 160 at stride 80 on 1024²) and 4.2 (7 × 7 of 8 at 4 on 28²).
    """

    size: Counts
    patch: Counts
    stride: Counts

    @cached_property
    def counts(self) -> Counts:
        """Patches along each axis."""
        return tuple(-(-size // stride) for size, stride in zip(self.size, self.stride, strict=True))

    @property
    def length(self) -> int:
        """T, patches in all."""
        return prod(self.counts)

    @cached_property
    def padded(self) -> Counts:
        """Size of the image with its padding."""
        each = zip(self.counts, self.stride, self.patch, strict=True)
        return tuple((count - 1) * stride + patch for count, stride, patch in each)

    @cached_property
    def before(self) -> Counts:
        """Zeros in front of the image."""
        return tuple((padded - size) // 2 for padded, size in zip(self.padded, self.size, strict=True))

    def pad(self, image: Float[Tensor, "b c *spatial"]) -> Float[Tensor, "b c padded"]:
        """The padded image, its spatial axes flattened into one."""
        after = (p - s - b for p, s, b in zip(self.padded, self.size, self.before, strict=True))
        margins = list(zip(self.before, after, strict=True))
        return F.pad(image, [edge for pair in reversed(margins) for edge in pair]).flatten(2)

    def voxels(self, patches: Sequence[int], device: torch.device) -> Tensor:
        """Flat places of the voxels of some patches in the padded image, `(patches, voxels of a patch)`."""
        steps = [prod(self.padded[axis + 1 :]) for axis in range(len(self.padded))]
        inside = torch.zeros(1, dtype=torch.long, device=device)
        for side, step in zip(self.patch, steps, strict=True):
            inside = (inside[:, None] + step * torch.arange(side, device=device)).flatten()
        cells = list(itertools.product(*map(range, self.counts)))
        corners = [
            sum(place * stride * step for place, stride, step in zip(cells[number], self.stride, steps, strict=True))
            for number in patches
        ]
        return torch.tensor(corners, dtype=torch.long, device=device)[:, None] + inside

    def cut(self, padded: Float[Tensor, "b c padded"], patches: Sequence[int]) -> Float[Tensor, "b patches c *patch"]:
        """Some patches of an image that `pad` gave."""
        places = self.voxels(patches, padded.device)
        found = padded.index_select(2, places.flatten())
        return found.unflatten(2, (len(places), *self.patch)).movedim(2, 1)

    def paste(
        self,
        canvas: Float[Tensor, "b k padded"],
        patches: Float[Tensor, "b patches k *patch"],
        numbers: Sequence[int],
    ) -> Float[Tensor, "b k padded"]:
        """Adds some patches to a canvas, each where it lies, and returns it."""
        places = self.voxels(numbers, canvas.device).flatten()
        values = patches.movedim(1, 2).flatten(2).to(canvas.dtype)
        return canvas.scatter_add_(2, places.expand_as(values), values)

    def mean(self, canvas: Float[Tensor, "b k padded"]) -> Float[Tensor, "b k *spatial"]:
        """A canvas that all patches were added to over how many patches cover each voxel, its padding cropped."""
        found = canvas.unflatten(2, self.padded)
        for axis in range(len(self.size)):
            begin = self.before[axis]
            found = found.narrow(2 + axis, begin, self.size[axis])
            covered = self._coverage(axis)[begin : begin + self.size[axis]]
            shape = [-1 if a == axis else 1 for a in range(len(self.size))]
            found = found / torch.tensor(covered, dtype=found.dtype, device=found.device).view(shape)
        return found

    def _coverage(self, axis: int) -> list[int]:
        """How many patches along one axis cover each place of it."""
        patch, stride, count = self.patch[axis], self.stride[axis], self.counts[axis]
        return [
            sum(start * stride <= place < start * stride + patch for start in range(count))
            for place in range(self.padded[axis])
        ]


def extract(image: Float[Tensor, "b c *spatial"], grid: PatchGrid) -> Float[Tensor, "b patches c *patch"]:
    """All patches of an image in their numbers' order."""
    return grid.cut(grid.pad(image), range(grid.length))


def fuse(patches: Float[Tensor, "b patches k *patch"], grid: PatchGrid) -> Float[Tensor, "b k *spatial"]:
    """The image whose voxels are the means of all patches that cover them: the inverse of `extract`, exactly.

    Sums are taken in float64, so that the mean of equal float32 numbers is that number.
    """
    canvas = patches.new_zeros(len(patches), patches.shape[2], prod(grid.padded), dtype=torch.float64)
    return grid.mean(grid.paste(canvas, patches, range(grid.length))).to(patches.dtype)


def _rows(counts: Counts) -> list[Counts]:
    return list(itertools.product(*map(range, counts)))


def _columns(counts: Counts) -> list[Counts]:
    return [cell[::-1] for cell in _rows(counts[::-1])]


def _snake(counts: Counts) -> list[Counts]:
    if len(counts) == 1:
        return [(place,) for place in range(counts[0])]
    inner = _snake(counts[1:])
    return [(place, *cell) for place in range(counts[0]) for cell in (inner[::-1] if place % 2 else inner)]


def _spiral(counts: Counts) -> list[Counts]:
    """Clockwise from the first corner to the middle; plane after plane where there are more than two axes."""
    *planes, height, width = (1, *counts) if len(counts) == 1 else counts
    around, top, left, bottom, right = [], 0, 0, height - 1, width - 1
    while top <= bottom and left <= right:
        around += [(top, column) for column in range(left, right + 1)]
        around += [(row, right) for row in range(top + 1, bottom + 1)]
        if top < bottom and left < right:
            around += [(bottom, column) for column in range(right - 1, left - 1, -1)]
            around += [(row, left) for row in range(bottom - 1, top, -1)]
        top, left, bottom, right = top + 1, left + 1, bottom - 1, right - 1
    cells = [(*plane, *cell) for plane in itertools.product(*map(range, planes)) for cell in around]
    return [cell[-len(counts) :] for cell in cells]


ORDERS: dict[str, Callable[[Counts], list[Counts]]] = {
    "forward": _rows,
    "backward": lambda counts: _rows(counts)[::-1],
    "columns": _columns,
    "columns_backward": lambda counts: _columns(counts)[::-1],
    "snake": _snake,
    "spiral": _spiral,
}
"""Name → in which order the cells of a grid are read. The paper's two actors read forward and backward."""


def scan_order(name: str, counts: Counts) -> list[int]:
    """Numbers of the patches in the order in which an actor reads them."""
    steps = [prod(counts[axis + 1 :]) for axis in range(len(counts))]
    return [sum(place * step for place, step in zip(cell, steps, strict=True)) for cell in ORDERS[name](counts)]


class Chunk(NamedTuple):
    """Some clocks of all actors.

    Attributes:
        read: Numbers of the patches that each actor reads, in its order.
        patches: All of them, each once, ascending.
        ready: Those that every actor has read when the chunk is over, and not before.
    """

    read: list[list[int]]
    patches: list[int]
    ready: list[int]


def split_clocks(orders: Sequence[Sequence[int]], clocks: int) -> list[Chunk]:
    """Cuts the reading of a sequence into chunks of so many clocks; the last may be shorter."""
    length, chunks = len(orders[0]), []
    last = [0] * length
    for order in orders:
        for clock, patch in enumerate(order):
            last[patch] = max(last[patch], clock)
    for start in range(0, length, clocks):
        read = [list(order[start : start + clocks]) for order in orders]
        patches = sorted({patch for own in read for patch in own})
        chunks.append(Chunk(read, patches, [p for p in patches if start <= last[p] < start + clocks]))
    return chunks
