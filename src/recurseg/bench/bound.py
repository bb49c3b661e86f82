"""Time of layers over the arithmetic bound: their multiply-adds at the rate of a large matrix product.

The rate is that of the machine, measured in turns with the layer. A training step's bound is three times the
forward pass's: the gradients of the input and of the weights take as many multiply-adds each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod

import torch

from recurseg.bench.registry import Measurement, benchmark
from recurseg.bench.timing import SECONDS, forward_of, take_turns, training_of
from recurseg.layers.sweep import PyramidSweep

MATRIX_SIDE = 2048


@dataclass(frozen=True)
class SweepSize:
    """A PyraMiD layer and the image it sweeps; the image's last axes are the planes of its first."""

    channels: int
    width: int
    kernel: int
    spatial: tuple[int, ...]

    @property
    def multiply_adds(self) -> int:
        """Of a forward pass: every tap that falls on padding counts; the first plane has no recurrent convolution."""
        taps = self.kernel ** (len(self.spatial) - 1)
        positions = prod(self.spatial)
        inputs = 2 * len(self.spatial) * positions * self.channels
        recurrent = sum(2 * (positions - positions // planes) * self.width for planes in self.spatial)
        return 4 * self.width * taps * (inputs + recurrent)

    def __str__(self) -> str:
        window = " × ".join([str(self.kernel)] * (len(self.spatial) - 1))
        size = " × ".join(map(str, self.spatial))
        return f"PyraMiD layer, {self.channels} → {self.width} channels, {window}, {size} voxels"


SWEEPS = {
    "sweep_small": SweepSize(1, 16, 5, (6, 64, 64)),
}
"""Name of a size → the size; each is measured as NAME_forward and NAME_train."""


def sweep_over_bound(
    size: SweepSize, *, train: bool, seconds: float = SECONDS, side: int = MATRIX_SIDE
) -> Measurement:
    """Times a PyraMiD layer in turns with a large matrix product; the samples are its time over its bound."""
    layer = PyramidSweep(size.channels, size.width, kernel=size.kernel, spatial_dims=len(size.spatial))
    image = torch.randn(1, size.channels, *size.spatial)
    work = (training_of if train else forward_of)(layer, image)
    return over_bound(work, (3 if train else 1) * size.multiply_adds, seconds=seconds, side=side)


def over_bound(
    work: Callable[[], object], multiply_adds: int, *, seconds: float = SECONDS, side: int = MATRIX_SIDE
) -> Measurement:
    """Times any work over the time in which a matrix product does as many multiply-adds.

    Args:
        work: What is timed.
        multiply_adds: How many it cannot do without.
        seconds: About how long it takes.
        side: Rows and columns of the matrices.
    """
    a, b = torch.randn(2, side, side)
    out = torch.empty(side, side)
    taken = take_turns([work, lambda: torch.mm(a, b, out=out)], seconds=seconds)
    return Measurement((taken[:, 0] / taken[:, 1] * (side**3 / multiply_adds)).tolist())


for _name, _size in SWEEPS.items():
    for _mode in ("forward", "train"):
        benchmark(f"{_name}_{_mode}", unit="ratio", what=f"{_mode} time over the arithmetic bound: {_size}")(
            partial(sweep_over_bound, _size, train=_mode == "train")
        )
