"""The sweep as it runs by default: the same sums as `reference.py`, arranged for speed.

The input convolution of all planes is one call, and so are the weight gradients; only the recurrent
convolution and the gates are left in the scan. Directions depend on nothing of one another, forward or
backward, so on the CPU each runs on a thread of its own with one intra-op thread: a plane is too small to share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from recurseg.ops.parallel import run_parallel

State = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class _Direction:
    axis: int
    reverse: bool

    def planes(self, x: Tensor) -> Tensor:
        """`(B, C, *spatial)` → `(T, B, C, *plane)` in scan order, contiguous."""
        planes = x.movedim(2 + self.axis, 0)
        return (planes.flip(0) if self.reverse else planes).contiguous()

    def volume(self, planes: Tensor) -> Tensor:
        """The inverse of `planes`, as a view where the scan runs forward."""
        return (planes.flip(0) if self.reverse else planes).movedim(0, 2 + self.axis)


def _conv(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    conv = F.conv1d if weight.dim() == 3 else F.conv2d
    return conv(x, weight, bias, padding=[k // 2 for k in weight.shape[2:]])


def _scan(x: Tensor, direction: _Direction, wx: Tensor, wh: Tensor, bx, bh, state: State | None):
    """All planes of one direction: gates after their non-linearity, cells, hidden states, each `(T, B, ...)`."""
    planes = direction.planes(x)
    steps, batch, width = *planes.shape[:2], wh.shape[1]
    gates = _conv(planes.flatten(0, 1), wx, bx).unflatten(0, (steps, batch)).float()  # (T, B, 4O, *plane)
    cells = gates.new_empty(steps, batch, width, *gates.shape[3:])
    hidden = torch.empty_like(cells)
    h, c = state if state is not None else (None, None)
    each = (part.unbind() for part in (gates, *gates.split(width, dim=2), gates[:, :, : 3 * width], cells, hidden))
    for z, i, f, o, g, ifo, cell, out in zip(*each, strict=True):
        if h is not None:
            z += _conv(h.to(wh.dtype), wh, bh)
        ifo.sigmoid_()
        g.tanh_()
        torch.mul(i, g, out=cell)
        if c is not None:
            cell.addcmul_(f, c)
        torch.tanh(cell, out=out)
        h, c = out.mul_(o), cell
    return gates, cells, hidden


def _slopes(gates: Tensor, cells: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """Derivatives that the scan needs, for all planes at once.

    Returns:
        Of the gates before their non-linearity, `(T, B, 4, O, *plane)`: what a gradient of the cell (of the hidden
        state, for the output gate) is multiplied with; and the derivative of hidden state by cell.
    """
    i, f, o, g = gates.unflatten(2, (4, -1)).unbind(2)
    tanh_c = cells.tanh()
    slopes = torch.stack([g * i * (1 - i), before * f * (1 - f), tanh_c * o * (1 - o), i * (1 - g.square())], 2)
    return slopes, o * (1 - tanh_c.square_())


def _scan_backward(grad_hidden, direction, x, wx, wh, gates, cells, hidden, *, state, grad_state, grad_of_x):
    """Gradients of one direction with respect to x, wx, wh, bx (= bh but for the first plane) and the state."""
    first = 0 if state is not None else 1
    start = state[1].float()[None] if state is not None else torch.zeros_like(cells[:1])
    slopes, to_cell = _slopes(gates, cells, torch.cat([start, cells[:-1]]))
    turned = wh.transpose(0, 1).flip(list(range(2, wh.dim())))  # the adjoint of a same convolution
    dh, dc = grad_state
    forget = gates.unflatten(2, (4, -1))[:, :, 1]
    parts = (direction.planes(grad_hidden), slopes.flatten(2, 3), slopes[:, :, :2], *slopes[:, :, 2:].unbind(2))
    each = list(zip(*(part.unbind() for part in (*parts, to_cell, forget)), strict=True))
    for t in reversed(range(len(each))):
        grad_h, z, zif, zo, zg, slope, f = each[t]
        grad_h = grad_h if dh is None else dh.add_(grad_h)
        grad_c = grad_h * slope if dc is None else dc.addcmul_(grad_h, slope)
        zo.mul_(grad_h)
        zif.mul_(grad_c.unsqueeze(1))
        zg.mul_(grad_c)
        if t >= first:
            dc = grad_c.mul_(f)
            dh = _conv(z.to(wh.dtype), turned, None).float()
    grad_z = slopes.flatten(2, 3)
    grad_z = grad_z.to(wx.dtype)
    planes, pads = direction.planes(x).flatten(0, 1), [k // 2 for k in wx.shape[2:]]
    ones, flat = [1] * len(pads), grad_z.flatten(0, 1)
    grad_x, grad_wx, grad_bx = torch.ops.aten.convolution_backward(
        flat, planes, wx, [len(flat[0])], ones, pads, ones, False, [0] * len(pads), 1, [grad_of_x, True, True]
    )
    past = hidden[:-1] if state is None else torch.cat([state[0].float()[None], hidden[:-1]])
    grad_wh, grad_bh = torch.zeros_like(wh), torch.zeros_like(grad_bx)
    if len(past):
        _, grad_wh, grad_bh = torch.ops.aten.convolution_backward(
            grad_z[first:].flatten(0, 1),
            past.to(wh.dtype).flatten(0, 1),
            wh,
            [len(flat[0])],
            ones,
            pads,
            ones,
            False,
            [0] * len(pads),
            1,
            [False, True, True],
        )
    if grad_x is not None:
        grad_x = grad_x.unflatten(0, gates.shape[:2])
    return grad_x, grad_wx, grad_wh, grad_bx, grad_bh, (dh, dc) if state is not None else (None, None)


class _PyramidSweep(torch.autograd.Function):
    """Inputs: x, the four parameters with directions first, then h and c of each direction where given."""

    @staticmethod
    def forward(ctx, x, weight_x, weight_h, bias_x, bias_h, *states):
        directions = [_Direction(d // 2, d % 2 == 1) for d in range(len(weight_x))]
        given = [(states[2 * d], states[2 * d + 1]) if states else None for d in range(len(directions))]

        def run(d: int) -> tuple[Tensor, Tensor, Tensor]:
            bx, bh = (None if b is None else b[d] for b in (bias_x, bias_h))
            gates, cells, hidden = _scan(x, directions[d], weight_x[d], weight_h[d], bx, bh, given[d])
            return (gates, cells, hidden) if any(ctx.needs_input_grad) else (gates[:0], cells[-1:].clone(), hidden)

        scans = run_parallel(run, range(len(directions)), device=x.device)
        total = _sum(directions, [scan[2] for scan in scans])
        finals = [scan[part][-1].clone() for scan in scans for part in (2, 1)]
        ctx.directions, ctx.given = directions, bool(states)
        ctx.has_bias = bias_x is not None, bias_h is not None
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(x, weight_x, weight_h, *states, *(tensor for scan in scans for tensor in scan))
        return total.to(x.dtype), *finals

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_total, *grad_finals):
        n = len(ctx.directions)
        x, weight_x, weight_h, *rest = ctx.saved_tensors
        states, scans = (rest[: 2 * n], rest[2 * n :]) if ctx.given else ([], rest)
        grad_total = grad_total.float()

        def run(d: int) -> tuple[Any, ...]:
            state = (states[2 * d], states[2 * d + 1]) if states else None
            grad_state = tuple(None if g is None else g.clone() for g in grad_finals[2 * d : 2 * d + 2])
            return _scan_backward(
                grad_total,
                ctx.directions[d],
                x,
                weight_x[d],
                weight_h[d],
                *scans[3 * d : 3 * d + 3],
                state=state,
                grad_state=grad_state,
                grad_of_x=ctx.needs_input_grad[0],
            )

        grads = run_parallel(run, range(n), device=x.device)
        grad_x = _sum(ctx.directions, [grad[0] for grad in grads]) if ctx.needs_input_grad[0] else None
        grad_wx, grad_wh, grad_bx, grad_bh = (torch.stack([grad[k] for grad in grads]) for k in (1, 2, 3, 4))
        has_bx, has_bh = ctx.has_bias
        grad_states = [g for grad in grads for g in grad[5]] if states else []
        return grad_x, grad_wx, grad_wh, grad_bx if has_bx else None, grad_bh if has_bh else None, *grad_states


def _sum(directions: list[_Direction], planes: list[Tensor]) -> Tensor:
    """Sum over directions of planes in scan order, as one contiguous volume."""
    total = directions[0].volume(planes[0]).clone(memory_format=torch.contiguous_format)
    for direction, part in zip(directions[1:], planes[1:], strict=True):
        total += direction.volume(part)
    return total


def pyramid_sweep(
    x: Tensor,
    weight_x: Tensor,
    weight_h: Tensor,
    bias_x: Tensor | None = None,
    bias_h: Tensor | None = None,
    state: list[State] | None = None,
) -> tuple[Tensor, list[State]]:
    """Sum of the C-LSTMs of all directions; arguments as in `recurseg.ops.sweep.pyramid_sweep`.

    Under autocast the convolutions run in its dtype; cells, gates and hidden states stay in float32.
    """
    if torch.is_autocast_enabled(x.device.type):
        low = torch.get_autocast_dtype(x.device.type)
        x, weight_x, weight_h = x.to(low), weight_x.to(low), weight_h.to(low)
        bias_x, bias_h = (None if bias is None else bias.to(low) for bias in (bias_x, bias_h))
    flat = [part.float() for pair in state or () for part in pair]
    with torch.autocast(x.device.type, enabled=False):
        total, *finals = _PyramidSweep.apply(x, weight_x, weight_h, bias_x, bias_h, *flat)
    return total, list(zip(finals[::2], finals[1::2], strict=True))
