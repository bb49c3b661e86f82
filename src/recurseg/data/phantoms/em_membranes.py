"""Neural tissue in serial-section electron microscopy: cells, their membranes and what lies inside them.

Cells are the regions of an anisotropic Voronoi diagram in warped coordinates, so that they run on from section to
section as bent tubes. A section is the mean of several planes through its thickness: where a membrane is cut
obliquely it comes out wide and pale, as under the microscope. Lengths are in pixels of 4 nm; a section is 50 nm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .em_organelles import cell_interiors, dirt, synapses
from .fields import generator, ramp, smooth_noise

DEFAULT_SIZE = (20, 256, 256)
SPACING = (50e-6, 4e-6, 4e-6)
"""Millimetres per voxel: section, row, column."""
MEMBRANE, CELL = 0, 255

SECTION = 12.5  # thickness of a section in pixels
PLANES = 4  # planes averaged into a section


@dataclass(frozen=True)
class Cells:
    """What runs through the stack, one entry a cell.

    Attributes:
        centre: `(N, 3)` (z, y, x) in pixels.
        tilt: `(N, 2)` pixels in (y, x) that the axis moves per pixel of depth.
        radius: `(N,)` pixels in plane.
        length: `(N,)` half length along the axis in pixels.
        ellipse: `(N, 2, 2)` in-plane metric of determinant 1.
    """

    centre: np.ndarray
    tilt: np.ndarray
    radius: np.ndarray
    length: np.ndarray
    ellipse: np.ndarray


def em_membranes(
    *, size: tuple[int, int, int] = DEFAULT_SIZE, seed: int = 0, case: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Makes one stack.

    Args:
        size: Sections, rows, columns.
        seed: Of the data set.
        case: Index of the stack in the data set.

    Returns:
        Image, uint8 `(D, H, W)`, and label, uint8 `(D, H, W)`: 0 membrane, 255 cell.
    """
    rng = generator("em_membranes", seed, case, size)
    cells = _pack(rng, size)
    owner, distance, crossed = _cut(rng, cells, size)
    half = (2.1 + 0.4 * smooth_noise(rng, size, (2, 24, 24)))[:, None]  # half thickness
    membrane = np.mean(np.maximum(ramp(half - distance, 1.8), crossed), 1)
    filled = ndimage.gaussian_filter(membrane, (0, 2.5, 2.5))  # corners where three cells meet are filled
    membrane = np.maximum(membrane, ramp(filled - 0.72, 0.25))
    annotated = np.mean(np.maximum(distance < half - 1.1, crossed), 1) + ramp(filled - 0.58, 0.2)
    annotated = _without_specks(ndimage.gaussian_filter(annotated, (0, 1, 1)) > 0.47)
    contrast = 98 + 18 * smooth_noise(rng, size, (1.5, 20, 20))
    inside = distance.min(1)
    darkness = contrast * membrane + cell_interiors(rng, cells, owner, inside)
    darkness = np.maximum(darkness, synapses(rng, inside < 1)) + dirt(rng, size)
    return _expose(rng, darkness), np.where(annotated, MEMBRANE, CELL).astype(np.uint8)


def _pack(rng: np.random.Generator, size: tuple[int, int, int]) -> Cells:
    """Packs cells of widely differing size, large ones first, into the stack and a margin around it."""
    extent, margin = np.array([size[0] * SECTION, size[1], size[2]]), np.array([60.0, 40.0, 40.0])
    tries = int(np.prod(extent + 2 * margin) / 4000)
    radius = np.sort(np.clip(np.exp(rng.normal(2.62, 0.45, tries)), 8, 46))[::-1]
    centre = rng.uniform(-margin, extent + margin, (tries, 3))
    stretch = rng.uniform(3, 8, tries)
    kept: list[int] = []
    for i in range(tries):
        apart = centre[kept] - centre[i]
        apart[:, 0] /= (stretch[kept] + stretch[i]) / 2
        if np.all(np.linalg.norm(apart, axis=1) > 0.8 * (radius[kept] + radius[i])):
            kept.append(i)
    n = len(kept)
    angle, aspect = rng.uniform(0, np.pi, n), np.exp(rng.normal(0, 0.35, n))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    ellipse = turn @ (np.stack([aspect, 1 / aspect], -1)[:, :, None] * turn.transpose(0, 2, 1))
    tilt = rng.normal(0, 0.26, (n, 2)) + rng.normal(0, 0.15, 2)
    return Cells(centre[kept], tilt, radius[kept], (radius * stretch)[kept], ellipse)


def _cut(
    rng: np.random.Generator, cells: Cells, size: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cuts the cells into sections, each of `PLANES` planes.

    Returns:
        Cell index in the middle of each section `(D, H, W)`; pixels to the next membrane in the plane
        `(D, PLANES, H, W)`; whether a membrane is crossed on the way to the next plane `(D, PLANES, H, W)`.
    """
    sections, height, width = size
    step = SECTION / PLANES
    shape = (sections * PLANES, height, width)
    bend = [
        11 * smooth_noise(rng, shape, (70 / step, 55, 55)) + 2.2 * smooth_noise(rng, shape, (50 / step, 14, 14))
        for _ in range(2)
    ]
    shifted = [
        np.float32(1.2) * rng.standard_normal((sections, 1, 1), np.float32)
        + 3.2 * smooth_noise(rng, size, (1, 70, 70))
        for _ in range(2)
    ]
    grid = np.mgrid[:height, :width].astype(np.float32)
    owner, distance = np.empty(shape, np.int16), np.empty(shape, np.float32)
    for k in range(len(owner)):
        z = (k + 0.5) * step
        y, x = (grid[a] + bend[a][k] + shifted[a][k // PLANES] for a in range(2))
        near = _within_reach(cells, z)
        powers = np.stack([np.ones_like(x), y, x, y * y, 2 * y * x, x * x]).reshape(6, -1)
        owner[k] = _smallest(_plane_quadrics(cells, z)[near] @ powers, near).reshape(height, width)
        distance[k] = _to_border(owner[k])
    owner, distance = (a.reshape(sections, PLANES, height, width) for a in (owner, distance))
    crossed = np.diff(owner, axis=1, append=owner[:, -1:]) != 0
    return owner[:, PLANES // 2], distance, crossed


def _within_reach(cells: Cells, z: float) -> np.ndarray:
    """Indices of the cells that can own a part of the plane at depth z."""
    depth = np.abs(z - cells.centre[:, 0]) / cells.length
    return np.flatnonzero(depth < max(1.25, float(depth.min())) + 1e-6)


def _smallest(scores: np.ndarray, names: np.ndarray) -> np.ndarray:
    """For each column of `scores` the name of the row with the least value (argmin over rows is ten times slower)."""
    best, winner = scores[0].copy(), np.full(scores.shape[1], names[0], np.int16)
    for row, name in zip(scores[1:], names[1:], strict=True):
        better = row < best
        np.copyto(best, row, where=better)
        winner[better] = name
    return winner


def _plane_quadrics(cells: Cells, z: float) -> np.ndarray:
    """Each cell's squared distance at depth z as coefficients `(N, 6)` of 1, y, x, yy, 2yx, xx."""
    depth = z - cells.centre[:, 0]
    centre = cells.centre[:, 1:] + cells.tilt * depth[:, None]
    metric = cells.ellipse / cells.radius[:, None, None] ** 2
    pull = np.einsum("nij,nj->ni", metric, centre)
    constant = np.sum(centre * pull, 1) + (depth / cells.length) ** 2
    rows = [constant, -2 * pull[:, 0], -2 * pull[:, 1], metric[:, 0, 0], metric[:, 0, 1], metric[:, 1, 1]]
    return np.stack(rows, 1).astype(np.float32)


def _to_border(owner: np.ndarray) -> np.ndarray:
    """Pixels from each pixel to the nearest border between two cells of one plane."""
    border = np.zeros(owner.shape, bool)
    for axis in range(2):
        differs = np.diff(owner, axis=axis) != 0
        border |= np.pad(differs, [(0, int(a == axis)) for a in range(2)])
        border |= np.pad(differs, [(int(a == axis), 0) for a in range(2)])
    if not border.any():
        return np.full(owner.shape, max(owner.shape), np.float32)
    return np.asarray(ndimage.distance_transform_edt(~border), np.float32)


def _without_specks(membrane: np.ndarray) -> np.ndarray:
    """Drops membrane islands below 150 pixels and fills cell fragments below 40, as an annotator does."""
    in_plane = np.zeros((3, 3, 3), int)
    in_plane[1] = ndimage.generate_binary_structure(2, 1)
    for least in (40, 150):
        membrane = ~membrane
        parts = np.empty(membrane.shape, np.int32)
        ndimage.label(membrane, in_plane, output=parts)
        membrane &= (np.bincount(parts.ravel()) >= least)[parts]
    return membrane


def _expose(rng: np.random.Generator, darkness: np.ndarray) -> np.ndarray:
    """The micrograph: point spread, uneven light, brightness and contrast of each section, noise, 8 bits."""
    size = darkness.shape
    light = 8 * smooth_noise(rng, size, (1, 120, 120))
    gain = rng.normal(1, 0.06, (size[0], 1, 1))
    offset = rng.normal(0, 9, (size[0], 1, 1))
    image = 164 - gain * ndimage.gaussian_filter(darkness, (0, 0.8, 0.8)) + light + offset
    grain = rng.standard_normal(size, dtype=np.float32)
    image += 9 * grain + 15 * ndimage.gaussian_filter(rng.standard_normal(size, np.float32), (0, 1, 1)) / 0.28
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
