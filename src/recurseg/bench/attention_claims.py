"""What the paper says that slice attention saves, counted at its sizes and measured.

"Our method reduces GPU memory consumption by at least 28× and the number of floating point operations by at least
100× in computing the attention maps" (Zhang et al. 2019). So the maps alone are counted first: their entries, and the
multiply-adds of the products that make them. Applying them takes as many again on both sides. Then a training step of
the whole block is counted and measured, as nobody computes a map alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from recurseg.bench.attention import BLOCKS, DEVICES, SECONDS, Size, step_peaks, step_seconds
from recurseg.bench.multiply_adds import counted
from recurseg.bench.registry import Measurement, benchmark

LESS_MEMORY = 28
FEWER_OPERATIONS = 100


@dataclass(frozen=True)
class Place:
    """Where in a network a block stands: its map's size (slices, rows, columns) and channels."""

    size: Size
    channels: int

    def __str__(self) -> str:
        return f"{_by(self.size)} voxels with {self.channels} channels"


PLACES = (Place((8, 40, 33), 256), Place((4, 20, 17), 512))
"""The deepest levels of the paper's network for its largest volume, 60 × 320 × 260: placement "101" has its blocks at
the first, "010" at the second."""
VOLUME: Size = (256, 512, 512)
"""The paper's example of a volume whose map is out of reach."""


def map_entries(size: Size) -> dict[str, int]:
    """Numbers in the attention maps: a square of the slices for each axis, or one of all voxels."""
    return {"rsa": sum(slices**2 for slices in size), "non_local": prod(size) ** 2}


def map_multiply_adds(size: Size, channels: int, *, inner: int) -> dict[str, int]:
    """Multiply-adds of the products that make the maps, softmax and projections left out.

    Args:
        size: Of the volume.
        channels: That slices compare; an axis of S slices takes S² products of channels · voxels / S numbers.
        inner: Channels that voxels compare; voxels² products of these.
    """
    return {"rsa": channels * prod(size) * sum(size), "non_local": inner * prod(size) ** 2}


def step_multiply_adds(name: str, size: Size, channels: int) -> int:
    """Multiply-adds of all matrix products in a training step of a whole block, counted without computing it."""

    def work() -> None:
        BLOCKS[name](channels)(torch.empty(1, channels, *size, requires_grad=True)).sum().backward()

    with FakeTensorMode():
        return counted(work)


def memory_claim(places: Sequence[Place] = PLACES, *, device: str = "cpu") -> Measurement:
    """The least ratio of map entries at `places`; what that and the blocks' peaks say of the claim."""
    maps = {place: _over_rsa(map_entries(place.size)) for place in places}
    volume = {f"{_by(VOLUME)} voxels": _over_rsa(map_entries(VOLUME))}
    peaks = {place: _over_rsa(step_peaks(place.size, place.channels, device)) for place in places}
    told = {"maps alone, counted": maps | volume, "training step of the whole block, peak measured": peaks}
    return Measurement([min(maps.values())], verdict=_verdict(f"{LESS_MEMORY} times less memory", LESS_MEMORY, told))


def operations_claim(
    places: Sequence[Place] = PLACES, *, device: str = "cpu", seconds: float = SECONDS
) -> Measurement:
    """The least ratio of the maps' multiply-adds at `places`; what that, whole blocks' and their time say."""

    def of(count: Callable[[Place], Mapping[str, float]]) -> dict[Place | str, float]:
        return {place: _over_rsa(count(place)) for place in places}

    def maps(place: Place, share: int) -> dict[str, int]:
        return map_multiply_adds(place.size, place.channels, inner=place.channels // share)

    def step(place: Place) -> dict[str, int]:
        return {name: step_multiply_adds(name, place.size, place.channels) for name in ("rsa", "non_local")}

    def medians(place: Place) -> dict[str, float]:
        taken = step_seconds(place.size, place.channels, device, seconds)
        return {name: float(np.median(rounds)) for name, rounds in taken.items()}

    halved = of(partial(maps, share=2))
    told = {
        "maps alone, counted, voxels compared by half the channels": halved | _volume_maps(2),
        "by all channels": of(partial(maps, share=1)) | _volume_maps(1),
        "training step of the whole block, counted": of(step),
        "its time, measured": of(medians),
    }
    claim = _verdict(f"{FEWER_OPERATIONS} times fewer operations", FEWER_OPERATIONS, told)
    return Measurement([min(halved.values())], verdict=claim)


def _volume_maps(share: int) -> dict[Place | str, float]:
    return {f"{_by(VOLUME)} voxels": _over_rsa(map_multiply_adds(VOLUME, share, inner=1))}


def _over_rsa(costs: Mapping[str, float]) -> float:
    return costs["non_local"] / costs["rsa"]


def _verdict(claim: str, least: float, told: Mapping[str, Mapping[Place | str, float]]) -> str:
    """One sentence a way of counting: where the claim holds and where it does not, with the ratios."""
    return " ".join([f"At least {claim}.", *(f"{_sentence(way, least, found)}." for way, found in told.items())])


def _sentence(way: str, least: float, found: Mapping[Place | str, float]) -> str:
    kept = {"holds": [], "does not hold": []}
    for place, ratio in found.items():
        kept["holds" if ratio >= least else "does not hold"].append(f"{place} ({_times(ratio)})")
    parts = [f"{word} at {', '.join(places)}" for word, places in kept.items() if places]
    return f"{way[0].upper()}{way[1:]}: {'; '.join(parts)}"


def _times(ratio: float) -> str:
    return f"{ratio:,.0f} times" if ratio >= 20 else f"{ratio:.2g} times"


def _by(size: Size) -> str:
    return " × ".join(map(str, size))


for _device in DEVICES:
    _first = "gpu_" if _device == "cuda" else ""
    benchmark(
        f"{_first}rsa_memory_claim",
        unit="ratio",
        what="entries of a non-local block's map over those of slice attention, the least at the paper's levels",
    )(partial(memory_claim, device=_device))
    benchmark(
        f"{_first}rsa_operations_claim",
        unit="ratio",
        what="multiply-adds of a non-local block's map over those of slice attention's, the least likewise",
        long=True,
    )(partial(operations_claim, device=_device))
