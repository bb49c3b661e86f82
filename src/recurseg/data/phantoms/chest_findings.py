"""What makes a made-up chest radiograph difficult: fluid, opacities and devices; and the lead letters on its film."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import make_interp_spline

from .chest_anatomy import Chest, wall_at
from .chest_projection import Cloud, Field, View, join, tube
from .fields import smooth_noise

FINDINGS = ("", "effusion", "", "device", "", "lesion", "")
"""Findings of consecutive cases, over and over; seven, so that every n-th case has them all."""

LETTERS = {
    "L": [[(0, 0), (0, 1), (0.6, 1)]],
    "R": [[(0, 1), (0, 0), (0.45, 0), (0.6, 0.12), (0.6, 0.38), (0.45, 0.5), (0, 0.5)], [(0.25, 0.5), (0.6, 1)]],
    "P": [[(0, 1), (0, 0), (0.45, 0), (0.6, 0.12), (0.6, 0.4), (0.45, 0.52), (0, 0.52)]],
    "A": [[(0, 1), (0.3, 0), (0.6, 1)], [(0.12, 0.65), (0.48, 0.65)]],
}
"""Strokes (right, down) of letters one high."""


def effusion(rng: np.random.Generator, chest: Chest, u: Field, v: Field) -> Field:
    """Share of the lung that pleural fluid takes: it fills one side from below and climbs along the wall."""
    s = rng.choice([-1, 1])
    level = chest.height * rng.uniform(0.5, 0.82)
    to_wall = np.clip(wall_at(chest, v) - s * u, 0, None) / chest.width
    surface = level - chest.height * (rng.uniform(0.12, 0.22) * np.exp(-to_wall / 0.18) - 0.03)
    soft = chest.height * rng.uniform(0.06, 0.14)  # the fluid's front and back end at different heights
    return np.where(s * u > 0, np.clip((v - surface) / soft, 0, 1) ** 0.7, 0)


def lesion(rng: np.random.Generator, chest: Chest, u: Field, v: Field) -> Field:
    """Share of the lung that is solid: a mass with a clear edge or a consolidation without, as large as a fist."""
    s, level = rng.choice([-1, 1]), rng.uniform(0.2, 0.68)
    radius = chest.width * rng.uniform(0.2, 0.4)
    centre = s * (rng.uniform(0.45, 0.8) * wall_at(chest, level * chest.height))
    pixels = 0.5 * radius / float(np.hypot(u[0, 1] - u[0, 0], v[0, 1] - v[0, 0]))
    uneven = smooth_noise(rng, u.shape, (pixels, pixels))
    r = np.hypot(u - centre, (v - level * chest.height) / rng.uniform(0.8, 1.3)) / radius
    if rng.uniform() < 0.5:
        return 1.2 * radius / chest.depth * np.sqrt(np.clip(1 - (r + 0.08 * uneven) ** 2, 0, None))
    return 0.8 / (1 + np.exp(np.clip((r - 0.8 - 0.3 * uneven) / 0.12, -20, 20)))


def devices(rng: np.random.Generator, chest: Chest, step: float) -> Cloud:
    """Metal on and in the patient: a pacemaker with its leads, or electrodes with wires; sternal wires; a line."""
    grown = not chest.child
    parts = _pacemaker(rng, chest, step) if grown and rng.uniform() < 0.6 else _electrodes(rng, chest, step)
    if grown and rng.uniform() < 0.4:
        ring = np.linspace(0, 2 * np.pi, 24)
        for number in range(5):
            v = chest.height * (0.3 + 0.1 * number) + 0.5 * np.sin(ring + rng.normal(0, 0.3))
            parts.append(tube(np.stack([0.7 * np.cos(ring), v, 0 * ring + chest.depth], -1), (0.06, 0.06), step))
    if rng.uniform() < 0.5:
        s = rng.choice([-1, 1])
        way = [(0.5 * s, -0.05), (0.25 * s, 0.06), (-0.02, 0.16), (-0.1, 0.28), (-0.12, rng.uniform(0.42, 0.55))]
        parts.append(_cable(way, chest, 0.2 * chest.depth, 0.09, step))
    return join(parts)


def _pacemaker(rng: np.random.Generator, chest: Chest, step: float) -> list[Cloud]:
    """A titanium can below one clavicle and one or two leads through the vena cava into the right heart."""
    s = rng.choice([-1, 1], p=[0.25, 0.75])
    x, y = s * rng.uniform(0.6, 0.8), rng.uniform(0.18, 0.28)
    parts = [_plate(chest, (x, y), np.array([2.3, 1.9]) * rng.uniform(0.9, 1.15), 0.35, corners=3.5)]
    apex = (rng.uniform(0.25, 0.45), 0.95 * chest.domes[1] / chest.height)
    for end in ([(-0.2, 0.62), apex], [(-0.22, 0.56), (-0.16, 0.52)])[: rng.integers(1, 3)]:
        way = [(x, y - 0.08), (0.8 * x, 0.07), (0.4 * x, 0.09), (-0.02, 0.17), (-0.1, 0.3), (-0.13, 0.45), *end]
        parts.append(_cable(way, chest, 0.4 * chest.depth, 0.09, step))
        tip = [(end[-1][0] - 0.06, end[-1][1] - 0.005), end[-1]]
        parts.append(_cable(tip, chest, 0.4 * chest.depth, 0.14, step))
    return parts


def _electrodes(rng: np.random.Generator, chest: Chest, step: float) -> list[Cloud]:
    """Three to five round contacts on the skin, each with a wire that leaves the picture below."""
    parts = []
    for _ in range(rng.integers(3, 6)):
        x, y = rng.uniform(-0.85, 0.85), rng.uniform(0.08, 1)
        out = rng.choice([-1, 1]) * rng.uniform(0.2, 1.4)
        way = [(x, y), (x + 0.3 * out, y + rng.uniform(-0.1, 0.2)), (x + 0.8 * out, y + 0.4), (x + out, 1.9)]
        parts += [
            _plate(chest, (x, y), np.array([0.7, 0.7]), 0.15, corners=2),
            _cable(way, chest, chest.depth, 0.06, step),
        ]
    return parts


def _plate(chest: Chest, at: tuple[float, float], semi: np.ndarray, thick: float, *, corners: float) -> Cloud:
    """A flat piece on the chest, round (`corners` 2) to square (many)."""
    flat = np.mgrid[-1:1:200j, -1:1:200j].reshape(2, -1).T
    flat = flat[np.sum(np.abs(flat) ** corners, 1) < 1]
    place = flat * semi + [at[0] * chest.width, at[1] * chest.height]
    area = 4 * semi.prod() * len(flat) / 200**2
    return Cloud(
        np.column_stack([place, np.full(len(flat), chest.depth)]), np.full(len(flat), thick * area / len(flat))
    )


def _cable(way: list[tuple[float, float]], chest: Chest, w: float, radius: float, step: float) -> Cloud:
    """A thin tube through points given in half widths and heights of the chest."""
    knots = np.array(way) * [chest.width, chest.height]
    curve = make_interp_spline(np.linspace(0, 1, len(knots)), knots, k=min(3, len(knots) - 1))
    path = curve(np.linspace(0, 1, 80))
    return tube(np.column_stack([path, np.full(len(path), w)]), (radius, radius), step)


def marker(rng: np.random.Generator, view: View) -> Field:
    """Centimetres of lead on the way to each pixel: the letter of a side, sometimes PA or AP below it."""
    height, width = (n * view.pixel for n in view.shape)
    side = rng.choice(["L", "R"])  # the patient's left is the image's right
    size = width * rng.uniform(0.03, 0.06)
    right = width * (rng.uniform(0.86, 0.93) if side == "L" else rng.uniform(0.03, 0.1))
    place = np.array([right, height * rng.uniform(0.03, 0.2)])
    letters = [(side, size, place)]
    for number, letter in enumerate(rng.choice(["", "", "PA", "AP"])):
        letters.append((letter, 0.6 * size, place + size * np.array([0.55 * number - 0.25, 1.4])))
    strokes = [
        tube(np.pad(np.array(stroke) * high + at, ((0, 0), (0, 1))), (0.1 * high, 0.1 * high), 0.5 * view.pixel)
        for letter, high, at in letters
        for stroke in LETTERS[letter]
    ]
    return View(view.shape, view.pixel, (0, 0), rng.normal(0, 0.03), 0).project(join(strokes))
