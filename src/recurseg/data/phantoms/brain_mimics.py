"""What looks like tumour in a single modality: vessels, plexus and dura with contrast agent, and artefacts."""

from __future__ import annotations

import numpy as np

from .brain_anatomy import Tissue
from .fields import ramp, smooth_noise

Field = np.ndarray


def contrast_agent(rng: np.random.Generator, tissue: Tissue, depth: Field, spacing: np.ndarray) -> Field:
    """Share of each voxel, 0..1, that is blood, choroid plexus or dura: all bright in T1c, in nothing else.

    Args:
        rng: Source of randomness.
        tissue: The healthy brain.
        depth: Millimetres below the surface of the head, 0 outside.
        spacing: Millimetres per voxel (x, y, z).
    """
    shape, soft = depth.shape, float(np.cbrt(spacing.prod()))
    first, second = (smooth_noise(rng, shape, 14 / spacing) for _ in range(2))
    line = np.hypot(*(f / np.sqrt(sum(g**2 for g in np.gradient(f, *spacing)) + 1e-4) for f in (first, second)))
    vessels = ramp(1.5 + 0.9 * np.clip(1 - depth / 30, 0, 1) - line, soft)  # wider near the surface
    plexus = ramp(depth - 28, 4) * tissue.csf * ramp(smooth_noise(rng, shape, 6 / spacing) - 0.7, 0.6)
    x = (np.arange(shape[0]) - (shape[0] - 1) / 2)[:, None, None] * spacing[0]
    sinus = ramp(4.5 - np.hypot(x, depth - 3), soft)
    dura = ramp(2.6 - depth, soft) * tissue.csf * ramp(smooth_noise(rng, shape, 25 / spacing) - 0.4, 0.6)
    return np.maximum.reduce([vessels, plexus, sinus, dura]) * (depth > 0)


def spots(rng: np.random.Generator, tissue: Tissue, spacing: np.ndarray) -> Field:
    """Share of each voxel, 0..1, in patches of 8-15 mm where an artefact looks like tumour; new ones every call."""
    noise = smooth_noise(rng, tissue.wm.shape, 11 / spacing)
    return ramp(noise - 1.85, 0.35) * (tissue.wm + tissue.gm)
