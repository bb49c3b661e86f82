"""Bright spots of a made-up brain: lesions of multiple sclerosis and what looks like them.

Spots are grown in pairs of seats opposite each other, without regard to what they will be; only then is drawn which
pairs are lesions. A lesion takes one seat of its pair, at random, and leaves the other one healthy; twins take both.
So a spot and its surroundings have one distribution whatever the spot is, by construction, and nothing tells a lesion
from a twin but the opposite hemisphere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from .brain_anatomy import Tissue
from .fields import block_mean, ramp, smooth_noise
from .ms_seats import Seat, find_regions, opposite_seats, stray_seats

Field = np.ndarray
Kind = Literal["lesion", "twin", "stray"]

LESIONS = 2 / 3
"""Share of the pairs that are lesions: as many spots are lesions as are twins."""
STRAYS = 0.4
"""Spots where MS has none, for each pair."""
DIAMETER, SPREAD = 5.5, 0.4
"""Millimetres, median, and standard deviation of the logarithm."""
SMALLEST, LARGEST = 3.0, 16.0
LEAST_VOXELS = 3
"""What fills fewer voxels by half is no spot: nobody would draw it."""
CLEARANCE = 2.0
"""Millimetres between the borders of spots."""
BLACK_HOLES = 0.3
"""Share of the spots that are dark in T1."""


@dataclass(frozen=True)
class Spot:
    """One spot.

    Attributes:
        kind: What it is.
        centre: Its middle, millimetres from the first voxel (x, y, z).
        diameter: Millimetres, of a ball of its volume.
        box: Where `share` lies in the volume.
        share: Of a voxel, 0..1.
        brightness: In FLAIR and T2, 0 faint to 1 bright.
        darkness: In T1, 0 faint to 1 a black hole.
    """

    kind: Kind
    centre: np.ndarray
    diameter: float
    box: tuple[slice, ...]
    share: Field
    brightness: float
    darkness: float

    @property
    def voxels(self) -> int:
        """Voxels that it fills by more than half."""
        return int(np.sum(self.share > 0.5))


def grow_spots(rng: np.random.Generator, tissue: Tissue, load: float, spacing: np.ndarray) -> list[Spot]:
    """Grows lesions, twins and strays in a brain.

    Args:
        rng: Source of randomness.
        tissue: The healthy brain.
        load: Millilitres of lesion, about; one lesion is grown at least.
        spacing: Millimetres per voxel (x, y, z).
    """
    regions = find_regions(tissue, spacing)
    pairs: list[tuple[Spot, Spot]] = []
    taken: list[Spot] = []
    volume = 0.0  # millilitres, of one spot of each pair
    for seats in opposite_seats(rng, tissue, regions, spacing):
        pair = _grow_pair(rng, seats, tissue, spacing)
        if all(_fits(spot, taken) for spot in pair):
            taken += pair
            pairs.append(pair)
            volume += np.mean([spot.voxels for spot in pair]) * spacing.prod() / 1000
            if volume >= load / LESIONS:
                break
    lesions = max(1, round(LESIONS * len(pairs)))
    order = [pairs[i] for i in rng.permutation(len(pairs))]
    spots = [replace(pair[int(rng.integers(2))], kind="lesion") for pair in order[:lesions]]
    spots += [twin for pair in order[lesions:] for twin in pair]
    strays = round(STRAYS * len(pairs))
    for seat in stray_seats(rng, tissue, regions, spacing):
        if len(spots) == lesions + 2 * (len(pairs) - lesions) + strays:
            break
        stray = replace(_grow(rng, _draw(rng, spacing), seat, tissue, spacing), kind="stray")
        if _fits(stray, taken):
            taken.append(stray)
            spots.append(stray)
    return spots


def _grow_pair(
    rng: np.random.Generator, seats: tuple[Seat, Seat], tissue: Tissue, spacing: np.ndarray
) -> tuple[Spot, Spot]:
    """Two spots alike, as twins are."""
    first = _draw(rng, spacing)
    second = replace(first, diameter=first.diameter * np.exp(0.1 * rng.standard_normal()))
    one, other = (_grow(rng, spot, seat, tissue, spacing) for spot, seat in zip((first, second), seats, strict=True))
    return one, other


def _draw(rng: np.random.Generator, spacing: np.ndarray) -> Spot:
    """A spot without a place: how large and how bright."""
    voxel = float(np.cbrt(spacing.prod()))  # what is smaller than voxels would not be seen
    diameter = max(DIAMETER, 1.7 * voxel) * np.exp(SPREAD * rng.standard_normal())
    diameter = float(np.clip(diameter, max(SMALLEST, 1.2 * voxel), max(LARGEST, 3 * voxel)))
    darkness = rng.uniform(0.6, 1) if rng.uniform() < BLACK_HOLES else rng.uniform(0, 0.4)
    return Spot("twin", np.zeros(3), diameter, (), np.zeros(0), rng.uniform(), darkness)


def _fits(spot: Spot, taken: list[Spot]) -> bool:
    apart = (np.linalg.norm(spot.centre - s.centre) - (spot.diameter + s.diameter) * 0.6 for s in taken)
    return spot.voxels >= LEAST_VOXELS and all(mm > CLEARANCE for mm in apart)


def _grow(rng: np.random.Generator, spot: Spot, seat: Seat, tissue: Tissue, spacing: np.ndarray) -> Spot:
    """A spot in its seat: an uneven ellipsoid that touches the wall."""
    stretch = rng.uniform(1.3, 1.9) if seat.elongated else rng.uniform(0.65, 0.95)
    radii = spot.diameter / 2 * np.array([stretch, rng.uniform(0.85, 1.15) * stretch**-0.5, stretch**-0.5])
    centre = seat.centre if seat.gap is None else seat.centre + seat.away * (0.9 * radii[0] - seat.gap)
    axes = np.linalg.qr(np.column_stack([seat.away, rng.standard_normal((3, 2))]))[0].T
    middle, extent = centre / spacing, (1.2 * radii.max() + 1) / spacing + 1
    low = np.clip(np.floor(middle - extent), 0, np.array(tissue.wm.shape) - 1).astype(int)
    high = np.clip(np.ceil(middle + extent) + 1, low + 1, tissue.wm.shape).astype(int)
    finer = np.clip(np.ceil(spacing / 0.8), 1, 6).astype(int)
    place = np.meshgrid(
        *(
            ((np.arange((h - l) * f) + 0.5) / f - 0.5 + l) * mm - c
            for l, h, f, mm, c in zip(low, high, finer, spacing, centre, strict=True)
        ),
        indexing="ij",
    )
    shape = place[0].shape
    ragged = 1 + 0.14 * smooth_noise(rng, shape, 3.5 * finer / spacing)
    reach = np.sqrt(
        sum(
            (sum(a * p for a, p in zip(axis, place, strict=True)) / r) ** 2
            for axis, r in zip(axes, radii, strict=True)
        )
    )
    inside = (ragged - reach) * radii.min()
    box = tuple(slice(l, h) for l, h in zip(low, high, strict=True))
    share = block_mean(ramp(inside, 1.0), finer) * (tissue.wm[box] + tissue.gm[box])
    return replace(spot, centre=centre, box=box, share=share)
