"""Seeded random fields that the phantoms are made of."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np


def generator(name: str, seed: int, case: int, size: Sequence[int]) -> np.random.Generator:
    """The random stream of one phantom case: a pure function of its arguments."""
    return np.random.default_rng([zlib.crc32(name.encode()), seed, case, *size])


def even_coin(name: str, seed: int, case: int) -> int:
    """0 or 1 by chance, but each once in cases 0 and 1, in 2 and 3 and so on: exactly half of an even number."""
    return (int(generator(name, seed, case // 2, ()).integers(2)) + case) % 2


def smooth_noise(rng: np.random.Generator, shape: Sequence[int], scale: Sequence[float] | np.ndarray) -> np.ndarray:
    """Smooth random field of mean 0 and sd 1: cubic B-splines on a coarse grid of white noise.

    Args:
        rng: Source of randomness.
        shape: Voxels an axis.
        scale: Voxels between independent values, an axis; 1 leaves that axis white.

    Returns:
        float32 array of `shape`.
    """
    knots = [int(np.ceil(n / s)) + 4 if s > 1 else n for n, s in zip(shape, scale, strict=True)]
    field = rng.standard_normal(knots, dtype=np.float32)
    for axis, (n, s) in enumerate(zip(shape, scale, strict=True)):
        if s > 1:
            weights = _spline_weights(n, knots[axis], s, float(rng.uniform()))
            field = np.moveaxis(np.tensordot(weights, field, (1, axis)), 0, axis)
    return np.ascontiguousarray(field)


def _spline_weights(n: int, knots: int, scale: float, offset: float) -> np.ndarray:
    """Matrix `(n, knots)` of cubic B-spline weights; rows of norm 1 keep unit noise at sd 1."""
    position = np.arange(n)[:, None] / scale + 1 + offset
    distance = np.abs(position - np.arange(knots))
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    weights = np.where(distance < 1, near, far)
    return (weights / np.sqrt((weights**2).sum(1, keepdims=True))).astype(np.float32)


def band_noise(rng: np.random.Generator, shape: Sequence[int], wavelength: float, spread: float) -> np.ndarray:
    """Random field of mean 0 and sd 1 with waves of one length: its zeros fold like a labyrinth.

    Args:
        rng: Source of randomness.
        shape: Voxels an axis.
        wavelength: Voxels a wave.
        spread: Relative width of the band, 0.1 (regular) to 0.5 (ragged).

    Returns:
        float32 array of `shape`, periodic.
    """
    grid = np.meshgrid(*map(np.fft.fftfreq, shape), indexing="ij")
    frequency = np.sqrt(np.sum(np.square(grid), axis=0))
    band = np.exp(-(((frequency * wavelength - 1) / spread) ** 2))
    field = np.fft.ifftn(np.fft.fftn(rng.standard_normal(shape)) * band).real
    return (field / field.std()).astype(np.float32)


def ramp(x: np.ndarray, width: float) -> np.ndarray:
    """A soft step from 0 to 1 around x = 0, `width` wide."""
    return np.clip(x / width + 0.5, 0, 1)


def block_mean(field: np.ndarray, factors: Sequence[int] | np.ndarray) -> np.ndarray:
    """Mean over blocks of `factors` voxels: from a fine grid to coarse voxels."""
    blocks = [n for size, f in zip(field.shape, factors, strict=True) for n in (size // f, f)]
    return field.reshape(blocks).mean(tuple(range(1, len(blocks), 2)))
