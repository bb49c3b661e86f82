"""Intensities that networks can compare: clipping, z-scores and the unit range, one modality at a time.

Statistics are gathered section by section, so that a volume that lies on disk gets the same numbers to the last bit
as one in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

SMALLEST_SPREAD = 1e-8
"""A standard deviation below this share of the largest value is a constant: such an image becomes 0."""

Normalisation = Literal["slice", "volume", "foreground", "unit", "slice_unit", "none"]
Sections = Callable[[], Iterable[np.ndarray]]
"""Gives the sections of an image, float32 `(H, W)` each, as often as it is called."""


def clip_to_percentiles(image: np.ndarray, low: float, high: float, *, foreground: bool) -> np.ndarray:
    """Clips one modality to two of its percentiles.

    Args:
        image: float32 `(*spatial)`.
        low: Percentile in [0, 100).
        high: Percentile in (low, 100].
        foreground: Whether only voxels that are not 0 count and change.

    Returns:
        float32 `(*spatial)`.
    """
    bounds = percentiles(lambda: sections_of(image), (low, high), foreground=foreground)
    return clip(image, bounds, foreground=foreground)


def clip(image: np.ndarray, bounds: Sequence[float] | None, *, foreground: bool) -> np.ndarray:
    """Clips values to two bounds, where there are any; with `foreground` what is 0 stays 0."""
    if bounds is None:
        return image
    clipped = np.clip(image, *np.asarray(bounds, np.float32))
    return np.where(image != 0, clipped, np.float32(0)) if foreground else clipped


def percentiles(sections: Sections, wanted: Sequence[float], *, foreground: bool) -> tuple[float, ...] | None:
    """Percentiles of all sections together, between neighbouring values interpolated linearly, as numpy has them.

    Args:
        sections: Is called three times.
        wanted: In [0, 100].
        foreground: Whether voxels that are 0 are left out.

    Returns:
        One number each; None where there are no voxels.
    """

    def keys() -> Iterable[np.ndarray]:
        return (_sortable(_counted(section, foreground)) for section in sections())

    count = sum(part.size for part in keys())
    if count == 0:
        return None
    places = [(count - 1) * percentile / 100 for percentile in wanted]
    ranks = sorted({rank for place in places for rank in (math.floor(place), math.ceil(place))})
    values = dict(zip(ranks, _of_ranks(keys, ranks), strict=True))
    below = [(values[math.floor(place)], place % 1) for place in places]
    return tuple(
        low + (values[math.ceil(place)] - low) * share for place, (low, share) in zip(places, below, strict=True)
    )


@dataclass(frozen=True)
class Scale:
    """How values become comparable: less `offset`, over `spread`; all become 0 where there is no spread.

    Attributes:
        offset: A `np.float64` mean, which makes the step one of double precision, or the lowest value.
        spread: Standard deviation, or highest value less the lowest.
        foreground: Whether what is 0 stays 0.
    """

    offset: float = 0.0
    spread: float = 1.0
    foreground: bool = False

    def apply(self, values: np.ndarray) -> np.ndarray:
        """float32 of the same shape."""
        if not self.spread:
            return np.zeros_like(values)
        scaled = ((values - self.offset) / self.spread).astype(np.float32)
        return np.where(values != 0, scaled, np.float32(0)) if self.foreground else scaled


def normalise(image: np.ndarray, over: Normalisation) -> np.ndarray:
    """Brings one modality to mean 0 and standard deviation 1, or into the range from 0 to 1.

    Args:
        image: float32 `(H, W)` or `(D, H, W)`.
        over: "slice": each `(H, W)` by itself; "volume": all voxels; "foreground": the voxels that are not 0, while
            the others stay 0; "unit": the lowest value becomes 0, the highest 1; "slice_unit": the same in each
            `(H, W)`; "none": returned as it is.

    Returns:
        float32 of the same shape; what is constant becomes 0.
    """
    if over == "none":
        return image
    if over in ("slice", "slice_unit") and image.ndim == 3:
        return np.stack([normalise(section, over) for section in image])
    return scale_of(lambda: sections_of(image), over).apply(image)


def scale_of(sections: Sections, over: Normalisation) -> Scale:
    """What `normalise` does to the values of all sections together.

    Args:
        sections: Is called twice at most.
        over: As for `normalise`; "slice" and "slice_unit" as "volume" and "unit", for one section.
    """
    if over == "none":
        return Scale()
    if over in ("unit", "slice_unit"):
        low, high = range_of(sections)
        return Scale(low, high - low)
    foreground = over == "foreground"

    def counted() -> Iterable[np.ndarray]:
        found = (_counted(section, foreground) for section in sections())
        return (part for part in found if part.size)

    parts = [(part.size, part.sum(dtype=np.float64), np.abs(part).max()) for part in counted()]
    if not parts:
        return Scale()
    count = sum(size for size, _, _ in parts)
    mean = np.float64(math.fsum(total for _, total, _ in parts) / count)
    squares = math.fsum(np.square(part - mean).sum(dtype=np.float64) for part in counted())
    spread = math.sqrt(squares / count)
    constant = spread <= SMALLEST_SPREAD * max(largest for _, _, largest in parts)
    return Scale(mean, 0.0 if constant else spread, foreground)


def unit_range(values: np.ndarray) -> np.ndarray:
    """Scales values so that the lowest becomes 0 and the highest 1; what is constant becomes 0."""
    return normalise(values, "unit")


def value_range(image: np.ndarray) -> tuple[float, float]:
    """Lowest and highest value: what "unit" makes 0 and 1."""
    return float(image.min()), float(image.max())


def range_of(sections: Sections) -> tuple[float, float]:
    """Lowest and highest value of all sections together."""
    lows, highs = zip(*(value_range(section) for section in sections()), strict=True)
    return min(lows), max(highs)


def sections_of(image: np.ndarray) -> Iterable[np.ndarray]:
    """The sections of an image `(H, W)` or `(D, H, W)`."""
    return image if image.ndim == 3 else [image]


def _counted(section: np.ndarray, foreground: bool) -> np.ndarray:
    """The voxels that count, one after the other: the order decides the last bit of a sum."""
    return section[section != 0] if foreground else section.ravel()


def _sortable(values: np.ndarray) -> np.ndarray:
    """float32 as uint32 of the same order: the sign bit of positive numbers is set, negative ones are inverted."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))


def _of_ranks(keys: Sections, ranks: Sequence[int]) -> list[float]:
    """The values of some ranks, 0 the lowest: found by their upper 16 bits first, then by the lower 16."""
    upper = np.cumsum(sum(np.bincount(part >> 16, minlength=2**16) for part in keys()))
    tops = [int(np.searchsorted(upper, rank, side="right")) for rank in ranks]
    lower = {top: np.zeros(2**16, np.int64) for top in tops}
    for part in keys():
        for top, counts in lower.items():
            counts += np.bincount(part[part >> 16 == top] & 0xFFFF, minlength=2**16)
    found = []
    for rank, top in zip(ranks, tops, strict=True):
        before = int(upper[top - 1]) if top else 0
        key = top << 16 | int(np.searchsorted(np.cumsum(lower[top]), rank - before, side="right"))
        bits = key & 0x7FFFFFFF if key >> 31 else ~key & 0xFFFFFFFF
        found.append(float(np.array(bits, np.uint32).view(np.float32)))
    return found
