"""Where a glioma lies in a made-up brain: a core with a rim around necrosis, and edema along the white matter.

Distances are in millimetres, positive inside. Nesting is by construction: necrosis within enhancing within
non-enhancing tumour within edema.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .brain_anatomy import Tissue
from .fields import ramp, smooth_noise

Field = np.ndarray

TWO_FOCI = 0.25
"""Share of the tumours that have a second focus."""
CORE = (13.0, 23.0)  # millimetres: radius of a core
EDEMA = (9.0, 22.0)  # millimetres beyond the core, along white matter


@dataclass(frozen=True)
class Glioma:
    """Shares of a voxel, each 0..1, that the tumour takes from healthy tissue.

    Attributes:
        necrosis: Dead tissue in the middle.
        edema: Swollen tissue around the core.
        non_enhancing: Solid tumour that takes up no contrast agent.
        enhancing: Solid tumour that does: a rim around the necrosis.
        foci: How many tumours there are.
    """

    necrosis: Field
    edema: Field
    non_enhancing: Field
    enhancing: Field
    foci: int


def grow_glioma(rng: np.random.Generator, tissue: Tissue, depth: Field, spacing: np.ndarray) -> Glioma:
    """Grows a tumour of one or two foci in a brain.

    Args:
        rng: Source of randomness.
        tissue: The healthy brain.
        depth: Millimetres below the surface of the head, 0 outside.
        spacing: Millimetres per voxel (x, y, z).

    Returns:
        Shares of the tumour's tissues, arrays of the brain's shape.
    """
    warp = [4 * smooth_noise(rng, depth.shape, 18 / spacing) for _ in range(3)]
    core = np.full(depth.shape, -1e3, np.float32)
    reach = core.copy()  # of the edema
    foci = 0
    for radius in rng.uniform(*CORE) * np.array([1, 0.7] if rng.uniform() < TWO_FOCI else [1]):
        seats = _seats(tissue, depth, radius, core)
        if foci and not len(seats):
            break
        distance = _distance(rng, rng.choice(seats) * spacing, warp, spacing)
        core = np.maximum(core, radius - distance)
        reach = np.maximum(reach, radius + rng.uniform(*EDEMA) - distance)
        foci += 1

    core += 1.6 * smooth_noise(rng, depth.shape, 7 / spacing)
    shell = rng.uniform(4, 6.5) * np.clip(1 + 0.8 * smooth_noise(rng, depth.shape, 18 / spacing), 0.2, 2.5)
    rim = rng.uniform(3.5, 5.5) * np.clip(1 + 0.4 * smooth_noise(rng, depth.shape, 9 / spacing), 0.5, 2)
    grey = ndimage.gaussian_filter(tissue.gm, 1.2 / spacing)
    fingers = reach - 18 * grey + 2.5 * smooth_noise(rng, depth.shape, 9 / spacing)
    fingers = np.maximum(fingers, core + 4)

    soft, head = float(np.cbrt(spacing.prod())), tissue.csf + tissue.gm + tissue.wm
    solid = ramp(core, soft) * head
    lit = np.minimum(ramp(core - shell, soft) * head, solid)
    dead = np.minimum(ramp(core - shell - rim, soft) * head, lit)
    swollen = np.maximum(ramp(fingers, 1.5 * soft) * (tissue.gm + tissue.wm), solid)
    return Glioma(dead, swollen - solid, solid - lit, lit - dead, foci)


def _seats(tissue: Tissue, depth: Field, radius: float, others: Field) -> np.ndarray:
    """Voxels `(N, 3)` in the white matter of the cerebrum, deep enough and clear of other foci."""
    height = np.arange(depth.shape[2]) / depth.shape[2]
    cerebrum = (tissue.wm > 0.7) & (height > 0.36) & (height < 0.78)
    return np.argwhere(cerebrum & (depth > 0.55 * radius + 4) & (others < -radius - 10))


def _distance(rng: np.random.Generator, centre: np.ndarray, warp: list[Field], spacing: np.ndarray) -> Field:
    """Distance to a centre in a bent and stretched space."""
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    stretch = np.exp(rng.normal(0, 0.18, 3))
    metric = (turn * stretch / np.cbrt(stretch.prod())) @ turn.T
    place = np.meshgrid(
        *(np.arange(n) * s for n, s in zip(warp[0].shape, spacing, strict=True)), indexing="ij", sparse=True
    )
    offset = [(p - c).astype(np.float32) + w for p, c, w in zip(place, centre, warp, strict=True)]
    return np.sqrt(sum(np.square(sum(np.float32(a) * o for a, o in zip(row, offset, strict=True))) for row in metric))
