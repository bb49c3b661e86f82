"""Soft organs of a made-up chest: where they lie in one person and how thick they are on the way of the rays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from .chest_projection import Field, View, capsule, ellipsoid, merge


@dataclass(frozen=True)
class Chest:
    """One person; lengths in cm.

    Attributes:
        child: Rounder, with horizontal ribs, a larger heart and a thymus.
        width: Half width inside the ribs.
        height: Apex of the lungs to the costophrenic angle.
        depth: Half depth inside the ribs, front to back.
        bell: 0.5 a barrel, 0.75 a bell: how the width grows downward.
        wall: Thickness of the chest wall at the sides.
        slope: How far ribs descend from spine to sternum, as a share of the height.
        heart: Width of the heart as a share of the inner width (cardiothoracic ratio).
        knob: Size of the aortic knob, 0..1; it grows with age.
        domes: v of the diaphragm's right and left dome.
        breasts: Thickness of breast tissue; 0 has none.
        arms: Radians between arms and trunk.
    """

    child: bool
    width: float
    height: float
    depth: float
    bell: float
    wall: float
    slope: float
    heart: float
    knob: float
    domes: tuple[float, float]
    breasts: float
    arms: float


def draw_chest(rng: np.random.Generator, child: bool) -> Chest:
    """Draws a person: an adult or a child of about one to ten years."""
    width = rng.uniform(6.5, 10.5) if child else rng.uniform(12.2, 14.6)
    height = width * (rng.uniform(1.4, 1.75) if child else np.clip(rng.normal(1.88, 0.2), 1.5, 2.3))
    right = height * (rng.uniform(0.72, 0.8) if child else rng.uniform(0.76, 0.85))
    left = right + height * rng.uniform(-0.01, 0.08)
    woman = not child and rng.uniform() < 0.45
    return Chest(
        child=child,
        width=width,
        height=height,
        depth=width * (rng.uniform(0.74, 0.86) if child else rng.uniform(0.62, 0.74)),
        bell=rng.uniform(0.55, 0.8) if child else rng.uniform(0.42, 0.72),
        wall=width * (rng.uniform(0.12, 0.22) if child else rng.uniform(0.14, 0.3)),
        slope=rng.uniform(0.2, 0.3) if child else rng.uniform(0.4, 0.52),
        heart=rng.uniform(0.47, 0.58) if child else np.clip(rng.normal(0.46, 0.05), 0.37, 0.6),
        knob=0.0 if child else rng.uniform(0.2, 1),
        domes=(right, left),
        breasts=rng.uniform(1.5, 4.5) if woman else 0.0,
        arms=rng.uniform(1.9, 2.6) if child and rng.uniform() < 0.4 else rng.uniform(0.1, 0.6),
    )


def profile(chest: Chest, v: Field | float) -> Field:
    """How wide the rib cage is at a level, 0 at the apex to 1 at the base."""
    return (1 - np.clip(1 - np.asarray(v) / chest.height, 0, 1) ** 3) ** chest.bell


def wall_at(chest: Chest, v: Field | float) -> Field:
    """|u| of the lungs' lateral border at a level."""
    return chest.width * (0.4 + 0.6 * profile(chest, v))


def cavity(chest: Chest, u: Field, v: Field) -> Field:
    """Chords of the two pleural cavities with all that lies between and below the lungs."""
    t = v / chest.height
    middle = 0.4 * chest.width
    lateral = wall_at(chest, v) - middle
    medial = middle * np.sqrt(1 - np.clip(1 - t / 0.15, 0, 1) ** 2)
    x = np.abs(u) - middle
    r = np.where(x > 0, x / np.maximum(lateral, 1e-3), x / np.maximum(medial, 1e-3))
    inside = 1 - np.where(x > 0, np.abs(r) ** 2.7, r**4)
    below = np.clip((1.14 - t) / 0.14, 0, 1)  # the recess behind the diaphragm ends
    depth = chest.depth * (0.35 + 0.65 * profile(chest, v)) * np.sqrt(below)
    return np.where((t > 0) & (inside > 0), 2 * depth * np.sqrt(np.clip(inside, 0, 1)), 0).astype(np.float32)


def diaphragm(chest: Chest, u: Field) -> Field:
    """v of the diaphragm's edge."""
    right, left = chest.domes
    top = right + (left - right) * (0.5 + 0.5 * np.tanh(u / (0.08 * chest.width)))
    out = np.clip((np.abs(u) / chest.width - 0.28) / 0.72, 0, 1.1)
    inner = np.clip(0.28 - np.abs(u) / chest.width, 0, None)
    return top + (chest.height - top) * out**2.3 + 0.5 * chest.height * inner**2


def abdomen(chest: Chest, u: Field, v: Field) -> Field:
    """Chords of what the diaphragm covers, as if nothing ended them in front and behind."""
    return 2 * np.sqrt(2 * 2.5 * chest.width * np.clip(v - diaphragm(chest, u), 0, None))


def mediastinum(chest: Chest, u: Field, v: Field, view: View) -> Field:
    """Chords of heart, great vessels and thymus."""
    width, height, depth = chest.width, chest.height, chest.depth
    left, right = _borders(chest)
    level = v / height
    left, right = width * left(level), -width * right(level)
    x = u - view.shift(0.35 * depth)  # the heart lies in front
    r = (2 * x - left - right) / (left - right)
    thick = depth * np.interp(level, [0, 0.4, 0.6], [0.5, 0.6, 0.74])
    return (2 * thick * np.sqrt(np.clip(1 - r**2, 0, None))).astype(np.float32)


def back(chest: Chest, u: Field, v: Field, view: View) -> Field:
    """Chords of the spine with the tissue around it and of the descending aorta."""
    width, height = chest.width, chest.height
    x = u + view.shift(1.1 * chest.depth)
    spine = capsule(x, v, (0, -height), (0, 2 * height), (0.1 * width, 0.13 * width))
    aorta = capsule(x, v, (0.1 * width, 0.3 * height), (0.06 * width, height), (0.09 * width, 0.08 * width))
    return np.maximum(spine, aorta)


def _borders(chest: Chest) -> tuple[PchipInterpolator, PchipInterpolator]:
    """Left and right border of the mediastinum: level, v / height → |u| / width, past vessels, aortic knob, heart."""
    left, right = 1.32 * chest.heart, 0.66 * chest.heart
    base = chest.domes[1] / chest.height
    knob, thymus = 0.1 * chest.knob, 0.16 * chest.child
    on_left = {
        -0.6: 0.3,
        0: 0.17,
        0.12: 0.13 + 0.5 * thymus,
        0.2: 0.14 + 0.4 * knob + thymus,
        0.27: 0.15 + knob + thymus,
        0.35: 0.14 + 0.4 * knob + thymus,
        0.4: 0.19 + 0.8 * thymus,
        0.47: 0.23 + 0.6 * thymus,
        0.47 + 0.45 * (base - 0.47): 0.23 + 0.62 * (left - 0.23),
        0.47 + 0.75 * (base - 0.47): 0.23 + 0.9 * (left - 0.23),
        base: left,
        1.2: left,
    }
    on_right = {
        -0.6: 0.3,
        0: 0.16,
        0.12: 0.11 + 0.4 * thymus,
        0.25: 0.12 + thymus,
        0.42: 0.12 + 0.8 * thymus,
        0.5: 0.14 + 0.5 * (right - 0.14),
        0.6: right - 0.02,
        0.68: right,
        0.8: right - 0.03,
        1.2: right - 0.1,
    }
    return (
        PchipInterpolator(list(on_left), list(on_left.values())),
        PchipInterpolator(list(on_right), list(on_right.values())),
    )


def airways(chest: Chest, u: Field, v: Field, view: View) -> Field:
    """Chords of trachea and main bronchi."""
    width, height = chest.width, chest.height
    bore = 0.06 * width
    carina = (view.shift(-0.1 * chest.depth) + 0.01 * width, 0.36 * height)
    trachea = capsule(u, v, (0, -0.8 * height), carina, (bore, bore))
    right = capsule(u, v, carina, (carina[0] - 0.24 * width, 0.47 * height), (0.8 * bore, 0.6 * bore))
    left = capsule(u, v, carina, (carina[0] + 0.3 * width, 0.46 * height), (0.75 * bore, 0.55 * bore))
    return np.maximum(trachea, np.maximum(right, left))


def body(chest: Chest, u: Field, v: Field, view: View) -> Field:
    """Chords of the outline: trunk, neck, head, shoulders, arms and breasts."""
    width, height = chest.width, chest.height
    side, thick = width + chest.wall, chest.depth + 0.7 * chest.wall + 0.06 * width
    around = np.clip(1 - (np.abs(u) / side) ** 3.5, 0, None)
    trunk = 2 * thick * np.sqrt(around * np.clip((v + 0.12 * height) / (0.25 * height), 0, 1))
    neck = capsule(u, v, (0, -height), (0, 0.2 * height), (0.42 * width, 0.46 * width))
    head = ellipsoid(u, v, (0, -0.62 * height - 0.3 * width), (0.62 * width, 0.75 * width), 0.6 * width)
    parts = [trunk, neck, head]
    for s in (-1, 1):
        joint = (s * (1.13 * width + 0.6 * chest.wall), 0.1 * height)
        elbow = (joint[0] + s * 2 * width * np.sin(chest.arms), joint[1] + 2 * width * np.cos(chest.arms))
        parts.append(capsule(u, v, (0, -0.08 * height), joint, (0.5 * width, 0.46 * width)))
        parts.append(capsule(u, v, joint, elbow, (0.43 * width, 0.33 * width)))
        fold = (
            (s * (0.9 * width + 0.5 * chest.wall), 0.15 * height),
            (s * (0.75 * width + 0.5 * chest.wall), 0.7 * height),
        )
        parts.append(capsule(u, v, *fold, (0.45 * width, 0.3 * width)))
    outline = merge(*parts)
    for s in (-1, 1) if chest.breasts else ():
        centre = (s * 0.62 * width + view.shift(chest.depth), 0.6 * height)
        x, y = (u - centre[0]) / (0.42 * width), (v - centre[1]) / height
        y = np.where(y > 0, y / 0.24, y / 0.42)
        outline = outline + chest.breasts * np.clip(1 - x**2 - y**2, 0, None) ** 0.6
    return outline


def stomach(rng: np.random.Generator, chest: Chest, u: Field, v: Field) -> Field:
    """Chords of gas under the left dome: above a level where the patient stands, round where gas fills the bowel."""
    gas = np.zeros_like(u)
    width, height = chest.width, chest.height
    if rng.uniform() < 0.7:
        x, wide, tall = (
            rng.uniform(0.35, 0.6) * width,
            rng.uniform(0.12, 0.3) * width,
            rng.uniform(0.05, 0.1) * height,
        )
        top = float(diaphragm(chest, np.asarray(x))) + 0.015 * height
        bubble = ellipsoid(u, v, (x, top + tall), (wide, tall), 0.25 * width)
        gas = bubble * (v < top + tall * rng.uniform(0.9, 2))
    for _ in range(rng.integers(0, 4)):
        x, y = rng.uniform(0.1, 0.8) * width, rng.uniform(1.1, 1.4) * height
        wide, tall = width * rng.uniform(0.06, 0.16, 2)
        gas = np.maximum(gas, ellipsoid(u, v, (x, y), (wide, tall), min(wide, tall)))
    return gas
