"""Slice attention beside the non-local block, plain and on torch's fused attention: time and memory of a block.

What is measured is a training step of the whole block: projections, attention, output, and all gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from math import prod

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from recurseg.bench.growth import fit_exponent
from recurseg.bench.peak import peak_memory
from recurseg.bench.registry import Measurement, benchmark
from recurseg.bench.timing import take_turns, training_of
from recurseg.layers.non_local import NonLocalBlock
from recurseg.layers.slice_attention import RSABlock

Size = tuple[int, int, int]

CHANNELS = 32
SIZE: Size = (16, 32, 32)
SIZES: Sequence[Size] = tuple((side // 2, side, side) for side in (8, 12, 16, 24, 32, 40, 64, 96))
SECONDS = 2.0
"""Time that each size takes, warm-up left out, where five rounds do not take longer."""

BLOCKS: Mapping[str, Callable[[int], nn.Module]] = {
    "rsa": RSABlock,
    "non_local": NonLocalBlock,
    "non_local_fused": partial(NonLocalBlock, fused=True),
}
"""Name → `channels` → block."""

MOST: Mapping[str, Mapping[str, int]] = {
    "cpu": {"rsa": 450_000, "non_local": 17_000, "non_local_fused": 33_000},
    "cuda": {"rsa": 450_000, "non_local": 33_000, "non_local_fused": 140_000},
}
"""Device → block → voxels beyond which a step takes too long, or its maps too much: 32,000 voxels have 4 GB each."""


def steps(size: Size, channels: int = CHANNELS, device: str = "cpu") -> dict[str, Callable[[], object]]:
    """Returns a training step of every block that can take a volume of this size, by name."""
    volume = torch.randn(1, channels, *size, device=device)
    able = {name: block for name, block in BLOCKS.items() if prod(size) <= MOST[device][name]}
    return {name: training_of(lively(block(channels)).to(device), volume) for name, block in able.items()}


def lively(block: nn.Module) -> nn.Module:
    """The block as if trained: fresh, its answer is multiplied by zero."""
    for parameter in block.parameters():
        nn.init.uniform_(parameter, -0.1, 0.1)
    return block


@cache
def step_seconds(
    size: Size, channels: int, device: str, seconds: float, /
) -> dict[str, Float[np.ndarray, " rounds"]]:
    """Times a training step of every block that can take this size, in turns; once for all who ask."""
    works = steps(size, channels, device)
    return dict(zip(works, take_turns(list(works.values()), seconds=seconds).T, strict=True))


@cache
def step_peaks(size: Size, channels: int, device: str, /) -> dict[str, int]:
    """Measures the bytes that a training step of every block that can take this size holds beyond its input."""
    return {name: peak_memory(work, device) for name, work in steps(size, channels, device).items()}


def memory_ratio(rival: str, size: Size = SIZE, *, channels: int = CHANNELS, device: str = "cpu") -> Measurement:
    """The rival's peak over that of slice attention."""
    peaks = step_peaks(size, channels, device)
    return Measurement([peaks[rival] / peaks["rsa"]])


def time_ratio(
    rival: str, size: Size = SIZE, *, channels: int = CHANNELS, device: str = "cpu", seconds: float = SECONDS
) -> Measurement:
    """The rival's time over that of slice attention, round by round."""
    taken = step_seconds(size, channels, device, seconds)
    return Measurement((taken[rival] / taken["rsa"]).tolist())


def memory_growth(name: str, sizes: Sequence[Size] = SIZES, *, device: str = "cpu") -> Measurement:
    """The p of peak ~ voxels^p; the curve has MiB."""
    peaks = {prod(size): step_peaks(size, CHANNELS, device).get(name) for size in sizes}
    curve = [(voxels, peak / 2**20) for voxels, peak in peaks.items() if peak is not None]
    return Measurement([fit_exponent(*zip(*curve, strict=True))], curve, _picture("memory", device), "peak, MiB")


def time_growth(
    name: str, sizes: Sequence[Size] = SIZES, *, device: str = "cpu", seconds: float = SECONDS
) -> Measurement:
    """The p of time ~ voxels^p, from the first rounds of all sizes, the second, and so on; the curve has medians."""
    found = {prod(size): step_seconds(size, CHANNELS, device, seconds).get(name) for size in sizes}
    taken = {voxels: rounds for voxels, rounds in found.items() if rounds is not None}
    curve = [(voxels, float(np.median(rounds))) for voxels, rounds in taken.items()]
    samples = [fit_exponent(list(taken), row) for row in zip(*taken.values(), strict=False)]
    return Measurement(samples, curve, _picture("time", device))


def _picture(what: str, device: str) -> str:
    return f"{_prefix(device)}attention_{what}"


def _prefix(device: str) -> str:
    return "gpu_" if device == "cuda" else ""


_RIVALS = {
    "": ("non_local", "a plain non-local block"),
    "_fused": ("non_local_fused", "a non-local block on torch's fused attention"),
}
_NAMES = {"rsa": "an RSA block", "non_local": _RIVALS[""][1], "non_local_fused": _RIVALS["_fused"][1]}
_AT = f"{CHANNELS} channels, {' × '.join(map(str, SIZE))} voxels"

DEVICES = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)

for _device in DEVICES:
    _first = _prefix(_device)
    for _last, (_rival, _what) in _RIVALS.items():
        benchmark(
            f"{_first}slice_attention_memory{_last}",
            unit="ratio",
            what=f"peak memory of a training step of {_what} over an RSA block's, {_AT}",
        )(partial(memory_ratio, _rival, device=_device))
        benchmark(
            f"{_first}slice_attention_time{_last}",
            unit="ratio",
            what=f"time of a training step of {_what} over an RSA block's, {_AT}",
        )(partial(time_ratio, _rival, device=_device))
    for _name, _what in _NAMES.items():
        _range = f"{_what}, {CHANNELS} channels, 4 × 8 × 8 voxels and more"
        benchmark(f"{_first}{_name}_memory_growth", unit="exponent", what=f"p of peak memory ~ voxels^p, {_range}")(
            partial(memory_growth, _name, device=_device)
        )
        benchmark(f"{_first}{_name}_time_growth", unit="exponent", what=f"p of time ~ voxels^p, {_range}", long=True)(
            partial(time_growth, _name, device=_device)
        )
