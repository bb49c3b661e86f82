"""The multi-dimensional LSTM voxel by voxel, written as its equations.

z = W x_p + Σ_a U_a h_{p-e_a} + b;  i, f_1..f_d, o = σ(z);  g = tanh(z);  c_p = i g + Σ_a f_a c_{p-e_a};
h_p = o tanh(c_p). Departure: cells are held within ±`CELL_LIMIT`, or they overflow in large volumes.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

CELL_LIMIT = 1e6


def scan_direction(x: Tensor, weight_x: Tensor, weight_h: Tensor, bias: Tensor) -> Tensor:
    """Hidden states `(B, O, *spatial)` of the scan from the first voxel to the last."""
    spatial, d = x.shape[2:], x.dim() - 2
    h: dict[tuple[int, ...], Tensor] = {}
    c: dict[tuple[int, ...], Tensor] = {}
    for p in itertools.product(*(range(size) for size in spatial)):
        before = {a: (*p[:a], p[a] - 1, *p[a + 1 :]) for a in range(d) if p[a] > 0}
        z = F.linear(x[(..., *p)], weight_x, bias)
        for a, q in before.items():
            z = z + F.linear(h[q], weight_h[a])
        i, *f, o, g = z.chunk(d + 3, dim=1)
        cell = i.sigmoid() * g.tanh()
        for a, q in before.items():
            cell = cell + f[a].sigmoid() * c[q]
        c[p] = cell.clamp(-CELL_LIMIT, CELL_LIMIT)
        h[p] = o.sigmoid() * c[p].tanh()
    return torch.stack(list(h.values()), dim=-1).unflatten(-1, spatial)


def md_lstm(x: Tensor, weight_x: Tensor, weight_h: Tensor, bias: Tensor) -> Tensor:
    """Sum of the scans of all directions; arguments as in `recurseg.ops.md_lstm.md_lstm`."""
    total = None
    for n, backward in enumerate(itertools.product((False, True), repeat=x.dim() - 2)):
        axes = [2 + a for a, flipped in enumerate(backward) if flipped]
        hidden = scan_direction(x.flip(axes), weight_x[n], weight_h[n], bias[n]).flip(axes)
        total = hidden if total is None else total + hidden
    assert total is not None
    return total
