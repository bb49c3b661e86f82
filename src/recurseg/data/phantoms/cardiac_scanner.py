"""Two scanners that show one heart differently: contrast, sharpness, noise, coil, field of view and pixel range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .cardiac_torso import Plane


@dataclass(frozen=True)
class Scanner:
    """How pictures are taken.

    Attributes:
        name: "scanner_a" or "scanner_b".
        tissue: Signal by tissue.
        field: Range of the field of view in millimetres, shorter side.
        noise: Standard deviation in each of the receiver's two channels.
        blur: Standard deviation of the point-spread function in millimetres.
        coil: How much brighter it is by the chest wall than behind, in powers of e per 100 mm.
        ghost: Share of what moves that comes back, a third of the picture away.
        gain: Range of what the signal is multiplied with.
        highest: Largest value of a pixel.
        dtype: Of the pixels.
    """

    name: str
    tissue: Mapping[str, float]
    field: tuple[float, float]
    noise: float
    blur: float
    coil: float
    ghost: float
    gain: tuple[float, float]
    highest: int
    dtype: type[np.generic]


SCANNERS = {
    scanner.name: scanner
    for scanner in (
        Scanner(
            "scanner_a",  # balanced steady-state free precession at 1.5 T
            {"blood": 1, "myocardium": 0.36, "muscle": 0.3, "fat": 0.95, "liver": 0.42, "lung": 0.06, "bone": 0.1},
            field=(182, 198),
            noise=0.06,
            blur=0.7,
            coil=0.25,
            ghost=0.0,
            gain=(150, 190),
            highest=255,
            dtype=np.uint8,
        ),
        Scanner(
            "scanner_b",  # spoiled gradient echo at 3 T
            {"blood": 0.8, "myocardium": 0.42, "muscle": 0.4, "fat": 0.55, "liver": 0.5, "lung": 0.05, "bone": 0.1},
            field=(212, 230),
            noise=0.085,
            blur=1.1,
            coil=0.8,
            ghost=0.06,
            gain=(1300, 2400),
            highest=4095,
            dtype=np.int16,
        ),
    )
}
"""Name → scanner."""


def acquire(rng: np.random.Generator, scanner: Scanner, plane: Plane, film: np.ndarray) -> np.ndarray:
    """The film as the scanner stores it.

    Args:
        rng: Source of randomness.
        scanner: Which.
        plane: Where the pixels are.
        film: Signal of the tissues, float32 `(columns, rows, slices, frames)`.

    Returns:
        Pixels of the same shape, from 0 to the scanner's highest value.
    """
    blur = scanner.blur / plane.pixel
    film = ndimage.gaussian_filter(film, (blur, blur, 0, 0))
    if scanner.ghost:
        film = film + scanner.ghost * np.roll(film - film.mean(3, keepdims=True), plane.shape[1] // 3, 1)
    toward_coil = (-0.5 * plane.x - 0.86 * plane.y) / 100
    sensitivity = np.exp(scanner.coil * toward_coil + 0.05 * plane.noise(rng, 80))[..., None].astype(np.float32)
    real, imaginary = scanner.noise * rng.standard_normal((2, *film.shape), dtype=np.float32)
    pixels = np.hypot(film * sensitivity + real, imaginary) * rng.uniform(*scanner.gain)
    return np.clip(np.rint(pixels), 0, scanner.highest).astype(scanner.dtype)
