"""Hearts at rest: form and size of both ventricles at end-diastole, in the five groups of the ACDC challenge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ANGLES = np.arange(72) * 2 * np.pi / 72
"""Around the left ventricle's axis: 0 is the image's right (the patient's left), π/2 its bottom."""


@dataclass(frozen=True)
class Group:
    """Ranges of what tells the groups apart, at end-diastole and in millimetres.

    Attributes:
        radius: Of the left cavity at its widest.
        wall: Thickness of the myocardium.
        ejection_fraction: Of the left ventricle, 0 to 1.
        rv_width: Largest distance from the septum to the right ventricle's free wall.
        rv_shortening: Share of that distance lost at end-systole.
    """

    radius: tuple[float, float]
    wall: tuple[float, float]
    ejection_fraction: tuple[float, float]
    rv_width: tuple[float, float] = (34, 44)
    rv_shortening: tuple[float, float] = (0.36, 0.48)


GROUPS = {
    "NOR": Group((26, 30), (7.5, 9.5), (0.55, 0.70)),
    "DCM": Group((31, 37), (6.5, 8.5), (0.15, 0.35), rv_shortening=(0.15, 0.3)),
    "HCM": Group((22, 25), (12, 16), (0.62, 0.75)),
    "MINF": Group((26, 31), (7.0, 9.0), (0.25, 0.45)),
    "RV": Group((23, 27), (7.0, 9.0), (0.45, 0.62), rv_width=(52, 62), rv_shortening=(0.15, 0.3)),
}
"""Normal, dilated cardiomyopathy, hypertrophic cardiomyopathy, infarction, abnormal right ventricle."""


@dataclass(frozen=True)
class Heart:
    """One heart at end-diastole.

    Attributes:
        group: Key of `GROUPS`.
        ejection_fraction: Of the left ventricle, 0 to 1.
        length: Millimetres from the endocardium's apex to the mitral plane.
        radius: Of the left cavity at its widest.
        outline: By angle, its radius in relation to the mean.
        wall: By angle, thickness of the myocardium at mid-height.
        infarct: By angle, share of the contraction that is lost.
        infarct_reach: How far from the apex, as a share of the length, the infarct goes.
        shortening: Share of the length that is lost at end-systole.
        septum: Angle at which the right ventricle lies.
        rv_width: Largest distance from the septum to the free wall.
        rv_shortening: Share of it that is lost at end-systole.
        tilt: Slope of the valves' plane against the slices, along x and y.
        papillary: Angles of the two papillary muscles.
        papillary_radius: Their radius.
    """

    group: str
    ejection_fraction: float
    length: float
    radius: float
    outline: np.ndarray
    wall: np.ndarray
    infarct: np.ndarray
    infarct_reach: float
    shortening: float
    septum: float
    rv_width: float
    rv_shortening: float
    tilt: tuple[float, float]
    papillary: tuple[float, float]
    papillary_radius: float


def draw_heart(rng: np.random.Generator, group: str) -> Heart:
    """Draws a heart of a group."""
    of = GROUPS[group]
    septum = np.pi + rng.normal(0.2, 0.12)
    radius = rng.uniform(*of.radius)
    waves = sum(rng.normal(0, 0.035 / k) * np.cos(k * ANGLES + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4))
    thicker = _bump(septum, 0.9) * (rng.uniform(0.15, 0.5) if group == "HCM" else 0.05)
    ill = _bump(rng.uniform(0, 2 * np.pi), rng.uniform(0.7, 1.1)) if group == "MINF" else np.zeros(len(ANGLES))
    fraction = rng.uniform(*of.ejection_fraction)
    leaning, slope = rng.uniform(0, 2 * np.pi), np.tan(np.radians(rng.uniform(8, 14)))
    return Heart(
        group=group,
        ejection_fraction=fraction,
        length=rng.uniform(68, 78) + 0.35 * (radius - 27),
        radius=radius,
        outline=1 + np.asarray(waves),
        wall=rng.uniform(*of.wall) * (1 + thicker) * (1 - 0.25 * ill),
        infarct=ill,
        infarct_reach=rng.uniform(0.6, 1.1),
        shortening=0.22 * fraction,
        septum=septum,
        rv_width=rng.uniform(*of.rv_width),
        rv_shortening=rng.uniform(*of.rv_shortening),
        tilt=(slope * np.cos(leaning), slope * np.sin(leaning)),
        papillary=(septum + rng.normal(2.3, 0.15), septum - rng.normal(2.3, 0.15)),
        papillary_radius=rng.uniform(3, 4.5) * (1.25 if group == "HCM" else 1),
    )


def _bump(angle: float, width: float) -> np.ndarray:
    """By angle, 1 around one direction and 0 away from it."""
    away = np.abs(np.angle(np.exp(1j * (ANGLES - angle))))
    return np.clip(1.5 - away / width, 0, 1)
