"""A convolution of volumes that holds little besides what it reads and what it writes."""

from __future__ import annotations

from math import prod

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

NUMBERS_ALONE = 20480
"""Numbers in a column (of W) of a map without companions up to which PyTorch takes another kernel on a CPU."""
NUMBERS_AT_ONCE = 2**24
"""Most numbers that a slab reads or writes, 64 MiB in float32; but a slab has a column at least."""


class SlabConv3d(nn.Conv3d):
    """A convolution without bias whose zero padding keeps the size, done in slabs where no gradient is asked for.

    A convolution of PyTorch copies input and output into a layout of its own, or every window into a row of a
    matrix: at a map of 700 MB that is 1.4 GB more, or 19. So large maps are read a few columns (of W) at a time,
    with those around them that the kernel reaches, and each slab is written to its place: the same sums. Columns,
    as PyTorch chooses among its kernels by the other axes: a small map that is alone in its batch it leaves to one
    that takes several times as long, so that such a map is handed over as a batch of two halves.

    Args:
        in_channels: C.
        out_channels: K.
        kernel: Side of the kernel, odd.
        stride: Of all axes.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=False)

    def forward(self, input: Float[Tensor, "b c *fine"]) -> Float[Tensor, "b k *coarse"]:
        """Convolves `(B, C, D, H, W)`: a side of n becomes one of ⌈n / stride⌉."""
        traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
        if traced:
            return super().forward(input)
        if torch.is_grad_enabled():
            return self._whole(input)
        stride = self.stride[0]
        *size, columns = (-(-side // stride) for side in input.shape[2:])
        shape = (len(input), self.out_channels, *size)
        step = max(1, NUMBERS_AT_ONCE // max(input[..., :stride].numel(), prod(shape)))
        if step >= columns:
            return self._whole(input)
        first = self._columns(input, 0, step)
        out = first.new_empty((*shape, columns))  # in the precision of autocast
        out[..., :step] = first
        for start in range(step, columns, step):
            stop = min(start + step, columns)
            out[..., start:stop] = self._columns(input, start, stop)
        return out

    def _whole(self, input: Tensor) -> Tensor:
        """All columns at once; those of a small map without companions as a batch of two halves."""
        columns = -(-input.shape[-1] // self.stride[0])
        small = len(input) == 1 and input.is_cpu and input[..., 0].numel() <= NUMBERS_ALONE
        if not small or columns % 2 or self.kernel_size[0] == 1:
            return super().forward(input)
        stride, kernel, reach, half = self.stride[0], self.kernel_size[0], self.kernel_size[0] // 2, columns // 2
        beyond = (columns - 1) * stride - reach + kernel - input.shape[-1]
        halves = F.pad(input, (reach, beyond)).unfold(-1, (half - 1) * stride + kernel, half * stride)
        out = F.conv3d(halves[0].movedim(-2, 0), self.weight, stride=stride, padding=(reach, reach, 0))
        return torch.cat([*out], dim=-1)[None]

    def _columns(self, input: Tensor, start: int, stop: int) -> Tensor:
        """Columns `start` to `stop` of the output, from those that they see and zeros beyond the map."""
        stride, kernel = self.stride[0], self.kernel_size[0]
        reach = kernel // 2
        first, last = start * stride - reach, (stop - 1) * stride - reach + kernel
        seen = F.pad(input[..., max(first, 0) : last], (max(-first, 0), max(last - input.shape[-1], 0)))
        return F.conv3d(seen, self.weight, stride=stride, padding=(reach, reach, 0))
