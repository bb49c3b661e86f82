"""The multi-dimensional LSTM as it runs by default: a whole diagonal at once.

Voxels with the same sum of coordinates do not wait for each other, so a scan takes D + H + W - 2 steps instead of
D·H·W. The input map of all voxels is one product, and so are the weight gradients. Directions are flips of the
image; they depend on nothing of one another, forward or backward, and run on threads of their own on the CPU.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from recurseg.ops.md_lstm.diagonals import Diagonals, diagonals, gather
from recurseg.ops.md_lstm.reference import CELL_LIMIT
from recurseg.ops.parallel import run_parallel
from recurseg.ops.passes import Kept, Passes, Tensors, present, run_passes


def _scan(rows: Tensor, weight_x: Tensor, weight_h: Tensor, bias: Tensor, table: Diagonals) -> tuple[Tensor, ...]:
    """All diagonals of one direction: gates after their non-linearity, cells and hidden states, a row a voxel."""
    d, _, width = weight_h.shape
    recurrent = weight_h.transpose(1, 2).flatten(0, 1)  # (d·O, gates·O)
    gates = torch.addmm(bias, rows, weight_x.t())
    cells, hidden = gates.new_empty(2, len(rows), width)
    state = gates.new_zeros(0, 2 * width)
    each = (gates.split(table.sizes), table.before, cells.split(table.sizes), hidden.split(table.sizes))
    for z, before, cell, out in zip(*each, strict=True):
        near = gather(state, before)  # (N, d, 2·O)
        z.addmm_(near[..., :width].flatten(1), recurrent)
        z[:, : (d + 2) * width].sigmoid_()
        z[:, (d + 2) * width :].tanh_()
        i, *_, o, g = z.split(width, dim=1)
        forget = z.unflatten(1, (-1, width))[:, 1 : d + 1]
        torch.sum(forget * near[..., width:], dim=1, out=cell)
        cell.addcmul_(i, g).clamp_(-CELL_LIMIT, CELL_LIMIT)
        torch.tanh(cell, out=out)
        state = torch.cat([out.mul_(o), cell], dim=1)
    return gates, cells, hidden


def _slopes(gates: Tensor, cells: Tensor, before: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Derivatives that the scan needs, for all voxels at once.

    Returns:
        Of the gates before their non-linearity, `(R, gates, O)`: what a gradient of the cell (of the hidden state,
        for the output gate) is multiplied with; the derivative of the hidden state by the cell; and those of the
        cell by the cells before it, `(R, d, O)`.
    """
    free = (cells.abs() < CELL_LIMIT).to(cells.dtype)
    i, f, o, g = gates[:, 0] * free, gates[:, 1:-2] * free.unsqueeze(1), gates[:, -2], gates[:, -1]
    tanh_c = cells.tanh()
    slopes = torch.cat(
        [
            (g * i * (1 - i)).unsqueeze(1),
            before * f * (1 - f),
            (tanh_c * o * (1 - o)).unsqueeze(1),
            (i * (1 - g.square())).unsqueeze(1),
        ],
        dim=1,
    )
    return slopes, o * (1 - tanh_c.square()), f


def _scan_backward(
    grad_hidden: Tensor,
    rows: Tensor,
    weight_x: Tensor,
    weight_h: Tensor,
    scan: Sequence[Tensor],
    table: Diagonals,
) -> tuple[Tensor, ...]:
    """Gradients of one direction with respect to its rows, weight_x, weight_h and bias."""
    gates, cells, hidden = scan
    d, _, width = weight_h.shape
    recurrent = weight_h.transpose(0, 1).flatten(1)  # (gates·O, d·O)
    grad_z, to_cell, forget = _slopes(gates.unflatten(1, (-1, width)), cells, table.neighbours_before(cells))
    parts = [part.split(table.sizes) for part in (grad_hidden, grad_z, to_cell, forget)]
    back = cells.new_zeros(0, 2 * width)
    for grad_h, z, slope, f, after in reversed(list(zip(*parts, table.after, strict=True))):
        from_h, grad_c = gather(back, after).sum(1).split(width, dim=1)
        grad_h = grad_h + from_h
        grad_c = grad_c.addcmul(grad_h, slope)
        z[:, :-2].mul_(grad_c.unsqueeze(1))
        z[:, -2].mul_(grad_h)
        z[:, -1].mul_(grad_c)
        to_h = (z.flatten(1) @ recurrent).unflatten(1, (d, width))
        back = torch.cat([to_h, f * grad_c.unsqueeze(1)], dim=2).flatten(0, 1)  # (N·d, 2·O)
    grad_z = grad_z.flatten(1)
    grad_wh = grad_z.t() @ table.neighbours_before(hidden).flatten(1)  # (gates·O, d·O)
    grad_wh = grad_wh.unflatten(1, (d, width)).transpose(0, 1)
    return grad_z @ weight_x, grad_z.t() @ rows, grad_wh, grad_z.sum(0)


@dataclass(frozen=True)
class _Scans(Passes):
    """Inputs: image, input weights, recurrent weights, bias. Result: the sum over directions."""

    def forward(self, inputs: Tensors, *, keep: bool) -> tuple[list[Tensor], list[Tensor]]:
        x, weight_x, weight_h, bias = present(inputs)
        table, flips = diagonals(tuple(x.shape[2:]), len(x), x.device), _flips(x.dim() - 2)

        def run(n: int) -> tuple[Tensor, ...]:
            scan = _scan(table.rows(x.flip(flips[n])), weight_x[n], weight_h[n], bias[n], table)
            return scan if keep else scan[2:]

        scans = run_parallel(run, range(len(flips)), device=x.device)
        volumes = (table.volume(scan[-1], x.shape[2:]).flip(axes) for scan, axes in zip(scans, flips, strict=True))
        return [reduce(torch.add, volumes)], list(itertools.chain(*scans)) if keep else []

    def backward(self, inputs: Tensors, kept: Kept, grads: Sequence[Tensor], needed: Sequence[bool]) -> list[Tensor]:
        x, weight_x, weight_h, _ = present(inputs)
        table, flips = diagonals(tuple(x.shape[2:]), len(x), x.device), _flips(x.dim() - 2)

        def run(n: int) -> tuple[Tensor, ...]:
            grad, rows = table.rows(grads[0].flip(flips[n])), table.rows(x.flip(flips[n]))
            return _scan_backward(grad, rows, weight_x[n], weight_h[n], kept[3 * n : 3 * n + 3], table)

        found = run_parallel(run, range(len(flips)), device=x.device)
        volumes = (table.volume(grad[0], x.shape[2:]).flip(axes) for grad, axes in zip(found, flips, strict=True))
        return [reduce(torch.add, volumes), *(torch.stack([grad[k] for grad in found]) for k in (1, 2, 3))]


def _flips(d: int) -> list[list[int]]:
    """Axes of `(B, C, *spatial)` that each direction scans backward."""
    return [[2 + a for a in range(d) if backward[a]] for backward in itertools.product((False, True), repeat=d)]


def md_lstm(x: Tensor, weight_x: Tensor, weight_h: Tensor, bias: Tensor) -> Tensor:
    """Sum of the scans of all directions; arguments as in `recurseg.ops.md_lstm.md_lstm`.

    All is computed in float32 (float64 stays), under autocast too; the result has the dtype of x.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    with torch.autocast(x.device.type, enabled=False):
        (total,) = run_passes(_Scans(), [part.to(dtype) for part in (x, weight_x, weight_h, bias)])
    return total.to(x.dtype)
