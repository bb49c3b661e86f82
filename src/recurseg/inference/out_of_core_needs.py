"""What an out-of-core prediction takes: memory, from which follows how it is cut, and disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from math import prod
from pathlib import Path
from typing import cast

import torch

from recurseg.data.formats.header import readable_bytes
from recurseg.errors import ResourceError
from recurseg.inference.bricks import Bricks
from recurseg.layers.sweep import PyramidSweep
from recurseg.models.pyramid_lstm import PyramidLSTM

LONGEST = (8, 4, 2, 1)
"""Planes in a slab, the best first: thick slabs lie in few pieces of a file."""
FIXED = 64 * 2**20
"""Bytes that libraries take whatever the size: kernels compiled for a shape, threads, buffers of files."""


@dataclass(frozen=True)
class Layout:
    """How the work is cut.

    Attributes:
        longest: Most planes in a slab, the longest side of a brick.
        planes: How many of them go through a sweep together.
        parallel: Whether the two directions of a step run at the same time.
    """

    longest: int
    planes: int
    parallel: bool


def sweeps_of(model: PyramidLSTM) -> list[PyramidSweep]:
    """The layers."""
    return [cast(PyramidSweep, sweep) for sweep in model.sweeps]


def channels_of(model: PyramidLSTM) -> list[int]:
    """Channels of what lies on disk: the image in blocks, then the sums of each layer."""
    return [model.in_channels * prod(model.block), *(sweep.weight_h.shape[2] for sweep in sweeps_of(model))]


def positions_of(model: PyramidLSTM, spatial: Sequence[int]) -> tuple[int, ...]:
    """Size in positions of the sweeps, whole blocks."""
    return tuple(-(-size // side) for size, side in zip(spatial, model.block, strict=True))


def memory_needed(model: PyramidLSTM, spatial: Sequence[int], layout: Layout) -> int:
    """Bytes that a prediction takes at its height, beyond what the process holds before.

    In a step: the states of both directions, slabs as they are read and written, and of each direction at work the
    input and the hidden states of its planes and the gates of one, with the copies in which convolutions compute.
    Before the first step a slab of the image in four forms, behind the last one of the sums and the probabilities of
    some planes.
    """
    positions = positions_of(model, spatial)
    channels, at_once = channels_of(model), 1 + layout.parallel
    logits = len(model.get_parameter(f"pixelwise.{len(model.pixelwise) - 1}.bias"))
    phases = [4 * layout.longest * channels[0], 2 * layout.longest * channels[-1] + 5 * layout.planes * logits]
    for (stored, width), sweep in zip(pairwise(channels), sweeps_of(model), strict=True):
        taken = sweep.weight_x.shape[2]
        slabs = layout.longest * (2 * at_once * stored + 4 * width)
        scans = at_once * (layout.planes * (stored + 3 * taken + 4 * width) + 24 * width)
        phases.append(8 * width + slabs + scans)
    return FIXED + 4 * prod(positions) // min(positions) * max(phases)


def choose_layout(model: PyramidLSTM, spatial: Sequence[int], max_ram: int, *, first: int | None = None) -> Layout:
    """Chooses the fastest layout that fits.

    Args:
        model: What predicts.
        spatial: Size of the image.
        max_ram: Bytes beyond what the process holds.
        first: The longest side of the bricks to stay with where it fits, as in an earlier part of the work.

    Raises:
        ResourceError: Not even single planes fit.
    """
    layouts = list(_layouts(LONGEST if first is None else (first, *LONGEST)))
    for layout in layouts:
        if memory_needed(model, spatial, layout) <= max_ram:
            return layout
    least = min(memory_needed(model, spatial, layout) for layout in layouts)
    raise ResourceError(
        f"an image of {' × '.join(map(str, spatial))} out of core needs {readable_bytes(least)} of memory for its "
        f"largest plane, {readable_bytes(max(max_ram, 0))} are allowed: raise --max-ram"
    )


def _layouts(longest: Sequence[int]) -> Iterator[Layout]:
    for side, parallel in product(longest, (True, False) if torch.get_num_threads() > 1 else (False,)):
        for planes in range(side, 0, -1):
            yield Layout(side, planes, parallel)


def disk_needed(model: PyramidLSTM, shape: Sequence[int]) -> int:
    """States, before any work, the most bytes of scratch files that lie on disk together.

    Two volumes (the image and a layer's sums, or those of two layers that follow each other) and the journal with its
    successor.

    Args:
        model: What predicts.
        shape: Of the image, `(C, *spatial)`.
    """
    return max(_disk_with(model, shape[1:], longest) for longest in LONGEST)


def _disk_with(model: PyramidLSTM, spatial: Sequence[int], longest: int) -> int:
    positions = positions_of(model, spatial)
    plane = prod(positions) // min(positions)
    volumes = [Bricks(Path(), channels, positions, longest).nbytes for channels in channels_of(model)]
    journals = [2 * 4 * plane * (2 * longest + 4) * width + 2**16 for width in channels_of(model)[1:]]
    return max(sum(pair) + journal for pair, journal in zip(pairwise(volumes), journals, strict=True))


def require_disk(model: PyramidLSTM, shape: Sequence[int], folder: Path) -> None:
    """Makes sure that the scratch files have room in a folder that exists. Raises ResourceError where not."""
    needed, free = disk_needed(model, shape), shutil.disk_usage(folder).free
    if free < needed:
        raise ResourceError(
            f"{folder}: an image of {' × '.join(map(str, shape[1:]))} out of core needs {readable_bytes(needed)} of "
            f"disk, {readable_bytes(free)} are free: take --out on a larger disk or predict a smaller "
            "image"
        )
