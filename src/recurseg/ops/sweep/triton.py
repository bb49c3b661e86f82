"""The steps of the scan, each as one kernel on a GPU; otherwise as `steps.py`, in whose place they stand."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 1024


class Forward:
    """As `steps.Forward`."""

    def __init__(self, gates: Tensor, hidden: Tensor) -> None:
        self._gates, self._hidden = gates, hidden

    def step(self, t: int, recurrent: Tensor | None, before: Tensor | None, cell: Tensor) -> Tensor:
        gates, hidden = self._gates[t], self._hidden[t]
        given = recurrent is not None, before is not None
        recurrent = gates if recurrent is None else recurrent.contiguous()
        before = cell if before is None else before
        _forward[_grid(cell)](gates, recurrent, before, cell, hidden, *_sizes(cell), *given, _BLOCK)
        return hidden


class Backward:
    """As `steps.Backward`; the gradient of the gates has the dtype that is wanted."""

    def __init__(self, gates: Tensor, cells: Tensor, before: Tensor, grad: Tensor, dtype: torch.dtype) -> None:
        self._gates, self._cells, self._before, self._grad = gates, cells, before, grad
        self.of_gates = torch.empty_like(gates, dtype=dtype)

    def step(self, t: int, grad_hidden: Tensor, grad_cell: Tensor) -> Tensor:
        cell = self._cells[t]
        inputs = self._gates[t], cell, self._before[t], self._grad[t], grad_hidden
        _backward[_grid(cell)](*inputs, grad_cell, self.of_gates[t], *_sizes(cell), _BLOCK)
        return grad_cell


def _grid(cell: Tensor) -> tuple[int]:
    return (triton.cdiv(cell.numel(), _BLOCK),)


def _sizes(cell: Tensor) -> tuple[int, int]:
    """How many numbers there are, and how many of them one gate of a direction has."""
    return cell.numel(), cell[0, 0].numel()


@triton.jit
def _forward(
    gates,
    recurrent,
    before,
    cell,
    hidden,
    numbers,
    gate,
    HAS_RECURRENT: tl.constexpr,
    HAS_BEFORE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = n < numbers
    at = (n // gate) * 4 * gate + n % gate
    s = tl.load(gates + at, there, 0.0)
    i = tl.load(gates + at + gate, there, 0.0)
    f = tl.load(gates + at + 2 * gate, there, 0.0)
    o = tl.load(gates + at + 3 * gate, there, 0.0)
    if HAS_RECURRENT:
        s += tl.load(recurrent + at, there, 0.0).to(tl.float32)
        i += tl.load(recurrent + at + gate, there, 0.0).to(tl.float32)
        f += tl.load(recurrent + at + 2 * gate, there, 0.0).to(tl.float32)
        o += tl.load(recurrent + at + 3 * gate, there, 0.0).to(tl.float32)
    s, i, f, o = tl.sigmoid(s), tl.sigmoid(i), tl.sigmoid(f), tl.sigmoid(o)
    k = 4 * i * s - 2 * i
    if HAS_BEFORE:
        k += f * tl.load(before + n, there, 0.0)
    tl.store(gates + at, s, there)
    tl.store(gates + at + gate, i, there)
    tl.store(gates + at + 2 * gate, f, there)
    tl.store(gates + at + 3 * gate, o, there)
    tl.store(cell + n, k, there)
    tl.store(hidden + n, (tl.sigmoid(k) - 0.5) * o, there)


@triton.jit
def _backward(gates, cells, before, grad, grad_hidden, grad_cell, of_gates, numbers, gate, BLOCK: tl.constexpr):
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = n < numbers
    at = (n // gate) * 4 * gate + n % gate
    s = tl.load(gates + at, there, 0.0)
    i = tl.load(gates + at + gate, there, 0.0)
    f = tl.load(gates + at + 2 * gate, there, 0.0)
    o = tl.load(gates + at + 3 * gate, there, 0.0)
    t = tl.sigmoid(tl.load(cells + n, there, 0.0))
    dh = tl.load(grad_hidden + n, there, 0.0) + tl.load(grad + n, there, 0.0)
    dc = tl.load(grad_cell + n, there, 0.0) + dh * o * t * (1 - t)
    kind = of_gates.dtype.element_ty
    tl.store(of_gates + at, (dc * 4 * i * s * (1 - s)).to(kind), there)
    tl.store(of_gates + at + gate, (dc * (4 * s - 2) * i * (1 - i)).to(kind), there)
    tl.store(of_gates + at + 2 * gate, (dc * tl.load(before + n, there, 0.0) * f * (1 - f)).to(kind), there)
    tl.store(of_gates + at + 3 * gate, (dh * (t - 0.5) * o * (1 - o)).to(kind), there)
    tl.store(grad_cell + n, dc * f, there)
