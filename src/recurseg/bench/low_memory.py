"""What a sweep gains and loses by keeping hidden and cell states only (`memory="low"`)."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch

from recurseg.bench.bound import MATRIX_SIDE, TRAIN, over_bound
from recurseg.bench.peak import peak_memory
from recurseg.bench.registry import Measurement, benchmark
from recurseg.bench.textbook import textbook
from recurseg.bench.timing import SECONDS, training_of
from recurseg.layers.conv_lstm import ConvLSTM

CHANNELS, WIDTH, KERNEL = 16, 32, 7
PLANES = (64, 64, 64)
WHAT = f"one direction, {CHANNELS} → {WIDTH} channels, {KERNEL} × {KERNEL}, {PLANES[0]} planes of 64 × 64"


@benchmark(
    "sweep_memory",
    unit="ratio",
    what=f"peak memory of a training step with memory='low' beyond its input over the textbook loop's: {WHAT}",
)
def memory(spatial: Sequence[int] = PLANES) -> Measurement:
    loop = textbook(ConvLSTM(CHANNELS, WIDTH, kernel=KERNEL))
    assert loop is not None
    image = torch.randn(1, CHANNELS, *spatial)
    ours, theirs = (peak_memory(training_of(layer, image)) for layer in (_layer(), loop))
    return Measurement([ours / theirs])


@benchmark(
    "sweep_memory_train",
    unit="ratio",
    what=f"training time with memory='low' over the arithmetic bound: {WHAT}",
    long=True,
)
def memory_train(
    spatial: Sequence[int] = PLANES, *, seconds: float = SECONDS, side: int = MATRIX_SIDE
) -> Measurement:
    work = training_of(_layer(), torch.randn(1, CHANNELS, *spatial))
    return over_bound(work, TRAIN * multiply_adds(spatial), seconds=seconds, side=side)


def multiply_adds(spatial: Sequence[int]) -> int:
    """Of a forward pass in one direction: the first plane has no recurrent convolution."""
    planes = prod(spatial) * CHANNELS + (prod(spatial) - prod(spatial[1:])) * WIDTH
    return 4 * WIDTH * KERNEL**2 * planes


def _layer() -> ConvLSTM:
    return ConvLSTM(CHANNELS, WIDTH, kernel=KERNEL, memory="low")
