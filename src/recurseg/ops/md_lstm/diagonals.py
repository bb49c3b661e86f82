"""The voxels of an image in the order of their diagonals, and where each one's neighbours stand in it."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Diagonals:
    """Rows, one for each voxel and batch element, sorted by the sum of the voxel's coordinates.

    All neighbours before a voxel lie in the diagonal before its own, all those after it in the one after. An index
    one past the end of that diagonal stands for a neighbour outside the image: the place of a row of zeros.

    Attributes:
        sizes: Rows of each diagonal.
        order: Voxel number of each place, `(P,)`; `rows` sorts by it.
        place: The inverse, `(P,)`.
        before: For each diagonal, the neighbour of each row along each axis, `(rows, d)`: its row within the
            diagonal before.
        after: The neighbour after, as `row · d + axis` within the diagonal after.
    """

    sizes: list[int]
    order: Tensor
    place: Tensor
    before: tuple[Tensor, ...]
    after: tuple[Tensor, ...]

    def rows(self, x: Tensor) -> Tensor:
        """`(B, C, *spatial)` → `(R, C)`."""
        return x.flatten(2).permute(2, 0, 1)[self.order].flatten(0, 1)

    def volume(self, rows: Tensor, spatial: torch.Size) -> Tensor:
        """The inverse of `rows`."""
        return rows.unflatten(0, (len(self.place), -1))[self.place].permute(1, 2, 0).unflatten(2, spatial)

    def neighbours_before(self, rows: Tensor) -> Tensor:
        """`(R, O)` → `(R, d, O)`: the rows of all neighbours before, zeros where there is none."""
        previous = [rows.new_zeros(0, rows.shape[1]), *rows.split(self.sizes)[:-1]]
        return torch.cat([gather(part, index) for part, index in zip(previous, self.before, strict=True)])


def gather(rows: Tensor, index: Tensor) -> Tensor:
    """`(R, O)` and `(N, d)` → `(N, d, O)`; the index R gives zeros."""
    padded = torch.cat([rows, rows.new_zeros(1, rows.shape[1])])
    return padded.index_select(0, index.flatten()).unflatten(0, index.shape)


@functools.lru_cache(maxsize=8)
def diagonals(spatial: tuple[int, ...], batch: int, device: torch.device) -> Diagonals:
    """Sorts the voxels of a batch of images of one size."""
    d = len(spatial)
    points = torch.stack(torch.meshgrid(*map(torch.arange, spatial), indexing="ij")).flatten(1)  # (d, P)
    level = points.sum(0)
    order = level.argsort(stable=True)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    sizes = level.bincount()
    rank = place - (sizes.cumsum(0) - sizes)[level]  # within the diagonal
    none = torch.zeros(1, dtype=torch.long)
    size_before, size_after = torch.cat([none, sizes[:-1]])[level], torch.cat([sizes[1:], none])[level]
    element = torch.arange(batch)
    before, after = [], []
    for axis, coordinate in enumerate(points):
        stride = torch.Size(spatial[axis + 1 :]).numel()
        near = rank.roll(stride)[:, None] * batch + element  # (P, B)
        before.append(torch.where(coordinate[:, None] > 0, near, size_before[:, None] * batch))
        near = (rank.roll(-stride)[:, None] * batch + element) * d + axis
        after.append(torch.where(coordinate[:, None] < spatial[axis] - 1, near, size_after[:, None] * batch * d))

    def split(index: list[Tensor]) -> tuple[Tensor, ...]:
        rows = torch.stack(index, -1)[order].flatten(0, 1).int().to(device)
        return rows.split((sizes * batch).tolist())

    return Diagonals((sizes * batch).tolist(), order.to(device), place.to(device), split(before), split(after))
