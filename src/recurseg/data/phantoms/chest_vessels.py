"""Vessels of made-up lungs: two trees that branch from the hila, as clouds of points."""

from __future__ import annotations

import numpy as np

from .chest_anatomy import Chest
from .chest_projection import Cloud, join, strips

Trunks = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Vessels: where they start `(N, 3)` and head to `(N, 3)`, length and radius in cm `(N,)`."""


def vessels(rng: np.random.Generator, chest: Chest, step: float) -> Cloud:
    """Arteries and veins that branch from the two hila into the lungs; volumes in cm³ of blood."""
    width, height = chest.width, chest.height
    clouds = []
    for s, level in ((-1, 0.47), (1, 0.43)):
        hilum = np.array([s * 0.27 * width, level * height, 0])
        fan = np.radians([-75, -50, -25, 5, 30, 52, 72, 84]) + rng.normal(0, 0.12, 8)
        reach = width * np.array([0.5, 0.5, 0.45, 0.4, 0.45, 0.5, 0.55, 0.5])
        radius = width * np.array([0.05, 0.048, 0.044, 0.044, 0.05, 0.06, 0.062, 0.052])
        start = hilum + np.stack([0 * fan, 0.09 * height * np.sin(fan), rng.normal(0, 0.1 * chest.depth, 8)], -1)
        lean = rng.normal(0, 0.25, 8)
        heading = np.stack([s * np.cos(fan) * np.cos(lean), np.sin(fan) * np.cos(lean), np.sin(lean)], -1)
        for _ in range(5):
            start, heading, reach, radius = _branch(rng, clouds, (start, heading, reach, radius), step)
    return join(clouds)


def _branch(rng: np.random.Generator, clouds: list[Cloud], trunks: Trunks, step: float) -> Trunks:
    """Adds one generation of vessels to `clouds` and returns the next: of each two twigs on its way and its end."""
    start, heading, reach, radius = trunks
    n = len(start)
    count = max(4, int(np.ceil(1.4 * float(reach.mean()) / step)))
    t = (np.arange(count) / count)[:, None]
    bend = rng.normal(0, 0.16, (n, 3)) * reach[:, None]
    path = start[:, None] + (reach[:, None] * heading)[:, None] * t + bend[:, None] * t**2  # (n, count, 3)
    thick = radius[:, None] * (1 - 0.4 * t[:, 0])
    x, share = strips(float(radius.max()), step)
    normal = np.stack([-heading[:, 1], heading[:, 0], 0 * radius], -1)
    points = path[:, :, None] + (thick[..., None] * x)[..., None] * normal[:, None, None]  # (n, count, strips, 3)
    volume = (np.pi * thick**2 * reach[:, None] / count)[..., None] * share
    clouds.append(Cloud(points.reshape(-1, 3), volume.ravel()))

    at = np.stack([rng.uniform(0.3, 0.55, n), rng.uniform(0.6, 0.85, n), np.full(n, 1 - 1 / count)], 1)
    place = np.arange(n)[:, None], (at * count).astype(int)
    side = rng.choice([-1, 1], (n, 1)) * [1, -1, 0]  # a twig to each side, the end goes on
    fork = side * rng.uniform(0.4, 0.8, (n, 3)) + rng.normal(0, [0, 0, 0.2], (n, 3))
    x, y, z = np.moveaxis(heading[:, None] + 2 * (bend / reach[:, None])[:, None] * at[..., None], -1, 0)
    new = [np.cos(fork) * x - np.sin(fork) * y, np.sin(fork) * x + np.cos(fork) * y, z + rng.normal(0, 0.15, (n, 3))]
    onward = np.stack(new, -1) / np.linalg.norm(new, axis=0)[..., None]
    shorter, thinner = reach[:, None] * rng.uniform(0.5, 0.8, (n, 3)), thick[place] * [0.7, 0.72, 0.95]
    return path[place].reshape(-1, 3), onward.reshape(-1, 3), shorter.ravel(), thinner.ravel()
