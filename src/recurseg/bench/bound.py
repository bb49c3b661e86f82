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
from torch import nn

from recurseg.bench.registry import Measurement, benchmark
from recurseg.bench.textbook import textbook
from recurseg.bench.timing import LEAST_ROUNDS, SECONDS, forward_of, take_turns, training_of
from recurseg.layers.sweep import PyramidSweep

MATRIX_SIDE = 2048
TRAIN = 3
"""A training step's multiply-adds over a forward pass's."""


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
    "sweep_wide": SweepSize(25, 32, 7, (8, 64, 64)),
    "sweep_small": SweepSize(1, 16, 5, (6, 64, 64)),
    "sweep_plane": SweepSize(1, 16, 7, (8, 128, 128)),
    "sweep_volume": SweepSize(5, 16, 7, (25, 120, 120)),
}
"""Name of a size → the size; each is measured as NAME_forward and NAME_train, ours and the textbook's."""
LONG = ("sweep_wide", "sweep_volume")
"""Sizes whose steps take seconds."""


def sweep_over_bound(
    size: SweepSize,
    *,
    train: bool,
    as_textbook: bool = False,
    seconds: float = SECONDS,
    least: int = LEAST_ROUNDS,
    side: int = MATRIX_SIDE,
) -> Measurement:
    """Times a PyraMiD layer in turns with a large matrix product; the samples are its time over its bound."""
    layer: nn.Module | None = PyramidSweep(
        size.channels, size.width, kernel=size.kernel, spatial_dims=len(size.spatial)
    )
    if as_textbook:
        layer = textbook(layer)
    assert layer is not None
    image = torch.randn(1, size.channels, *size.spatial)
    work = (training_of if train else forward_of)(layer, image)
    bound = (TRAIN if train else 1) * size.multiply_adds
    return over_bound(work, bound, seconds=seconds, least=least, side=side)


def over_bound(
    work: Callable[[], object],
    multiply_adds: int,
    *,
    seconds: float = SECONDS,
    least: int = LEAST_ROUNDS,
    side: int = MATRIX_SIDE,
) -> Measurement:
    """Times any work over the time in which a matrix product does as many multiply-adds.

    Args:
        work: What is timed.
        multiply_adds: How many it cannot do without.
        seconds: About how long it takes.
        least: Rounds that are made in any case.
        side: Rows and columns of the matrices.
    """
    taken = take_turns([work, matrix_product(side)], seconds=seconds, least=least)
    return Measurement((taken[:, 0] / taken[:, 1] * (side**3 / multiply_adds)).tolist())


def matrix_product(
    side: int = MATRIX_SIDE, *, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> Callable[[], object]:
    """Returns the work of multiplying two square matrices, side³ multiply-adds."""
    a, b, out = torch.randn(3, side, side, device=device, dtype=dtype)
    return partial(torch.mm, a, b, out=out)


for _name, _size in SWEEPS.items():
    for _mode in ("forward", "train"):
        for _last, _whose in {"": "", "_textbook": " of the textbook loop"}.items():
            benchmark(
                f"{_name}_{_mode}{_last}",
                unit="ratio",
                what=f"{_mode} time{_whose} over the arithmetic bound: {_size}",
                long=_name == "sweep_volume" or (_name in LONG and _mode == "train") or bool(_last),
            )(partial(sweep_over_bound, _size, train=_mode == "train", as_textbook=bool(_last)))
