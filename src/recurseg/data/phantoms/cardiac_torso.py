"""What lies around the heart in short-axis slices: lungs, chest wall, liver, stomach, and vessels as bright as it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .cardiac_anatomy import Heart
from .fields import ramp, smooth_noise


@dataclass(frozen=True)
class Plane:
    """Where the pixels of a stack are, in millimetres from the left ventricle's axis.

    Attributes:
        x: `(columns, 1, slices)` to the image's right, which is the patient's left.
        y: `(1, rows, slices)` to the bottom. Breathing shifts the slices against each other.
        z: `(slices,)` from the apex to the base.
        pixel: Side of a pixel.
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    pixel: float

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.x.shape[0], self.y.shape[1], len(self.z)

    def noise(self, rng: np.random.Generator, millimetres: float) -> np.ndarray:
        """Smooth random field, independent from slice to slice."""
        scale = max(millimetres / self.pixel, 1.0)
        return smooth_noise(rng, self.shape, (scale, scale, 1))

    def disc(self, x: float, y: float, radius: float) -> np.ndarray:
        """Soft disc in every slice."""
        return ramp(radius - np.hypot(self.x - x, self.y - y), self.pixel)


def over(signal: np.ndarray | float, mask: np.ndarray, value: np.ndarray | float) -> np.ndarray:
    """Paints `value` on the signal where the mask, 0 to 1, is."""
    return signal + mask * (value - signal)


def torso(rng: np.random.Generator, plane: Plane, heart: Heart, tissue: Mapping[str, float]) -> np.ndarray:
    """Signal of all that does not beat, `(columns, rows, slices)`.

    Args:
        rng: Source of randomness.
        plane: Where the pixels are.
        heart: It lies on the diaphragm and close to the chest wall; what is near its base and its apex differs.
        tissue: Signal of lung, blood, muscle, fat, liver and bone.
    """
    pixel, height = plane.pixel, plane.z / heart.length
    outer = heart.radius + float(heart.wall.mean())
    waves = plane.noise(rng, 45)
    vessels = ramp(plane.noise(rng, 6) - 2.1, 0.4)
    signal = tissue["lung"] + (0.7 * tissue["blood"] - tissue["lung"]) * vessels

    inward, along = -0.5 * plane.x - 0.86 * plane.y, 0.86 * plane.x - 0.5 * plane.y
    mediastinum = ramp(rng.uniform(26, 40) + 8 * waves - np.abs(along + 12), pixel) * ramp(inward, pixel)
    signal = over(signal, mediastinum, tissue["fat"] * (0.85 + 0.08 * plane.noise(rng, 8)))

    floor = outer + rng.uniform(0, 8) + 12 * (height - 0.5) + 0.12 * plane.x + 5 * waves
    below = ramp(plane.y - floor, pixel)
    liver = tissue["liver"] * (1 + 0.05 * plane.noise(rng, 12))
    liver = over(liver, ramp(plane.noise(rng, 9) - 1.5, 0.3), 0.85 * tissue["blood"])
    signal = over(signal, below, liver)
    bowel = ramp(plane.x - rng.uniform(15, 35) - 6 * waves, pixel) * ramp(plane.y - floor - 5, pixel)
    content = rng.uniform(0.05, 0.9) * tissue["fat"]
    signal = over(signal, bowel, over(content, ramp(plane.noise(rng, 18), 0.5), tissue["muscle"]))
    signal = over(signal, below * ramp(3 - np.abs(plane.y - floor - 3), 2), tissue["fat"])

    wall = inward - outer - rng.uniform(18, 30) + 4 * waves
    signal = over(signal, ramp(wall, pixel), tissue["muscle"] * (1 + 0.15 * plane.noise(rng, 5)))
    ribs = 8 - np.hypot((along + rng.uniform(0, 30)) % 30 - 15, 1.6 * (wall - 9))
    signal = over(over(signal, ramp(ribs, pixel), tissue["bone"]), ramp(ribs - 2.5, pixel), 0.6 * tissue["fat"])
    signal = over(signal, ramp(wall - 18, pixel), tissue["fat"] * (1 + 0.06 * plane.noise(rng, 8)))
    signal = over(signal, ramp(wall - rng.uniform(30, 45), pixel), 0.0)

    for x, y, radius, lowest, highest in (
        (40, outer + 28, 11.5, -1, 9),  # descending aorta
        (-42, outer + 20, 12, -1, 0.8),  # inferior vena cava
        (-70, 24, 21, 0.75, 9),  # right atrium
        (-8, -outer - 18, 12, 0.8, 9),  # pulmonary trunk
        (outer + 16, 16, 8, 0.7, 9),  # pulmonary vein
    ):
        x, y, radius = x + rng.normal(0, 4), y + rng.normal(0, 4), radius * rng.uniform(0.85, 1.15)
        there = ramp(height - lowest, 0.2) * ramp(highest - height, 0.2)
        signal = over(signal, plane.disc(x, y, radius + 2) * there, tissue["muscle"])
        signal = over(signal, plane.disc(x, y, radius) * there, rng.uniform(0.9, 1.05) * tissue["blood"])
    return signal * (1 + 0.03 * plane.noise(rng, 3))
