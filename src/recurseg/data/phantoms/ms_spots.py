"""Bright spots of a made-up brain: lesions of multiple sclerosis and what looks like them.

Spots are grown in pairs of seats opposite each other, without regard to what they will be; only then is drawn which
pairs are lesions. A lesion takes one seat of its pair, at random, and leaves the other one healthy; twins take both.
So a spot and what is around it have one distribution, whatever the spot is, by construction: nothing tells a lesion
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

LESIONS = 2 / 3
"""Share of the pairs that are lesions: so there are as many lesions as twins."""
STRAYS = 0.4
"""Spots where MS has none, for each pair."""
DIAMETER, SPREAD = 5.5, 0.4
"""Millimetres, median, and standard deviation of the logarithm."""
SMALLEST, LARGEST = 3.0, 16.0
LEAST_VOXELS = 3
"""What fills fewer voxels by half is no spot: nobody would draw it."""
CLEARANCE = 2.0
"""Millimetres between the borders of spots, about."""
BLACK_HOLES = 0.3
"""Share of the spots that are dark in T1."""


@dataclass(frozen=True)
class Look:
    """How large and how bright a spot is.

    Attributes:
        diameter: Millimetres, of a ball of its volume.
        brightness: In FLAIR and T2, 0 faint to 1 bright.
        darkness: In T1, 0 like grey matter to 1 a black hole.
    """

    diameter: float
    brightness: float
    darkness: float


@dataclass(frozen=True)
class Spot:
    """One spot.

    Attributes:
        kind: What it is.
        look: How large and how bright it is.
        centre: Its middle, millimetres from the first voxel (x, y, z).
        box: Where `share` lies in the volume.
        share: Of a voxel, 0..1.
    """

    kind: Literal["lesion", "twin", "stray"]
    look: Look
    centre: np.ndarray
    box: tuple[slice, ...]
    share: Field

    @property
    def filled(self) -> Field:
        """Voxels of the box that it fills by more than half."""
        return self.share > 0.5


def grow_spots(rng: np.random.Generator, tissue: Tissue, load: float, spacing: np.ndarray) -> list[Spot]:
    """Grows lesions, twins and strays in a brain.

    Args:
        rng: Source of randomness.
        tissue: The healthy brain.
        load: Millilitres of lesion, about; one lesion is grown at least.
        spacing: Millimetres per voxel (x, y, z).
    """
    regions = find_regions(tissue, spacing)
    taken: list[Spot] = []
    pairs: list[list[Spot]] = []
    volume = 0.0  # millilitres, of one spot of each pair
    for seats in opposite_seats(rng, tissue, regions, spacing):
        if volume >= load / LESIONS:
            break
        look = _draw_look(rng, spacing)
        pair = [_grow(rng, seat, _alike(rng, look), tissue, spacing, taken) for seat in seats]
        grown = [spot for spot in pair if spot is not None]
        if len(grown) == 2:
            taken += grown
            pairs.append(grown)
            volume += sum(spot.filled.sum() for spot in grown) / 2 * spacing.prod() / 1000

    lesions = max(1, round(LESIONS * len(pairs)))
    order = [pairs[i] for i in rng.permutation(len(pairs))]
    spots = [replace(pair[int(rng.integers(2))], kind="lesion") for pair in order[:lesions]]
    spots += [twin for pair in order[lesions:] for twin in pair]
    missing = round(STRAYS * len(pairs))
    for seat in stray_seats(rng, tissue, regions, spacing):
        if missing == 0:
            break
        spot = _grow(rng, seat, _draw_look(rng, spacing), tissue, spacing, taken)
        if spot is not None:
            taken.append(spot)
            spots.append(replace(spot, kind="stray"))
            missing -= 1
    return spots


def _draw_look(rng: np.random.Generator, spacing: np.ndarray) -> Look:
    voxel = float(np.cbrt(spacing.prod()))  # spots grow with voxels that they would be lost in
    diameter = max(DIAMETER, 1.7 * voxel) * np.exp(SPREAD * rng.standard_normal())
    diameter = float(np.clip(diameter, max(SMALLEST, 1.2 * voxel), max(LARGEST, 3 * voxel)))
    darkness = rng.uniform(0.6, 1) if rng.uniform() < BLACK_HOLES else rng.uniform(0, 0.4)
    return Look(diameter, rng.uniform(), darkness)


def _alike(rng: np.random.Generator, look: Look) -> Look:
    """The look of one of two twins."""
    diameter = look.diameter * float(np.exp(0.07 * rng.standard_normal()))
    levels = np.array([look.brightness, look.darkness]) + rng.normal(0, 0.1, 2)
    return Look(diameter, *map(float, np.clip(levels, 0, 1)))


def _grow(
    rng: np.random.Generator, seat: Seat, look: Look, tissue: Tissue, spacing: np.ndarray, taken: list[Spot]
) -> Spot | None:
    """An uneven ellipsoid that touches the wall of its seat; None where it is too near others or too small."""
    stretch = rng.uniform(1.3, 1.9) if seat.elongated else rng.uniform(0.65, 0.95)
    radii = look.diameter / 2 * np.array([stretch, rng.uniform(0.85, 1.15) * stretch**-0.5, stretch**-0.5])
    centre = seat.centre if seat.gap is None else seat.centre + seat.away * (0.9 * radii[0] - seat.gap)
    for other in taken:
        between = np.linalg.norm(centre - other.centre) - 0.6 * (look.diameter + other.look.diameter)
        if between < CLEARANCE:
            return None
    middle, extent = centre / spacing, (1.2 * radii.max() + 1) / spacing + 1
    low = np.clip(np.floor(middle - extent), 0, np.array(tissue.wm.shape) - 1).astype(int)
    high = np.clip(np.ceil(middle + extent) + 1, low + 1, tissue.wm.shape).astype(int)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    share = _ellipsoid(rng, low, high, centre, radii, seat.away, spacing) * (tissue.wm[box] + tissue.gm[box])
    return Spot("twin", look, centre, box, share) if np.sum(share > 0.5) >= LEAST_VOXELS else None


def _ellipsoid(
    rng: np.random.Generator,
    low: np.ndarray,
    high: np.ndarray,
    centre: np.ndarray,
    radii: np.ndarray,
    first_axis: np.ndarray,
    spacing: np.ndarray,
) -> Field:
    """Share of the voxels from `low` to `high` that lies in an ellipsoid with a ragged border."""
    finer = np.clip(np.ceil(spacing / 0.8), 1, 6).astype(int)
    place = np.meshgrid(
        *(
            ((np.arange((b - a) * f) + 0.5) / f - 0.5 + a) * mm - c
            for a, b, f, mm, c in zip(low, high, finer, spacing, centre, strict=True)
        ),
        indexing="ij",
        sparse=True,
    )
    axes = np.linalg.qr(np.column_stack([first_axis, rng.standard_normal((3, 2))]))[0].T
    x, y, z = ((a * place[0] + b * place[1] + c * place[2]) / r for (a, b, c), r in zip(axes, radii, strict=True))
    reach = np.sqrt(x**2 + y**2 + z**2)
    ragged = 1 + 0.14 * smooth_noise(rng, reach.shape, 3.5 * finer / spacing)
    return block_mean(ramp((ragged - reach) * radii.min(), 1.0), finer)
