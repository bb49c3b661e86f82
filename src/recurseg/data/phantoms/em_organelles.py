"""What electron micrographs of neurites show besides membranes: it is dark too, and it is not membrane."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import oaconvolve

from .fields import ramp, smooth_noise

if TYPE_CHECKING:
    from .em_membranes import Cells


def cell_interiors(rng: np.random.Generator, cells: Cells, owner: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Darkness (grey values) of cytoplasm, reticulum, vesicles, microtubules and mitochondria.

    Args:
        rng: Source of randomness.
        cells: The cells of the stack.
        owner: Cell index `(D, H, W)`.
        inside: Pixels to the nearest membrane `(D, H, W)`.

    Returns:
        float32 `(D, H, W)`, 0 for plain cytoplasm, larger is darker.
    """
    size, n = owner.shape, len(cells.radius)
    tone = (rng.normal(0, 9, n) + 30 * (rng.uniform(size=n) < 0.08)).astype(np.float32)
    grain = (9 + rng.gamma(2, 3, n)).astype(np.float32)
    cytoplasm = tone[owner] + grain[owner] * smooth_noise(rng, size, (1, 4, 4))
    cytoplasm += 15 * smooth_noise(rng, size, (1.5, 14, 14))
    room = ramp(inside - 4, 3)
    spots = _reticulum(rng, size) + _vesicles(rng, size) + _microtubules(rng, size)
    darkness = cytoplasm * ramp(inside - 2, 3) + room * spots
    for k in rng.permutation(np.flatnonzero(cells.radius > 15)):
        if rng.uniform() < 0.55:
            _mitochondrion(rng, cells, int(k), owner, inside, darkness)
    return darkness.astype(np.float32)


def _reticulum(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    """Thin pale membranes inside cells: level lines of a smooth field, in some places."""
    field = smooth_noise(rng, size, (2, 22, 22))
    slope = np.hypot(*np.gradient(field, axis=(1, 2))) + 0.02
    line = np.exp(-((field / slope / 1.6) ** 2))
    return 55 * line * ramp(smooth_noise(rng, size, (3, 40, 40)) - 0.7, 0.5)


def _stamp(impulses: np.ndarray, radius: float, width: float) -> np.ndarray:
    """Draws a ring of `radius` (0: a dot) and `width` pixels at each impulse of each section."""
    reach = int(radius + 3 * width) + 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    kernel = np.exp(-(((np.hypot(y, x) - radius) / width) ** 2))[None]
    return oaconvolve(impulses, kernel.astype(np.float32), mode="same", axes=(1, 2))


def _vesicles(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    """Rings of 40 nm, in crowds, new in every section; a few with a dense core."""
    crowd = np.exp(1.2 * smooth_noise(rng, size, (2, 45, 45)) - 0.3) / 330
    rings = np.where(rng.uniform(size=size) < crowd, rng.uniform(0.4, 1.1, size), 0).astype(np.float32)
    cores = (rng.uniform(size=size) < 0.12 * crowd).astype(np.float32)
    return 52 * _stamp(rings, 4.0, 1.4) + 75 * _stamp(cores, 0, 3.5)


def _microtubules(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    """Dots of 24 nm that run through several sections along wandering lines."""
    sections, height, width = size
    n = int(np.prod(size) / 3500)
    z = rng.integers(0, sections, n)
    place = rng.uniform(0, 1, (n, 2)) * (height, width)
    drift = rng.normal(0, 2.5, (n, 2))
    dots = np.zeros(size, np.float32)
    for _ in range(8):
        y, x = np.rint(place).astype(int).T
        seen = (z < sections) & (y >= 0) & (y < height) & (x >= 0) & (x < width)
        dots[z[seen], y[seen], x[seen]] = 1
        z, place = z + 1, place + drift + rng.normal(0, 1.2, (n, 2))
    return 48 * _stamp(dots, 0, 2.0)


def _mitochondrion(
    rng: np.random.Generator, cells: Cells, k: int, owner: np.ndarray, inside: np.ndarray, darkness: np.ndarray
) -> None:
    """Lays a dark body with cristae into cell k, following the cell's course; changes `darkness` in place."""
    sections = len(owner)
    first = int(rng.integers(-2, sections))
    phase, turn, pitch = rng.uniform(0, 2 * np.pi), rng.uniform(0, np.pi), rng.uniform(5.5, 8)
    radius = np.clip(rng.uniform(0.35, 0.6) * cells.radius[k], 8, 22)
    length = int(rng.integers(4, 11))
    for z in range(max(first, 0), min(first + length, sections)):
        y, x = np.nonzero((owner[z] == k) & (inside[z] > 3))
        if len(y) < 3 * radius**2:
            continue
        depth = inside[z, y, x]
        here = np.argmax(depth)
        cy, cx = y[here], x[here]
        taper = np.sin(np.pi * (z - first + 0.7) / (length + 0.4)) ** 0.4
        u, v = y - cy, x - cx
        angle = np.arctan2(v, u)
        edge = radius * taper * (1 + 0.13 * np.sin(2 * angle + phase) + 0.06 * np.sin(3 * angle - phase))
        depth = np.minimum(edge - np.hypot(u, v), inside[z, y, x] - 3)
        along = u * np.cos(turn) + v * np.sin(turn) + 2.5 * np.sin(0.25 * (v - u) + phase)
        cristae = 22 * np.sin(2 * np.pi * along / pitch + 0.5 * z)
        body = 62 + cristae * ramp(depth - 3, 3) + 28 * np.exp(-(((depth - 1.5) / 1.5) ** 2))
        cover = ramp(depth, 1.5)
        darkness[z, y, x] = (1 - cover) * darkness[z, y, x] + cover * body


def synapses(rng: np.random.Generator, membrane: np.ndarray) -> np.ndarray:
    """Dark smudges on membranes that last two or three sections.

    Args:
        rng: Source of randomness.
        membrane: Where membranes run, bool `(D, H, W)`.

    Returns:
        Darkness, float32 `(D, H, W)`.
    """
    places = np.flatnonzero(membrane)
    n = max(1, membrane.size // 60000)
    centre = np.stack(np.unravel_index(rng.choice(places, n), membrane.shape), 1) if len(places) else np.empty((0, 3))
    darkness = np.zeros(membrane.shape, np.float32)
    rows, columns = np.ogrid[: membrane.shape[1], : membrane.shape[2]]
    for z, y, x in centre:
        reach, strength = rng.uniform(5, 14), rng.uniform(70, 125)
        spot = np.exp(-(((rows - y) ** 2 + (columns - x) ** 2) / reach**2))
        for other, share in ((z - 1, 0.5), (z, 1.0), (z + 1, 0.6)):
            if 0 <= other < len(darkness):
                darkness[other] = np.maximum(darkness[other], share * strength * spot)
    return darkness * (1 + 0.15 * smooth_noise(rng, membrane.shape, (1, 5, 5)))


def dirt(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    """What preparation leaves on some sections: folds (long dark lines) and stain, dark or washed out.

    Args:
        rng: Source of randomness.
        size: `(D, H, W)`.

    Returns:
        Darkness, float32 `(D, H, W)`; negative where the section is washed out.
    """
    darkness = np.zeros(size, np.float32)
    rows, columns = np.mgrid[: size[1], : size[2]].astype(np.float32)
    for section in darkness:
        if rng.uniform() < 0.07:
            angle, bow = rng.uniform(0, np.pi), rng.normal(0, 12)
            along = (rows * np.cos(angle) + columns * np.sin(angle)) / max(size[1:])
            across = columns * np.cos(angle) - rows * np.sin(angle) - rng.uniform(0, max(size[1:]))
            section += 55 * np.exp(-(((across - bow * np.sin(5 * along)) / 4) ** 2))
        for _ in range(rng.poisson(size[1] * size[2] / 90000)):
            y, x, reach = rng.uniform(0, size[1]), rng.uniform(0, size[2]), rng.uniform(3, 12)
            spot = np.exp(-(((rows - y) ** 2 + (columns - x) ** 2) / reach**2))
            section += rng.choice([-40, 45]) * spot
    return darkness
