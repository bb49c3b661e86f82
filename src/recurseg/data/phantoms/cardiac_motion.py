"""The beat: volume over the cycle, and the borders of both ventricles in every frame and slice that give it.

The cavity shortens and narrows until its volume is the one that the curve asks for; the myocardium is incompressible,
so that it thickens as it shortens, and an infarct does neither. The valves' plane sinks towards the apex and crosses
slices as it goes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from .cardiac_anatomy import ANGLES, Heart

_RADII = (np.arange(24) + 0.5) / 24


@dataclass(frozen=True)
class Beat:
    """Borders in millimetres, by frame t, slice z and angle a around the left ventricle's axis.

    Attributes:
        contraction: `(t,)` 0 at end-diastole, 1 at end-systole.
        endo: `(t, z, a)` radius of the left cavity, papillary muscles counted in.
        epi: `(t, z, a)` outer radius of the myocardium.
        base: `(t,)` height of the valves' plane on the axis.
        height: `(t, z)` height of the slices above the apex in the muscle's own measure, 0 to 1 at the base.
        rv_far: `(t, z)` distance of the right ventricle's free wall from the axis; 0 where there is none.
        rv_half: `(t, z)` half of the right ventricle's extent across the septum.
    """

    contraction: np.ndarray
    endo: np.ndarray
    epi: np.ndarray
    base: np.ndarray
    height: np.ndarray
    rv_far: np.ndarray
    rv_half: np.ndarray


def volume_curve(frames: int, systole: int) -> np.ndarray:
    """How far the heart is contracted in each frame: systole, rapid filling, rest, and the atria's kick.

    Args:
        frames: Of the cycle; the first is end-diastole.
        systole: Frame of end-systole.

    Returns:
        Share of the stroke volume that has left, `(frames,)`.
    """
    end = systole / frames
    moments = [0, 0.3 * end, end, end + 0.18, end + 0.32, 0.9, 1]
    return PchipInterpolator(moments, [0, 0.2, 1, 0.34, 0.24, 0.2, 0])(np.arange(frames) / frames)


def beat(heart: Heart, z: np.ndarray, contraction: np.ndarray) -> Beat:
    """Moves a heart through its cycle.

    Args:
        heart: At end-diastole.
        z: Heights of the slices above the endocardium's apex in mm.
        contraction: From `volume_curve`.
    """
    length = 1 - heart.shortening * contraction
    base = heart.length * length
    height = np.where(z > 0, z / base[:, None], z / heart.length)
    rest = heart.radius * _profile(height)[..., None] * heart.outline
    gives = 1 - heart.infarct * np.clip(4 * (heart.infarct_reach - height[..., None]) + 0.5, 0, 1)
    full = _volume(heart, rest[:1], z, base[:1])
    narrowed = _solve(
        lambda share: _volume(heart, rest * (1 - share[:, None, None] * gives), z, base),
        full * (1 - heart.ejection_fraction * contraction),
    )
    endo = rest * (1 - narrowed[:, None, None] * gives)
    wall = heart.wall * (0.75 + 0.25 * np.clip(2 * height, 0, 1))[..., None]
    cap = np.clip(1 - (np.minimum(z, 0)[:, None] / wall) ** 2, 0, None)
    epi = np.sqrt(endo**2 + ((rest + wall) ** 2 - rest**2) * cap / length[:, None, None])
    around = epi.mean(2)
    rv = np.clip((height - 0.1) / 0.8, 0, 1) ** 0.6
    width = heart.rv_width * rv * (1 - heart.rv_shortening * contraction[:, None])
    return Beat(
        contraction=contraction,
        endo=endo,
        epi=epi,
        base=base,
        height=height,
        rv_far=np.where(rv > 0, around + width, 0),
        rv_half=around[:1] * (0.6 + 0.55 * rv) * (1 - 0.3 * heart.rv_shortening * contraction[:, None]),
    )


def _profile(height: np.ndarray) -> np.ndarray:
    """Radius by height: an ellipse up to three quarters, then slightly narrower to the base and beyond."""
    ellipse = np.sqrt(1 - (1 - np.clip(height / 0.75, 0, 1)) ** 2)
    return ellipse * (1 - 0.28 * np.clip(height - 0.75, 0, 0.4))


def _volume(heart: Heart, endo: np.ndarray, z: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Cavity below the valves' plane in slices of thickness 1, `(t,)`."""
    up = np.cos(ANGLES) * heart.tilt[0] + np.sin(ANGLES) * heart.tilt[1]
    below = base[:, None, None, None] + _RADII[:, None] * (endo * up)[:, :, None] > z[:, None, None]
    return np.einsum("tzra,r,tza->t", below, _RADII, endo**2)


def _solve(volume: Callable[[np.ndarray], np.ndarray], wanted: np.ndarray) -> np.ndarray:
    """The share by which the cavity narrows in each frame, by halving the interval."""
    low, high = np.full(wanted.shape, -0.3), np.full(wanted.shape, 0.95)
    for _ in range(18):
        middle = (low + high) / 2
        larger = volume(middle) > wanted
        low, high = np.where(larger, middle, low), np.where(larger, high, middle)
    return (low + high) / 2
