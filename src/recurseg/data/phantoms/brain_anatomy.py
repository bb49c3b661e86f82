"""Where the tissues of a made-up brain lie: distances in millimetres to a hull, sulci, ventricles and nuclei.

x runs to the right, y to the front, z up; the origin is near the middle of the brain. Distances are positive inside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .fields import band_noise, ramp, smooth_noise

Field = np.ndarray


@dataclass(frozen=True)
class Tissue:
    """Shares of a voxel, each 0..1: what is not CSF, grey or white matter is background.

    Attributes:
        csf: Cerebrospinal fluid.
        gm: Grey matter, cortex and nuclei.
        wm: White matter.
        myelin: How far grey matter looks like white matter: near 0 in cortex, more in the nuclei.
        ventricle: Fluid of the ventricles, a part of `csf`.
        place: Where a voxel would lie in an upright brain of average size, `(3, ...)` millimetres: -x is the place
            opposite to x in the other hemisphere.
    """

    csf: Field
    gm: Field
    wm: Field
    myelin: Field
    ventricle: Field
    place: Field


TILT = 0.05
"""Radians, standard deviation, by which a head is turned around each axis."""


def grow_brain(rng: np.random.Generator, shape: tuple[int, ...], step: np.ndarray, *, tilt: float = TILT) -> Tissue:
    """Draws one person's anatomy on a grid.

    Args:
        rng: Source of randomness.
        shape: Voxels (x, y, z).
        step: Millimetres per voxel (x, y, z).
        tilt: Radians, standard deviation, by which the head is turned around each axis.

    Returns:
        Shares of the tissues, float32 arrays of `shape`, and the place of every voxel.
    """
    soft = float(step.max())
    x, y, z = _person(rng, shape, step, tilt)
    cerebrum, dome, lobe = _hull(x, y, z)
    fissure = _fissures(x, y, z, lobe)
    core = _ellipsoid(x, y, z, (0, -2, 4), (30, 50, 24))  # no sulcus reaches the nuclei
    depth = np.minimum(np.maximum(dome, lobe), fissure + 11) + 3 * np.clip(core, 0, None)
    furrow = np.minimum(fissure, _sulci(rng, (x, y, z), step, depth))
    width = rng.uniform(0.15, 0.5)  # half width of a sulcus: grows with age
    thickness = rng.uniform(2.7, 3.4) + 0.3 * smooth_noise(rng, shape, 20 / step)
    pia = np.minimum(cerebrum, furrow - width)
    brain = ramp(pia, soft)
    white = ramp(pia - thickness, soft)

    nuclei, myelin = _nuclei(rng, x, y, z)
    grey = ramp(nuclei, soft)
    white *= 1 - grey
    cerebellum, folia, core = _cerebellum(rng, shape, step, x, y, z)
    behind = ramp(cerebellum, soft)
    brain = brain * ramp(-1.3 - cerebellum, soft) + behind * (1 - folia)
    white = white * ramp(-1.3 - cerebellum, soft) + behind * core
    stem = ramp(_stem(x, y, z), soft)
    brain, white = np.maximum(brain, stem), np.maximum(white, 0.9 * stem)

    fluid = ramp(_ventricles(rng, x, y, z), soft)
    brain *= 1 - fluid
    white = np.minimum(white * (1 - fluid), brain)
    shell = 1.7 + rng.uniform(0, 1.3) + 0.8 * smooth_noise(rng, shape, 30 / step)  # left by skull stripping
    skull = np.maximum.reduce([cerebrum, cerebellum, _stem(x, y, z), _cisterns(x, y, z)])
    head = np.maximum(ramp(skull + shell, soft), brain)
    cortical = 0.1 + 0.1 * smooth_noise(rng, shape, 25 / step)
    myelin = np.where(grey > 0.5, myelin, cortical)
    return Tissue(head - brain, brain - white, white, myelin, fluid, np.stack([x, y, z]))


def _person(rng: np.random.Generator, shape: tuple[int, ...], step: np.ndarray, tilt: float) -> list[Field]:
    """Standard coordinates of every voxel: size, posture and asymmetry of one person."""
    a, b, c = rng.normal(0, tilt, 3)  # radians around x, y, z
    turn = np.array([[1, -c, b], [c, 1, -a], [-b, a, 1]]) / rng.normal(1, 0.035, 3)[:, None]
    place = np.meshgrid(
        *((np.arange(n, dtype=np.float32) - (n - 1) / 2) * s for n, s in zip(shape, step, strict=True)),
        indexing="ij",
        sparse=True,
    )
    offset = rng.normal((0, 2, -4), 2)
    return [
        sum(np.float32(turn[i, j]) * place[j] for j in range(3))
        + np.float32(offset[i])
        + 2.2 * smooth_noise(rng, shape, 45 / step)
        for i in range(3)
    ]


def _ellipsoid(x: Field, y: Field, z: Field, centre: tuple[float, ...], axes: tuple[float, ...]) -> Field:
    """Distance to an ellipsoid's surface, positive inside (first order: exact at the surface)."""
    squared = np.full(x.shape, 1e-6, np.float32)  # of the radius, relative to the surface
    slope = np.full(x.shape, 1e-9, np.float32)
    for p, c, a in zip((x, y, z), centre, axes, strict=True):
        u = np.square(p - c)
        u *= a**-2
        squared += u
        u *= a**-2
        slope += u
    return (np.sqrt(squared) - squared) / np.sqrt(slope)


def _smooth_min(a: Field, b: Field, width: float) -> Field:
    """The smaller of two fields with a rounded corner."""
    mix = np.clip(0.5 + (b - a) / (2 * width), 0, 1)
    return b + mix * (a - b) - width * mix * (1 - mix)


def _hull(x: Field, y: Field, z: Field) -> tuple[Field, Field, Field]:
    """Distances into the cerebrum, into the dome that it fills but for its floor, and into the temporal lobes."""
    dome = _ellipsoid(x, y, z, (0, 0, 4), (68, 85, 60))
    upper = _smooth_min(dome, z + 16, 12)
    lobe = _ellipsoid(np.abs(x), y, z, (42, 4, -18), (25, 44, 21))
    return np.maximum(upper, lobe), dome, lobe


def _fissures(x: Field, y: Field, z: Field, lobe: Field) -> Field:
    """Distance to the fissures between the hemispheres and above the temporal lobes."""
    middle = np.sqrt(((y + 4) / 50) ** 2 + ((z - 0) / 25) ** 2)
    between = np.hypot(x, 25 * np.clip(1 - middle, 0, None))
    sylvian = np.hypot(lobe, np.clip(34 - np.abs(x), 0, None) + np.clip(-22 - y, 0, None))
    return np.minimum(between, sylvian)


def _sulci(rng: np.random.Generator, place: tuple[Field, ...], step: np.ndarray, depth: Field) -> Field:
    """Distance to the nearest sulcus: sheets that go in from the surface, 10-30 mm deep, and shallower ones."""
    coarse, grid = 2.9, (64, 64, 64)  # millimetres, knots: 186 mm until the waves repeat
    inward = np.clip(1 - depth / 60, 0.3, 1.1) ** -0.6  # a sheet changes little along the way in
    wander = [3.5 * smooth_noise(rng, depth.shape, 16 / step) for _ in range(3)]
    points = [(p * inward + w) / coarse + n / 2 for p, w, n in zip(place, wander, grid, strict=True)]
    deepest = 20 + 3.5 * smooth_noise(rng, depth.shape, 22 / step)
    nearest = np.full(depth.shape, 99, np.float32)
    for wavelength, reach in ((27.0, deepest), (15.0, 0.4 * deepest)):
        waves = band_noise(rng, grid, wavelength / coarse, 0.22)
        field = ndimage.map_coordinates(waves, points, order=1, mode="grid-wrap")
        slope = np.sqrt(sum(g**2 for g in np.gradient(field, *step))) + 0.02
        nearest = np.minimum(nearest, np.hypot(field / slope, np.clip(depth - reach, 0, None)))
    return nearest


def _nuclei(rng: np.random.Generator, x: Field, y: Field, z: Field) -> tuple[Field, Field]:
    """Distance into the nearest deep nucleus, and how myelinated that one is."""
    side = np.abs(x)
    caudate = _ellipsoid(side - 0.006 * (y - 2) ** 2, y, z + 0.2 * (y - 10), (14.5, 12, 7), (4.5, 20, 8))
    putamen = _ellipsoid(side, y, z, (26, 4, -1), (5.5, 19, 11))
    pallidum = _ellipsoid(side, y, z, (19.5, 0, -3), (4, 9, 7))
    thalamus = _ellipsoid(side, y, z, (10.5, -16, 2), (9, 15, 9))
    bodies = np.stack([caudate, putamen, pallidum, thalamus])
    myelin = np.array([0.2, 0.25, 0.7, 0.55], np.float32) + rng.normal(0, 0.05, 4).astype(np.float32)
    return bodies.max(0), myelin[bodies.argmax(0)]


def _ventricles(rng: np.random.Generator, x: Field, y: Field, z: Field) -> Field:
    """Distance into the nearest ventricle."""
    side, size = np.abs(x), float(np.exp(rng.normal(0, 0.15)))
    body = _ellipsoid(side - 0.006 * (y - 2) ** 2, y, z + 0.004 * (y - 5) ** 2, (7, 0, 13), (6 * size, 38, 8 * size))
    atrium = _ellipsoid(side - 0.25 * (y + 36), y, z, (18, -38, 7), (6 * size, 15, 9 * size))
    third = _ellipsoid(x, y, z, (0, -8, -4), (2.2 * size, 14, 10))
    fourth = _ellipsoid(x, y, z, (0, -36, -38), (6 * size, 4.5, 9))
    return np.maximum.reduce([body, atrium, third, fourth])


def _stem(x: Field, y: Field, z: Field) -> Field:
    """Distance into the brain stem."""
    bulb = _ellipsoid(x, y, z, (0, -22, -32), (17, 13, 15))
    tube = np.minimum(11.5 + 0.05 * (z + 30) - np.hypot(x, y + 26 - 0.1 * (z + 40)), np.minimum(-z - 6, z + 68))
    return np.maximum(bulb, tube)


def _cisterns(x: Field, y: Field, z: Field) -> Field:
    """Distance into the fluid spaces under the brain."""
    return _ellipsoid(x, y, z, (0, -14, -20), (22, 26, 12))


def _cerebellum(
    rng: np.random.Generator, shape: tuple[int, ...], step: np.ndarray, x: Field, y: Field, z: Field
) -> tuple[Field, Field, Field]:
    """Distance into the cerebellum, share of fluid between its folia and share of its branching white core."""
    side = np.abs(x)
    body = np.maximum(
        _ellipsoid(side, y, z, (24, -52, -38), (29, 27, 21)), _ellipsoid(x, y, z, (0, -54, -36), (16, 25, 20))
    )
    across = z + 0.45 * (y + 50) + 0.15 * side + 1.5 * smooth_noise(rng, shape, 18 / step)
    folia = 0.7 * ramp(np.cos(2 * np.pi * across / 7.5) - 0.8, 0.4) * ramp(7 - body, 4)
    core = ramp(body - 10 - 5 * np.cos(2 * np.pi * across / 13), 2.5) * ramp(body - 3, 2)
    return body, folia, core
