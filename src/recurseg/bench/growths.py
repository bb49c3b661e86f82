"""How a training step's time grows with planes, their area, patches and slices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recurseg.bench.growth import measure_growth
from recurseg.bench.registry import Measurement, benchmark
from recurseg.bench.timing import SECONDS, training_of
from recurseg.layers.actors import MemoryActors
from recurseg.layers.slice_attention import RSABlock
from recurseg.layers.sweep import PyramidSweep
from recurseg.ops.actors import Reading
from recurseg.ops.memory import Access


@dataclass(frozen=True)
class Growth:
    """A layer whose training step is timed while one thing grows.

    Attributes:
        of: What grows.
        sizes: How much of it there is each time.
        layer: Makes the layer.
        shape: Of the layer's input, from the size.
        what: The layer and what stays, in words.
    """

    of: str
    sizes: Sequence[int]
    layer: Callable[[], nn.Module]
    shape: Callable[[int], tuple[int, ...]]
    what: str


class Reader(nn.Module):
    """Actors that share a memory, from their first patch on.

    Args:
        actors: How many.
        size: Numbers of a patch, of a cell and of an output.
        slots: Of the memory.
        access: How it is addressed.
    """

    def __init__(self, actors: int, size: int, *, slots: int, access: Access) -> None:
        super().__init__()
        self.actors = MemoryActors(actors, size, slots=slots, reading=Reading(access), shared=True)

    def forward(self, patches: Float[Tensor, "actors b clocks d"]) -> Float[Tensor, "actors b clocks d"]:
        return self.actors(patches, None)[0]


GROWTHS = {
    "sweep_planes_growth": Growth(
        "planes",
        (4, 8, 16, 32, 64),
        partial(PyramidSweep, 4, 8, kernel=5),
        lambda planes: (1, 4, planes, 32, 32),
        "a PyraMiD layer, 4 → 8 channels, 5 × 5, 32 × 32 voxels a plane",
    ),
    "sweep_area_growth": Growth(
        "voxels of a plane",
        (256, 576, 1024, 2304, 4096, 9216),
        partial(PyramidSweep, 4, 8, kernel=5),
        lambda area: (1, 4, 8, round(area**0.5), round(area**0.5)),
        "the same, 8 planes",
    ),
    "actors_patches_growth": Growth(
        "patches",
        (16, 32, 64, 128, 256),
        partial(Reader, 1, 64, slots=100, access=Access(64, 4)),
        lambda patches: (1, 4, patches, 64),
        "an actor with a memory of 100 slots of 64 and 4 heads, batch 4",
    ),
    "attention_slices_growth": Growth(
        "slices",
        (4, 8, 16, 32, 64, 128),
        partial(RSABlock, 32),
        lambda slices: (1, 32, slices, 16, 16),
        "an RSA block, 32 channels, 16 × 16 voxels a slice",
    ),
}
"""Id → what grows."""


def train_growth(growth: Growth, sizes: Sequence[int] = (), *, seconds: float = SECONDS) -> Measurement:
    """The p of training time ~ size^p."""
    sizes, layer = sizes or growth.sizes, growth.layer()
    works = [training_of(layer, torch.randn(growth.shape(size))) for size in sizes]
    return measure_growth(works, sizes, of=growth.of, seconds=seconds)


for _id, _growth in GROWTHS.items():
    _range = f"{_growth.sizes[0]} to {_growth.sizes[-1]}"
    benchmark(
        _id, unit="exponent", what=f"p of training time ~ ({_growth.of})^p, {_range} {_growth.of}: {_growth.what}"
    )(partial(train_growth, _growth))
