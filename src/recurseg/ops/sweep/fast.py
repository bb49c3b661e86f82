"""The sweep as it runs by default: the same sums as `reference.py`, arranged for speed.

Only the recurrent convolution and the gates wait for the plane before; all else is done for a block of planes at
once, forward and backward. Directions depend on nothing of one another, so on the CPU each runs on a thread of its
own with one intra-op thread, a plane being too small to share. The two directions of an axis run in step where its
planes are so small that calling an operation costs as much as the operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from recurseg.ops.parallel import run_parallel
from recurseg.ops.recording import as_recorded
from recurseg.ops.sweep.scan import Gradients, Scan, scan_backward, scan_forward

State = tuple[Tensor, Tensor]
Memory = Literal["full", "low"]

_SMALL_PLANE = 3600
"""Positions of a plane up to which the two directions of an axis run in step."""


def pyramid_sweep(
    x: Tensor,
    weight_x: Tensor,
    weight_h: Tensor,
    bias_x: Tensor | None = None,
    bias_h: Tensor | None = None,
    state: list[State] | None = None,
    memory: Memory = "full",
) -> tuple[Tensor, list[State]]:
    """Sum of the C-LSTMs of all directions; arguments as in `recurseg.ops.sweep.pyramid_sweep`.

    Under autocast the convolutions run in its dtype; cells, gates and hidden states stay in float32.

    Args:
        memory: "low" keeps hidden and cell states for the backward pass and computes the gates once more, a block of
            planes at a time, which costs a third more arithmetic.
    """
    if torch.is_autocast_enabled(x.device.type):
        low = torch.get_autocast_dtype(x.device.type)
        x, weight_x, weight_h = x.to(low), weight_x.to(low), weight_h.to(low)
        bias_x, bias_h = (None if bias is None else bias.to(low) for bias in (bias_x, bias_h))
    lines = x.dim() == 4
    states = [part for h, c in state or () for part in (h.float() / 2, c.float() * 2)]
    parameters = [_scaled(p, weight_h.shape[2]) for p in (weight_x, 2 * weight_h, bias_x, bias_h)]
    if lines:
        x, states = x.unsqueeze(2), [part.unsqueeze(2) for part in states]
        parameters = [p if p is None or p.dim() == 2 else p.unsqueeze(3) for p in parameters]
    with torch.autocast(x.device.type, enabled=False):
        given = as_recorded([x, *parameters, *states])
        total, *finals = _PyramidSweep.apply(1 if lines else 0, memory == "full", *given)
    if lines:
        total, finals = total.squeeze(2), [part.squeeze(2) for part in finals]
    return total, [(2 * h, c / 2) for h, c in zip(finals[::2], finals[1::2], strict=True)]


def _scaled(parameter: Tensor | None, width: int) -> Tensor | None:
    """A parameter as `Scan` has it: the cell input's part first and doubled."""
    if parameter is None:
        return None
    cell_input = 3 * width
    return torch.cat([2 * parameter[:, cell_input:], parameter[:, :cell_input]], 1)


class _PyramidSweep(torch.autograd.Function):
    """Inputs: the axis of the first direction, whether gates are kept, volumes `(B, C, D, H, W)`, the four parameters
    with directions first and gates as `scan` has them, then h and c of each direction where given."""

    @staticmethod
    def forward(ctx, axis, keep_gates, x, weight_x, weight_h, bias_x, bias_h, *states):
        scans = _scans(axis, x, weight_x, weight_h, bias_x, bias_h, states)
        training = any(ctx.needs_input_grad)

        def run(scan: Scan) -> tuple[Tensor, list[Tensor], list[Tensor]]:
            hidden, cells, gates = scan_forward(
                scan, scan.planes(x), keep_cells=training, keep_gates=training and keep_gates
            )
            ends = [end[-1, :, g].clone() for g in range(len(scan.directions)) for end in (hidden, cells)]
            return scan.summed(hidden), ends, [hidden, cells, *gates] if training else []

        done = run_parallel(run, scans, device=x.device)
        if training:
            ctx.axis, ctx.states, ctx.kept = axis, len(states), [len(parts) for _, _, parts in done]
            kept = [tensor for _, _, parts in done for tensor in parts]
            ctx.save_for_backward(x, weight_x, weight_h, bias_x, bias_h, *states, *kept)
        finals = _by_direction(scans, [ends for _, ends, _ in done])
        total = done[0][0].clone(memory_format=torch.contiguous_format)
        return _sum(total, [part for part, _, _ in done[1:]]).mul_(2).to(x.dtype), *finals

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_total, *grad_finals):
        x, weight_x, weight_h, bias_x, bias_h, *rest = ctx.saved_tensors
        states, kept = rest[: ctx.states], iter(rest[ctx.states :])
        of_scans = [[next(kept) for _ in range(count)] for count in ctx.kept]
        scans = _scans(ctx.axis, x, weight_x, weight_h, bias_x, bias_h, states)
        grad_total = grad_total.float()

        def run(number: int) -> Gradients:
            scan, (hidden, cells, *gates) = scans[number], of_scans[number]
            finals = [[grad_finals[2 * d + part] for d in scan.directions] for part in range(2)]
            return scan_backward(
                scan,
                scan.planes(grad_total),
                scan.planes(x),
                hidden,
                cells,
                gates,
                grad_state=[torch.stack(part, 1) for part in finals],
                of_planes=ctx.needs_input_grad[2],
            )

        grads = run_parallel(run, range(len(scans)), device=x.device)
        parameters = {"weight_x": weight_x, "weight_h": weight_h, "bias_x": bias_x, "bias_h": bias_h}
        of_parameters = [
            None
            if own is None
            else torch.stack(_by_direction(scans, [getattr(g, name) for g in grads])).to(own.dtype)
            for name, own in parameters.items()
        ]
        of_x = (
            None
            if grads[0].x is None
            else _sum(grads[0].x, [grad.x for grad in grads[1:] if grad.x is not None]).to(x.dtype)
        )
        of_states = _by_direction(scans, [grad.state for grad in grads]) if states else []
        return None, None, of_x, *of_parameters, *of_states


def _scans(axis: int, x: Tensor, weight_x, weight_h, bias_x, bias_h, states: Sequence[Tensor]) -> list[Scan]:
    """The scans that wait for nothing of one another, those with the most work first."""
    found: list[range] = []
    for first in range(0, len(weight_x), 2):
        both = range(first, min(first + 2, len(weight_x)))
        plane = x[0, 0].numel() // x.shape[2 + axis + first // 2]
        in_step = plane <= _SMALL_PLANE and torch.get_num_threads() * 2 <= len(weight_x)
        found += [both] if in_step else [range(d, d + 1) for d in both]

    def scan(directions: range) -> Scan:
        own = slice(directions.start, directions.stop)
        bx, bh = (None if bias is None else bias[own] for bias in (bias_x, bias_h))
        state = [torch.stack([states[2 * d + part] for d in directions], 1) for part in range(2)] if states else None
        return Scan(axis + directions.start // 2, directions, weight_x[own], weight_h[own], bx, bh, state)

    return [scan(directions) for directions in sorted(found, key=len, reverse=True)]


def _by_direction(scans: Sequence[Scan], parts: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """What the scans gave for each of their directions, equally many tensors, in the order of the directions."""
    found: dict[int, list[Tensor]] = {}
    for scan, own in zip(scans, parts, strict=True):
        each = len(own) // len(scan.directions)
        for g, d in enumerate(scan.directions):
            found[d] = list(own[each * g : each * (g + 1)])
    return [tensor for d in sorted(found) for tensor in found[d]]


def _sum(total: Tensor, volumes: Sequence[Tensor]) -> Tensor:
    """Adds the volumes to the total, which is overwritten."""
    for volume in volumes:
        total += volume
    return total
