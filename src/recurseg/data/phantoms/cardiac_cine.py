"""Cine MR of the beating heart: short-axis slices from apex to base through a cycle, as in the ACDC challenge.

Both ventricles are filled with blood, and so are atria, great vessels and the liver's veins around, as bright as
they; fat is bright too. Papillary muscles and trabeculae are dark but belong to the cavity, as annotators draw it.
Where blood is slow, at the border, it looks like muscle in one frame and not in the next, and muscle like blood: what
a single frame leaves open, its neighbours decide. Slices lie slightly off each other, each taken in its own breath.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .cardiac_anatomy import ANGLES, GROUPS, Heart, draw_heart
from .cardiac_motion import Beat, beat, volume_curve
from .cardiac_scanner import SCANNERS, Scanner, acquire
from .cardiac_torso import Plane, over, torso
from .fields import even_coin, generator, ramp

DEFAULT_SIZE = (9, 128, 128)
FRAMES = 20
CLASSES = ("background", "right ventricle", "myocardium", "left ventricle")


@dataclass(frozen=True)
class Cine:
    """One patient's film.

    Attributes:
        image: `(x, y, z, t)`, uint8 of scanner_a, int16 of scanner_b; x to the patient's left, y to the back, z from
            apex to base; frame 0 is end-diastole.
        label: `(x, y, z, t)`, uint8, indices into `CLASSES`, of every frame.
        spacing: Millimetres along x, y and z.
        seconds: From frame to frame.
        end_systole: Its frame, counted from 0.
        heart: What was drawn; `group` is one of ACDC's, `ejection_fraction` that of the label within 3 points.
        scanner: "scanner_a" or "scanner_b".
    """

    image: np.ndarray
    label: np.ndarray
    spacing: tuple[float, float, float]
    seconds: float
    end_systole: int
    heart: Heart
    scanner: str


def cardiac_cine(
    *, size: tuple[int, int, int] = DEFAULT_SIZE, seed: int = 0, case: int = 0, scanner: str | None = None
) -> Cine:
    """Makes the film of one patient; groups take turns, and of each two consecutive patients each scanner has one.

    Args:
        size: Slices, rows, columns; what they show stays, the voxels change.
        seed: Of the data set.
        case: Index of the patient in the data set.
        scanner: "scanner_a" or "scanner_b" for all patients; None: half and half.
    """
    rng = generator("cardiac_cine", seed, case, size)
    taken_by = SCANNERS[scanner or list(SCANNERS)[even_coin("cardiac_cine", seed, case)]]
    heart = draw_heart(rng, list(GROUPS)[(case + case // len(GROUPS)) % len(GROUPS)])
    plane, thickness = _slices(rng, heart, taken_by, size)
    systole = round(FRAMES * rng.uniform(0.33, 0.42))
    moving = beat(heart, plane.z, volume_curve(FRAMES, systole))
    drift = rng.normal(0, 1.5, 2)
    borders = [_borders(heart, moving, plane, drift, t) for t in range(FRAMES)]
    film = _film(rng, taken_by, heart, moving, plane, borders)
    return Cine(
        image=acquire(rng, taken_by, plane, film),
        label=np.stack([_label(border) for border in borders], 3),
        spacing=(plane.pixel, plane.pixel, thickness),
        seconds=rng.uniform(0.7, 1.1) / FRAMES,
        end_systole=systole,
        heart=heart,
        scanner=taken_by.name,
    )


def _slices(
    rng: np.random.Generator, heart: Heart, scanner: Scanner, size: tuple[int, int, int]
) -> tuple[Plane, float]:
    """Slices from about the apex to about the base, each shifted by its breath; and the distance between them."""
    slices, rows, columns = size
    first, last = rng.uniform(-0.4, 0.4), rng.uniform(-0.3, 0.5)
    thickness = heart.length / (slices - 1 - last + first)
    pixel = rng.uniform(*scanner.field) / min(rows, columns)
    breath = rng.normal(0, 1, (2, slices)) * rng.choice([1.0, 3.0], slices, p=[0.8, 0.2])
    middle = np.array([[-14.0], [0.0]]) + rng.normal(0, 5, (2, 1)) + breath
    x, y = ((np.arange(n)[:, None] - (n - 1) / 2) * pixel + at for n, at in zip((columns, rows), middle, strict=True))
    z = (first + np.arange(slices)) * thickness
    return Plane(x[:, None].astype(np.float32), y[None].astype(np.float32), z.astype(np.float32), pixel), thickness


class Borders(NamedTuple):
    """Of one frame, millimetres to borders, `(x, y, z)`, positive inside.

    `cavity` and `muscle` are bounded by the endo- and epicardium, `right` by the right ventricle's wall; `below` is
    the distance to the valves' plane along the slice, positive on the ventricles' side. `x` and `y` are the pixels as
    the heart moves, `at` finds them in values by slice and angle.
    """

    cavity: np.ndarray
    muscle: np.ndarray
    right: np.ndarray
    below: np.ndarray
    x: np.ndarray
    y: np.ndarray
    at: tuple[np.ndarray, np.ndarray, np.ndarray]


def _borders(heart: Heart, moving: Beat, plane: Plane, drift: np.ndarray, t: int) -> Borders:
    x, y = (axis - shift * moving.contraction[t] for axis, shift in zip((plane.x, plane.y), drift, strict=True))
    position = np.arctan2(y, x) * (len(ANGLES) / (2 * np.pi)) % len(ANGLES)
    left = np.floor(position).astype(np.int32)
    at = (np.arange(len(plane.z)), left % len(ANGLES), position - left)
    radius = np.hypot(x, y)
    muscle = _by_angle(moving.epi[t], at) - radius

    toward, aside = np.cos(heart.septum), np.sin(heart.septum)
    far, half, near = moving.rv_far[t], moving.rv_half[t], -0.1 * moving.epi[t].mean(1)
    middle, reach = (far + near) / 2, np.maximum(far - near, 1) / 2
    along, across = x * toward + y * aside - middle, y * toward - x * aside
    ellipse = (1 - np.hypot(along / reach, across / half)) * np.minimum(reach, half)
    right = np.where(far > 0, np.minimum(ellipse, -muscle), -radius - 10)

    below = (moving.base[t] + heart.tilt[0] * x + heart.tilt[1] * y - plane.z) / np.hypot(*heart.tilt)
    return Borders(_by_angle(moving.endo[t], at) - radius, muscle, right, below, x, y, at)


def _by_angle(values: np.ndarray, at: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """Values `(z, angle)` at the pixels, between angles in proportion."""
    z, left, share = at
    return values[z, left] * (1 - share) + values[z, (left + 1) % len(ANGLES)] * share


def _label(border: Borders) -> np.ndarray:
    inside = [border.right > 0, border.muscle > 0, border.cavity > 0]
    label = np.select(inside[::-1], [3, 2, 1], 0)
    return np.where(border.below > 0, label, 0).astype(np.uint8)


def _film(
    rng: np.random.Generator, scanner: Scanner, heart: Heart, moving: Beat, plane: Plane, borders: list[Borders]
) -> np.ndarray:
    """Signal of the tissues, `(x, y, z, t)`."""
    tissue, pixel = scanner.tissue, plane.pixel
    still = torso(rng, plane, heart, tissue)
    fat = np.clip(4 + 3 * plane.noise(rng, 25), 1, None)
    grain = 1 + 0.06 * plane.noise(rng, 4)
    trabeculae = np.clip(rng.normal(0.6, 1.2, (len(plane.z), len(ANGLES))), 0, None)
    trabeculae *= 1.6 - np.clip(plane.z / heart.length, 0, 1)[:, None]
    strands = 0.6 * ramp(plane.noise(rng, 5) - 0.9, 0.5)
    film = np.empty((*plane.shape, len(borders)), np.float32)
    for t, border in enumerate(borders):
        blood, myocardium = _flow(rng, scanner, moving, plane, border, t)
        myocardium = myocardium * grain
        whole = np.maximum(border.muscle, border.right + 3.5)
        signal = over(still, ramp(whole + fat, pixel), tissue["fat"])
        signal = over(signal, ramp(whole, pixel), myocardium)
        signal = over(signal, ramp(border.right, pixel), over(blood, strands, myocardium))
        ventricle = ramp(border.below, 2)
        dark = np.maximum(_papillary(heart, moving, plane, border, t), _rough(trabeculae, border, pixel)) * ventricle
        chamber = ramp(border.cavity, pixel) * ventricle + ramp(border.muscle - 2.5, pixel) * (1 - ventricle)
        signal = over(signal, chamber, over(blood, dark, myocardium))
        valve = ramp(1.2 - np.abs(border.below), 1.5) * ramp(np.maximum(border.muscle, border.right), pixel)
        film[..., t] = over(signal, 0.6 * valve, tissue["myocardium"])
    return film


def _flow(
    rng: np.random.Generator, scanner: Scanner, moving: Beat, plane: Plane, border: Borders, t: int
) -> tuple[np.ndarray, np.ndarray]:
    """Blood and myocardium with what the flow does to them in this frame and no other."""
    light, dark = scanner.tissue["blood"], scanner.tissue["myocardium"]
    depth = np.maximum(border.cavity, border.right)
    slow = ramp(plane.noise(rng, 8), 0.4) * np.exp(-((depth / 7) ** 2))
    speed = np.abs(np.gradient(moving.contraction))[t] / np.abs(np.gradient(moving.contraction)).max()
    jet = speed * ramp(plane.noise(rng, 14) - 1.2, 0.5) * np.clip(2 * moving.height[t] - 0.8, 0, 1)
    blood = over(light * (1 + 0.05 * plane.noise(rng, 10)), np.maximum(0.9 * slow, 0.6 * jet), dark)
    spill = ramp(plane.noise(rng, 7) - 0.7, 0.4) * np.exp(-((depth / 3.5) ** 2))
    return blood, over(np.full(plane.shape, dark, np.float32), 0.8 * spill, light)


def _papillary(heart: Heart, moving: Beat, plane: Plane, border: Borders, t: int) -> np.ndarray:
    """Two muscles that stand in the cavity, and melt into its wall as it contracts."""
    radius = heart.papillary_radius * (1 + 0.25 * moving.contraction[t])
    centre = np.maximum(moving.endo[t].mean(1) - radius - 1.5, 0)
    there = ramp(moving.height[t] - 0.22, 0.1) * ramp(0.72 - moving.height[t], 0.1)
    discs = (
        ramp(radius - np.hypot(border.x - centre * np.cos(angle), border.y - centre * np.sin(angle)), plane.pixel)
        for angle in heart.papillary
    )
    return np.maximum(*discs) * there


def _rough(trabeculae: np.ndarray, border: Borders, pixel: float) -> np.ndarray:
    """The cavity's border, roughened by trabeculae."""
    return ramp(_by_angle(trabeculae, border.at) - border.cavity, pixel)
