"""PyraMiD-LSTM on a CUDA device: against the eager textbook loop, the device's own rate, and the paper's seconds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial

import numpy as np
import torch
from jaxtyping import Float

from recurseg.bench.bound import TRAIN, SweepSize, matrix_product
from recurseg.bench.registry import Measurement, benchmark
from recurseg.bench.textbook import textbook
from recurseg.bench.timing import take_turns, training_of
from recurseg.layers.sweep import PyramidSweep
from recurseg.models import create_model

WINDOW = (25, 240, 240)
VOLUME = (48, 240, 240)
CHANNELS, CLASSES = 5, 5
LAYERS = tuple(SweepSize(channels, width, 7, WINDOW) for channels, width in ((5, 16), (25, 32), (45, 64)))
"""The paper's three layers at its largest training window."""
MATRIX_SIDE = 8192
DTYPES = {"": torch.float32, "_bf16": torch.bfloat16}


@cache
def layer_seconds(
    sizes: tuple[SweepSize, ...], dtype: torch.dtype, device: str, side: int, /
) -> Float[np.ndarray, "rounds works"]:
    """Times training steps of layers in turns: the textbook's, ours, and a matrix product.

    Args:
        sizes: The layers; seconds are sums over them.
        dtype: Of convolutions and matrix product.
        device: "cuda", or "cpu" to try it out.
        side: Rows and columns of the matrices.
    """
    return np.sum([_turns(size, dtype, device, side) for size in sizes], axis=0)


def _turns(size: SweepSize, dtype: torch.dtype, device: str, side: int) -> Float[np.ndarray, "rounds works"]:
    layer = PyramidSweep(size.channels, size.width, kernel=size.kernel, spatial_dims=len(size.spatial)).to(device)
    loop = textbook(layer)
    assert loop is not None
    image = torch.randn(1, size.channels, *size.spatial, device=device)
    works = [training_of(loop, image), training_of(layer, image), matrix_product(side, device=device, dtype=dtype)]
    with torch.autocast(device, dtype=dtype, enabled=dtype != torch.float32):
        return take_turns(works, seconds=0)


def over_ours(
    dtype: torch.dtype, sizes: tuple[SweepSize, ...] = LAYERS, *, device: str = "cuda", side: int = MATRIX_SIDE
) -> Measurement:
    """The textbook's time over ours, round by round."""
    textbook, ours, _ = layer_seconds(sizes, dtype, device, side).T
    return Measurement((textbook / ours).tolist())


def share(
    dtype: torch.dtype, sizes: tuple[SweepSize, ...] = LAYERS, *, device: str = "cuda", side: int = MATRIX_SIDE
) -> Measurement:
    """Our multiply-adds a second over those of the matrix product."""
    _, ours, product = layer_seconds(sizes, dtype, device, side).T
    steps = TRAIN * sum(size.multiply_adds for size in sizes) / ours
    return Measurement((steps / (len(sizes) * side**3 / product)).tolist())


@benchmark(
    "gpu_volume_s",
    unit="s",
    what="labels of a volume of 48 × 240 × 240 voxels and 5 channels by pyramid_lstm with the paper's weights, "
    "to the device and back, bfloat16 with float32 cells",
    gpu=True,
)
def volume_seconds(size: Sequence[int] = VOLUME, *, device: str = "cuda", **options: object) -> Measurement:
    model = create_model("pyramid_lstm", in_channels=CHANNELS, num_classes=CLASSES, **options).to(device).eval()
    volume = torch.randn(1, CHANNELS, *size)

    def predict() -> None:
        with torch.inference_mode(), torch.autocast(device, dtype=torch.bfloat16):
            model(volume.to(device)).argmax(1).cpu()

    return Measurement(take_turns([predict], seconds=0)[:, 0].tolist())


for _last, _dtype in DTYPES.items():
    _what = f"of PyraMiD layers {', '.join(f'{size.channels} → {size.width}' for size in LAYERS)} at 25 × 240 × 240"
    _in = f"7 × 7, {str(_dtype).removeprefix('torch.')}"
    benchmark(
        f"gpu_sweep{_last}",
        unit="ratio",
        what=f"training time {_what}, {_in}: the eager textbook loop over ours",
        gpu=True,
    )(partial(over_ours, _dtype))
    benchmark(
        f"gpu_sweep{_last}_share",
        unit="share",
        what=f"multiply-adds a second in training {_what}, {_in}, over those of a large matrix product",
        gpu=True,
    )(partial(share, _dtype))
