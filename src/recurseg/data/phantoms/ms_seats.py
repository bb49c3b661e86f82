"""Where bright spots sit in a made-up brain: at the ventricles and the cortex, opposite each other, and elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

from .brain_anatomy import Tissue

Field = np.ndarray

MIDLINE = 15.0
"""Millimetres from the middle plane that every paired seat keeps: the opposite one is at least twice as far away."""
OPPOSITE = 5.0
"""Millimetres by which the two seats of a pair may fail to be mirror images; more where voxels are larger."""
PERIVENTRICULAR, JUXTACORTICAL = (1.0, 7.0), (0.0, 3.5)
"""Millimetres of white matter between a seat and the ventricle, or the cortex."""
TRIES = 400
"""Seats of a kind that are tried in one brain."""


@dataclass(frozen=True)
class Seat:
    """A place for the middle of a spot, and the wall that the spot touches.

    Attributes:
        centre: Millimetres from the first voxel (x, y, z).
        away: Unit vector away from the wall; any direction where there is none.
        gap: Millimetres to the wall; None where there is none.
        elongated: Whether spots stretch along `away`, as lesions do at the ventricles, or are flattened along it.
    """

    centre: np.ndarray
    away: np.ndarray
    gap: float | None
    elongated: bool


@dataclass(frozen=True)
class Regions:
    """Distances in millimetres and masks that say what lies where, `(x, y, z)`."""

    to_ventricle: Field
    to_cortex: Field
    white: Field
    cerebrum: Field
    nuclei: Field


def find_regions(tissue: Tissue, spacing: np.ndarray) -> Regions:
    """Finds walls and tissues in a brain of voxels of `spacing` millimetres (x, y, z)."""
    x, y, z = tissue.place
    nuclei = (x / 34) ** 2 + ((y + 2) / 40) ** 2 + ((z - 2) / 22) ** 2 < 1
    cerebrum = z > -14 - 0.1 * y
    return Regions(
        to_ventricle=_distance((tissue.ventricle > 0.5) & (z > -4), spacing),
        to_cortex=_distance((tissue.gm > 0.5) & ~nuclei & cerebrum, spacing),
        white=tissue.wm > 0.6,
        cerebrum=cerebrum,
        nuclei=nuclei,
    )


def opposite_seats(
    rng: np.random.Generator, tissue: Tissue, regions: Regions, spacing: np.ndarray
) -> Iterator[tuple[Seat, Seat]]:
    """Pairs of seats opposite each other, right and left, at a ventricle or at the cortex by even chance."""
    lateral = regions.white & regions.cerebrum & (np.abs(tissue.place[0]) > MIDLINE)
    reach = 0.6 * spacing.max()  # a coarse grid has no voxel nearer to a wall
    periventricular = lateral & _within(regions.to_ventricle, PERIVENTRICULAR, reach)
    juxtacortical = lateral & ~regions.nuclei & _within(regions.to_cortex, JUXTACORTICAL, reach)
    queues = [
        _opposite(rng, tissue.place, periventricular, regions.to_ventricle, spacing, elongated=True),
        _opposite(rng, tissue.place, juxtacortical, regions.to_cortex, spacing, elongated=False),
    ]
    while queues:
        queue = queues[int(rng.integers(len(queues)))]
        pair = next(queue, None)
        if pair is None:
            queues.remove(queue)
        else:
            yield pair


def stray_seats(rng: np.random.Generator, tissue: Tissue, regions: Regions, spacing: np.ndarray) -> Iterator[Seat]:
    """Seats where MS has no lesions here: deep nuclei, brain stem, white matter far from ventricle and cortex."""
    deep = regions.white & regions.cerebrum & (regions.to_ventricle > 10) & (regions.to_cortex > 6)
    stem = regions.white & (tissue.place[2] < -20) & (np.abs(tissue.place[0]) < 20)
    for voxel in rng.permutation(np.argwhere(deep | stem | (regions.nuclei & (tissue.gm > 0.7))))[:TRIES]:
        centre = (voxel + rng.uniform(-0.5, 0.5, 3)) * spacing
        yield Seat(centre, _unit(rng.standard_normal(3)), None, bool(rng.integers(2)))


def _opposite(
    rng: np.random.Generator, place: Field, mask: Field, distance: Field, spacing: np.ndarray, *, elongated: bool
) -> Iterator[tuple[Seat, Seat]]:
    voxels = np.argwhere(mask)
    where = place[:, *voxels.T].T
    right, left = (np.flatnonzero(sign * where[:, 0] > 0) for sign in (1, -1))
    if not len(right) or not len(left):
        return
    right = rng.permutation(right)[:TRIES]
    apart, nearest = map(np.asarray, KDTree(where[left]).query(where[right] * (-1, 1, 1)))
    near = apart < max(OPPOSITE, 0.7 * spacing.max())
    for pair in zip(voxels[right[near]], voxels[left[nearest[near]]], strict=True):
        shift = rng.uniform(-0.5, 0.5, 3)  # voxels: seats lie between them, too
        shifted = zip(pair, (shift, shift * (-1, 1, 1)), strict=True)
        one, other = (_seat(rng, voxel, s, distance, spacing, elongated) for voxel, s in shifted)
        yield one, other


def _seat(
    rng: np.random.Generator,
    voxel: np.ndarray,
    shift: np.ndarray,
    distance: Field,
    spacing: np.ndarray,
    elongated: bool,
) -> Seat:
    away = _unit(_gradient(distance, voxel, spacing) + 0.1 * rng.standard_normal(3))
    return Seat((voxel + shift) * spacing, away, float(distance[*voxel]), elongated)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def _distance(mask: Field, spacing: np.ndarray) -> Field:
    """Millimetres from every voxel to the nearest one of the mask."""
    distance = np.full(mask.shape, np.inf)
    if mask.any():
        ndimage.distance_transform_edt(~mask, sampling=spacing, distances=distance)
    return distance


def _within(distance: Field, band: tuple[float, float], reach: float) -> Field:
    return (distance > band[0]) & (distance < max(band[1], reach))


def _gradient(field: Field, voxel: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Slope of a field at a voxel, over some 2 mm to either side."""
    slope = np.zeros(3)
    for axis, mm in enumerate(spacing):
        step = max(1, round(2 / mm))
        low, high = voxel.copy(), voxel.copy()
        low[axis], high[axis] = max(voxel[axis] - step, 0), min(voxel[axis] + step, field.shape[axis] - 1)
        slope[axis] = (field[*high] - field[*low]) / ((high - low)[axis] * mm)
    return slope
