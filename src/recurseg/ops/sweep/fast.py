"""The sweep as it runs by default: the same sums as `reference.py`, arranged for speed.

Only the recurrent convolution and the gates wait for the plane before; all else is done for a block of planes at
once, forward and backward. Directions depend on nothing of one another, so on the CPU each runs on a thread of its
own with one intra-op thread, a plane being too small to share. The two directions of an axis run in step where its
planes are so small that calling an operation costs as much as the operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from recurseg.ops.parallel import run_parallel
from recurseg.ops.passes import Kept, Passes, Tensors, present, run_passes
from recurseg.ops.sweep.scan import FromTotal, Gradients, Scan, scan_backward, scan_forward

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
        passes = _Sweeps(axis=1 if lines else 0, keep_gates=memory == "full")
        total, *finals = run_passes(passes, [x, *parameters, *states])
    if lines:
        total, finals = total.squeeze(2), [part.squeeze(2) for part in finals]
    return total, [(2 * h, c / 2) for h, c in zip(finals[::2], finals[1::2], strict=True)]


def _scaled(parameter: Tensor | None, width: int) -> Tensor | None:
    """A parameter as `Scan` has it: the cell input's part first and doubled."""
    if parameter is None:
        return None
    cell_input = 3 * width
    return torch.cat([2 * parameter[:, cell_input:], parameter[:, :cell_input]], 1)


@dataclass(frozen=True)
class _Sweeps(Passes):
    """Inputs: volumes `(B, C, D, H, W)`, the four parameters with directions first and gates as `scan` has them, then
    h and c of each direction where given. Results: the total, then h and c of each direction.

    Attributes:
        axis: Of the first direction.
        keep_gates: Whether the backward pass finds them, or computes them once more.
    """

    axis: int
    keep_gates: bool

    def forward(self, inputs: Tensors, *, keep: bool) -> tuple[list[Tensor], list[Tensor]]:
        (x,), scans = present(inputs[:1]), _scans(self.axis, inputs)
        alone = _alone(scans)

        def run(scan: Scan) -> tuple[Tensor, list[Tensor], list[Tensor]]:
            hidden, cells, gates = scan_forward(
                scan, scan.planes(x), keep_cells=keep, keep_gates=keep and self.keep_gates
            )
            ends = [end[-1, :, g].clone() for g in range(len(scan.directions)) for end in (hidden, cells)]
            return scan.summed(hidden), ends, [hidden, cells, *gates][alone:] if keep else []

        done = run_parallel(run, scans, device=x.device)
        total = done[0][0].clone(memory_format=torch.contiguous_format)
        total = _sum(total, [part for part, _, _ in done[1:]]).mul_(2).to(x.dtype)
        finals = _by_direction(scans, [ends for _, ends, _ in done])
        kept = [total] if alone and keep else []
        return [total, *finals], kept + [tensor for _, _, own in done for tensor in own]

    def backward(self, inputs: Tensors, kept: Kept, grads: Sequence[Tensor], needed: Sequence[bool]) -> list[Any]:
        (x,), scans, rest = present(inputs[:1]), _scans(self.axis, inputs), iter(kept)
        alone = _alone(scans)
        counts = [2 + self.keep_gates * len(scan.blocks(scan.planes(x))) for scan in scans]
        of_scans = [[next(rest) for _ in range(count)] for count in counts]
        grad_total, grad_finals = grads[0].float(), grads[1:]

        def run(number: int) -> Gradients:
            scan, (hidden, cells, *gates) = scans[number], of_scans[number]
            if alone:
                hidden = FromTotal(scan.planes(hidden))
            finals = [[grad_finals[2 * d + part] for d in scan.directions] for part in range(2)]
            return scan_backward(
                scan,
                scan.planes(grad_total),
                scan.planes(x),
                hidden,
                cells,
                gates,
                grad_state=[torch.stack(part, 1) for part in finals],
                of_planes=needed[0],
            )

        found = run_parallel(run, range(len(scans)), device=x.device)
        names = "weight_x", "weight_h", "bias_x", "bias_h"
        of_parameters = [
            None
            if own is None
            else torch.stack(_by_direction(scans, [getattr(g, name) for g in found])).to(own.dtype)
            for name, own in zip(names, inputs[1:5], strict=True)
        ]
        of_volumes = [grad.x for grad in found if grad.x is not None]
        of_x = _sum(of_volumes[0], of_volumes[1:]).to(x.dtype) if of_volumes else None
        return [of_x, *of_parameters, *_by_direction(scans, [grad.state for grad in found])]


def _scans(axis: int, inputs: Tensors) -> list[Scan]:
    """The scans that wait for nothing of one another, those with the most work first."""
    (x, weight_x, weight_h), (bias_x, bias_h), states = present(inputs[:3]), inputs[3:5], present(inputs[5:])
    found: list[range] = []
    for first in range(0, len(weight_x), 2):
        both = range(first, min(first + 2, len(weight_x)))
        plane = x[0, 0].numel() // x.shape[2 + axis + first // 2]
        in_step = x.device.type == "cpu" and plane <= _SMALL_PLANE and torch.get_num_threads() * 2 <= len(weight_x)
        found += [both] if in_step else [range(d, d + 1) for d in both]

    def scan(directions: range) -> Scan:
        own = slice(directions.start, directions.stop)
        bx, bh = (None if bias is None else bias[own] for bias in (bias_x, bias_h))
        state = [torch.stack([states[2 * d + part] for d in directions], 1) for part in range(2)] if states else None
        return Scan(axis + directions.start // 2, directions, weight_x[own], weight_h[own], bx, bh, state)

    return [scan(directions) for directions in sorted(found, key=len, reverse=True)]


def _alone(scans: Sequence[Scan]) -> bool:
    """Whether the result is the hidden states of the first direction, and is kept as such."""
    return len(scans) == len(scans[0].directions) == 1


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
