"""The scan over the planes of one axis: the recurrence alone, a block of planes at a time.

Planes are `(T, B, C, H, W)` in the order of the volume. Hidden states, cells and gates are
`(T, B, G, channels, H, W)` in the order of the scan, G the directions that run in step. Gates stand in the order cell
input, input, forget, output, so that those which a cell's gradient multiplies are one range.

Every non-linearity is a sigmoid, of which torch's is four times as fast as its tanh: tanh(x) = 2 σ(2x) − 1. So the
gate of the cell input is s = σ(2x), the doubled cell k = 2c is f k' + 4 i s − 2 i, and the halved hidden state
h/2 = o (σ(k) − 1/2). All cells here are doubled and all hidden states halved, and the weights hold the factors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor

from recurseg.ops.sweep import steps
from recurseg.ops.sweep.planes import adjoint, convolve, gradient_of_planes, gradient_of_weight

_AT_ONCE = {"cpu": 2**20}
"""Numbers in the gates of a block: on a CPU they stay in the cache between one use and the next."""


@dataclass(frozen=True)
class FromTotal:
    """Hidden states of the first direction alone, read from the result, so that they need not be kept beside it.

    Attributes:
        planes: Of the result, `(T, B, O, H, W)`: hidden states, not halved.
    """

    planes: Tensor

    def __getitem__(self, steps: slice) -> Tensor:
        return self.planes[steps].unsqueeze(2).float() / 2


def steps_on(device: torch.device) -> ModuleType:
    """The module with the `Forward` and `Backward` steps for a device."""
    if device.type == "cuda" and find_spec("triton"):
        from recurseg.ops.sweep import triton

        return triton
    return steps


@dataclass(frozen=True)
class Scan:
    """Directions of one axis that run in step.

    Attributes:
        axis: Spatial axis that is scanned.
        directions: Their numbers; odd ones run from the last plane to the first.
        weight_x: `(G, 4O, C, kh, kw)`, those of the cell input twice the paper's.
        weight_h: `(G, 4O, O, kh, kw)`, twice the paper's, those of the cell input four times.
        bias_x: `(G, 4O)`, that of the cell input twice the paper's; or None.
        bias_h: `(G, 4O)`, likewise, or None.
        state: Hidden and cell planes `(B, G, O, H, W)` in float32 to start from, or None.
    """

    axis: int
    directions: range
    weight_x: Tensor
    weight_h: Tensor
    bias_x: Tensor | None
    bias_h: Tensor | None
    state: Sequence[Tensor] | None

    @property
    def width(self) -> int:
        """O, channels of the hidden state."""
        return self.weight_h.shape[2]

    @property
    def reverse(self) -> list[bool]:
        return [d % 2 == 1 for d in self.directions]

    def planes(self, volume: Tensor) -> Tensor:
        """`(B, C, D, H, W)` as `(T, B, C, H, W)`, a view."""
        return volume.movedim(2 + self.axis, 0)

    def volume(self, planes: Tensor) -> Tensor:
        """The inverse of `planes`."""
        return planes.movedim(0, 2 + self.axis)

    def summed(self, hidden: Tensor) -> Tensor:
        """Hidden states of a scan as a volume, summed over its directions."""
        parts = [part.flip(0) if back else part for part, back in zip(hidden.unbind(2), self.reverse, strict=True)]
        return self.volume(parts[0] if len(parts) == 1 else parts[0] + parts[1])

    def in_volume(self, first: int, last: int, steps: int, g: int) -> slice:
        """Where the planes of steps `first..last-1` of direction g lie in the volume."""
        return slice(steps - last, steps - first) if self.reverse[g] else slice(first, last)

    def in_order(self, planes: Tensor, first: int, last: int, g: int) -> Tensor:
        """The planes of steps `first..last-1` of direction g, in the order of its scan."""
        part = planes[self.in_volume(first, last, len(planes), g)]
        return part.flip(0) if self.reverse[g] else part

    def blocks(self, planes: Tensor) -> list[tuple[int, int]]:
        """First and one past the last step of each block."""
        gates = len(planes[0]) * len(self.directions) * 4 * self.width * math.prod(planes.shape[3:])
        at_once = max(1, _AT_ONCE.get(planes.device.type, 2**24) // gates)
        return [(first, min(first + at_once, len(planes))) for first in range(0, len(planes), at_once)]

    def before(self, kept: Tensor | FromTotal, which: int, first: int, last: int) -> Tensor:
        """Hidden states (`which` 0) or cells (1) one step earlier than `first..last-1`; zero before a fresh start."""
        if first:
            return kept[first - 1 : last - 1]
        start = torch.zeros_like(kept[:1]) if self.state is None else self.state[which][None]
        return torch.cat([start, kept[: last - 1]])

    def from_input(self, planes: Tensor, first: int, last: int) -> Tensor:
        """What the input adds to the gates of steps `first..last-1`, `(n, B, G, 4O, H, W)` in float32."""
        found = []
        for g in range(len(self.directions)):
            part, bias = self.in_order(planes, first, last, g), None if self.bias_x is None else self.bias_x[g]
            gates = convolve(part.flatten(0, 1), self.weight_x[g], bias)
            found.append(gates.unflatten(0, part.shape[:2]).float())
        return found[0].unsqueeze(2) if len(found) == 1 else torch.stack(found, 2)

    def from_hidden(self, hidden: Tensor) -> Tensor:
        """What hidden states `(N, G, O, H, W)` add to the gates of the next step."""
        weight, bias = self.weight_h, None if self.bias_h is None else self.bias_h.flatten()
        pads = [k // 2 for k in weight.shape[3:]]
        flat = hidden.flatten(1, 2).to(weight.dtype)
        found = F.conv2d(flat, weight.flatten(0, 1), bias, padding=pads, groups=len(weight))
        return found.unflatten(1, (len(weight), -1))


def scan_forward(
    scan: Scan, planes: Tensor, *, keep_cells: bool, keep_gates: bool
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Runs the scan.

    Args:
        scan: Its directions and weights.
        planes: Of the input.
        keep_cells: Whether the cells of all steps are wanted; else those of the last.
        keep_gates: Whether all gates after their non-linearity are wanted.

    Returns:
        Hidden states and cells, float32, and the gates of each block of `Scan.blocks` or an empty list.
    """
    kernels, (count, batch, _, *plane) = steps_on(planes.device), planes.shape
    shape = [batch, len(scan.directions), scan.width, *plane]
    hidden = planes.new_empty(count, *shape, dtype=torch.float32)
    cells = planes.new_empty(count if keep_cells else 1, *shape, dtype=torch.float32)
    h, c = scan.state or (None, None)
    kept: list[Tensor] = []
    for first, last in scan.blocks(planes):
        gates = scan.from_input(planes, first, last)
        own = cells[first:last].unbind() if keep_cells else [cells[0]] * (last - first)
        block = kernels.Forward(gates, hidden[first:last])
        for t, cell in enumerate(own):
            recurrent = None if h is None else scan.from_hidden(h)
            h, c = block.step(t, recurrent, c, cell), cell
        if keep_gates:
            kept.append(gates)
    return hidden, cells, kept


@dataclass
class Gradients:
    """What `scan_backward` finds.

    Attributes:
        weight_x: `(G, 4O, C, kh, kw)`.
        weight_h: `(G, 4O, O, kh, kw)`.
        bias_x: `(G, 4O)`.
        bias_h: `(G, 4O)`; as `bias_x` but for the first plane, where nothing is recurrent.
        x: Volume `(B, C, D, H, W)`, where it was asked for.
        state: Of the hidden and cell plane that each direction started from, `(B, O, H, W)`, where they were given.
    """

    weight_x: Tensor
    weight_h: Tensor
    bias_x: Tensor
    bias_h: Tensor
    x: Tensor | None = None
    state: list[Tensor] = field(default_factory=list)


def scan_backward(
    scan: Scan,
    grad_planes: Tensor,
    planes: Tensor,
    hidden: Tensor | FromTotal,
    cells: Tensor,
    gates: Sequence[Tensor],
    *,
    grad_state: Sequence[Tensor],
    of_planes: bool,
) -> Gradients:
    """Takes the gradient back through the scan, from the last block to the first.

    Args:
        scan: As for `scan_forward`.
        grad_planes: Gradient of the hidden states' sum over directions, `(T, B, O, H, W)` in the volume's order.
        planes: Of the input.
        hidden: As `scan_forward` gave them, or read from the result.
        cells: As `scan_forward` kept them.
        gates: As `scan_forward` kept them; empty: computed once more from planes and hidden states.
        grad_state: Gradient of the last hidden state and cell, `(B, G, O, H, W)` each, which are overwritten.
        of_planes: Whether the gradient of `planes` is wanted.
    """
    found = Gradients(
        weight_x=torch.zeros_like(scan.weight_x, dtype=torch.float32),
        weight_h=torch.zeros_like(scan.weight_h, dtype=torch.float32),
        bias_x=cells.new_zeros(scan.weight_x.shape[:2]),
        bias_h=cells.new_zeros(scan.weight_x.shape[:2]),
    )
    x = scan.volume(planes)
    found.x = torch.zeros_like(x, dtype=torch.float32, memory_format=torch.contiguous_format) if of_planes else None
    turned = torch.cat([adjoint(weight) for weight in scan.weight_h])
    kernels, pads = steps_on(planes.device), [k // 2 for k in turned.shape[2:]]

    def through(first: int, last: int, own: Tensor, dh: Tensor, dc: Tensor) -> tuple[Tensor, Tensor]:
        """A block; what it needed is given back before the next one begins."""
        grad = [scan.in_order(grad_planes, first, last, g) for g in range(len(scan.directions))]
        before = scan.before(cells, 1, first, last)
        block = kernels.Backward(own, cells[first:last], before, 2 * torch.stack(grad, 2), turned.dtype)
        for t in reversed(range(last - first)):
            dc = block.step(t, dh, dc)
            if first + t or scan.state is not None:
                back = block.of_gates[t].flatten(1, 2).to(turned.dtype)
                dh = F.conv2d(back, turned, padding=pads, groups=len(scan.directions)).float()
                dh = dh.unflatten(1, dc.shape[1:3]).contiguous()
        _gather(found, scan, block.of_gates, planes, scan.before(hidden, 0, first, last), first, last)
        return dh, dc

    dh, dc = grad_state
    for number, (first, last) in reversed(list(enumerate(scan.blocks(planes)))):
        own = gates[number] if gates else _gates_again(scan, planes, hidden, first, last)
        dh, dc = through(first, last, own, dh, dc)
        del own
    if scan.state is not None:
        found.state = [end for pair in zip(dh.unbind(1), dc.unbind(1), strict=True) for end in pair]
    return found


def _gates_again(scan: Scan, planes: Tensor, hidden: Tensor | FromTotal, first: int, last: int) -> Tensor:
    """The gates of a block as `scan_forward` computed them, all at once."""
    gates = scan.from_input(planes, first, last)
    fresh = 1 if first == 0 and scan.state is None else 0
    if last - first > fresh:
        past = scan.before(hidden, 0, first, last)[fresh:]
        gates[fresh:] += scan.from_hidden(past.flatten(0, 1)).unflatten(0, past.shape[:2])
    return gates.sigmoid_()


def _gather(
    found: Gradients,
    scan: Scan,
    grad: Tensor,
    planes: Tensor,
    past: Tensor,
    first: int,
    last: int,
) -> None:
    """Adds what a block's gradient of the gates, `(T, B, G, 4O, H, W)`, gives to all others."""
    fresh = 1 if first == 0 and scan.state is None else 0
    low = grad.to(scan.weight_x.dtype)
    for g in range(len(scan.directions)):
        own, part = low[:, :, g].flatten(0, 1), scan.in_order(planes, first, last, g).flatten(0, 1)
        found.weight_x[g] += gradient_of_weight(own, part, scan.weight_x[g])
        if last - first > fresh:
            hidden = past[fresh:, :, g].flatten(0, 1).to(low.dtype)
            found.weight_h[g] += gradient_of_weight(low[fresh:, :, g].flatten(0, 1), hidden, scan.weight_h[g])
        if found.x is not None:
            back = gradient_of_planes(own, scan.weight_x[g]).unflatten(0, grad.shape[:2])
            there = scan.in_volume(first, last, len(planes), g)
            scan.planes(found.x)[there] += back.flip(0) if scan.reverse[g] else back
    of_planes = grad.sum((1, 4, 5), dtype=torch.float32)
    found.bias_x += of_planes.sum(0)
    found.bias_h += of_planes[fresh:].sum(0)
