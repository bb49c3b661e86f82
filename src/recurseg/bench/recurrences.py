"""PyraMiD-LSTM's layer beside the standard multi-dimensional LSTM's: time, growth, sequential steps, context."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from recurseg.bench.growth import measure_growth
from recurseg.bench.registry import Measurement, benchmark
from recurseg.bench.timing import SECONDS, forward_of, take_turns, training_of
from recurseg.layers.md_lstm import MDLSTM
from recurseg.layers.sweep import PyramidSweep
from recurseg.ops import md_lstm, sweep

CHANNELS = 16
SPATIAL = (8, 32, 32)
SIDES = (8, 12, 16, 24, 32)
PAPER_VOLUME = (25, 240, 240)
CONTEXT_VOLUME = (9, 9, 9)

Layer = Callable[[int, int], nn.Module]
LAYERS: dict[str, Layer] = {"md_lstm": MDLSTM, "pyramid": PyramidSweep}
"""Name → `(in_channels, width)` → layer with its default kernel."""


@benchmark(
    "md_lstm_over_pyramid_forward",
    unit="ratio",
    what="time of an MD-LSTM layer over a PyraMiD layer's (7 × 7), 16 → 16 channels, 8 × 32 × 32 voxels",
)
def forward_ratio(spatial: Sequence[int] = SPATIAL, *, seconds: float = SECONDS) -> Measurement:
    return _ratio(forward_of, spatial, seconds)


@benchmark(
    "md_lstm_over_pyramid_train",
    unit="ratio",
    what="the same with all gradients",
)
def training_ratio(spatial: Sequence[int] = SPATIAL, *, seconds: float = SECONDS) -> Measurement:
    return _ratio(training_of, spatial, seconds)


def _ratio(work_of: Callable[..., Callable[[], object]], spatial: Sequence[int], seconds: float) -> Measurement:
    image = torch.randn(1, CHANNELS, *spatial)
    taken = take_turns([work_of(layer(CHANNELS, CHANNELS), image) for layer in LAYERS.values()], seconds=seconds)
    return Measurement((taken[:, 0] / taken[:, 1]).tolist())


@benchmark(
    "md_lstm_growth",
    unit="exponent",
    what="p of time ~ voxels^p, forward of an MD-LSTM layer, 16 → 16 channels, cubes of side 8 to 32",
)
def md_lstm_growth(sides: Sequence[int] = SIDES, *, seconds: float = SECONDS) -> Measurement:
    return _growth("md_lstm", sides, seconds)


@benchmark("pyramid_growth", unit="exponent", what="the same of a PyraMiD layer (7 × 7)")
def pyramid_growth(sides: Sequence[int] = SIDES, *, seconds: float = SECONDS) -> Measurement:
    return _growth("pyramid", sides, seconds)


def _growth(name: str, sides: Sequence[int], seconds: float) -> Measurement:
    layer = LAYERS[name](CHANNELS, CHANNELS)
    works = [forward_of(layer, torch.randn(1, CHANNELS, side, side, side)) for side in sides]
    return measure_growth(works, [side**3 for side in sides], seconds=seconds)


@benchmark(
    "md_lstm_steps",
    unit="steps",
    what="steps of an MD-LSTM layer that wait for each other, diagonals at once, volume 25 × 240 × 240",
)
def md_lstm_steps() -> Measurement:
    return Measurement([md_lstm.sequential_steps(PAPER_VOLUME)])


@benchmark("pyramid_steps", unit="steps", what="the same of a PyraMiD layer, planes at once")
def pyramid_steps() -> Measurement:
    return Measurement([sweep.sequential_steps(PAPER_VOLUME)])


@benchmark(
    "md_lstm_context",
    unit="share",
    what="voxels of a 9 × 9 × 9 volume whose gradient reaches the centre through one MD-LSTM layer",
)
def md_lstm_context() -> Measurement:
    return Measurement([context(LAYERS["md_lstm"](1, 2), CONTEXT_VOLUME)])


@benchmark("pyramid_context", unit="share", what="the same through one PyraMiD layer (7 × 7)")
def pyramid_context() -> Measurement:
    return Measurement([context(LAYERS["pyramid"](1, 2), CONTEXT_VOLUME)])


def context(layer: nn.Module, spatial: Sequence[int]) -> float:
    """Returns the share of an image's voxels whose gradient reaches the centre voxel of a layer's output, in float64.

    Args:
        layer: With one input channel.
        spatial: Size of the image.
    """
    image = torch.randn(1, 1, *spatial, dtype=torch.float64, requires_grad=True)
    found = layer.double()(image)
    hidden = found[0] if isinstance(found, tuple) else found
    (gradient,) = torch.autograd.grad(hidden[(0, slice(None), *(size // 2 for size in spatial))].sum(), image)
    return (gradient != 0).double().mean().item()
