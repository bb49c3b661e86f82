"""Intensities that networks can compare: clipping, z-scores and the unit range, one modality at a time."""

from __future__ import annotations

from typing import Literal

import numpy as np

SMALLEST_SPREAD = 1e-8
"""A standard deviation below this share of the largest value is a constant: such an image becomes 0."""


def clip_to_percentiles(image: np.ndarray, low: float, high: float, *, foreground: bool) -> np.ndarray:
    """Clips one modality to two of its percentiles.

    Args:
        image: float32 `(*spatial)`.
        low: Percentile in [0, 100).
        high: Percentile in (low, 100].
        foreground: Whether only voxels that are not 0 count and change.

    Returns:
        float32 `(*spatial)`.
    """
    counted = image[image != 0] if foreground else image
    if counted.size == 0:
        return image
    bottom, top = np.percentile(counted, (low, high))
    clipped = np.clip(image, bottom, top)
    return np.where(image != 0, clipped, 0) if foreground else clipped


Normalisation = Literal["slice", "volume", "foreground", "unit", "slice_unit", "none"]


def normalise(image: np.ndarray, over: Normalisation) -> np.ndarray:
    """Brings one modality to mean 0 and standard deviation 1, or into the range from 0 to 1.

    Args:
        image: float32 `(H, W)` or `(D, H, W)`.
        over: "slice": each `(H, W)` by itself; "volume": all voxels; "foreground": the voxels that are not 0, while
            the others stay 0; "unit": the lowest value becomes 0, the highest 1; "slice_unit": the same in each
            `(H, W)`; "none": returned as it is.

    Returns:
        float32 of the same shape; what is constant becomes 0.
    """
    if over == "none":
        return image
    if over == "unit":
        return unit_range(image)
    if over in ("slice", "slice_unit"):
        scale = _z_score if over == "slice" else unit_range
        return np.stack([scale(section) for section in image]) if image.ndim == 3 else scale(image)
    if over == "foreground":
        inside = image != 0
        result = np.zeros_like(image)
        result[inside] = _z_score(image[inside])
        return result
    return _z_score(image)


def unit_range(values: np.ndarray) -> np.ndarray:
    """Scales values so that the lowest becomes 0 and the highest 1; what is constant becomes 0."""
    low, high = value_range(values)
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def value_range(image: np.ndarray) -> tuple[float, float]:
    """Lowest and highest value: what "unit" makes 0 and 1."""
    return float(image.min()), float(image.max())


def _z_score(values: np.ndarray) -> np.ndarray:
    if values.size == 0:
        return values
    mean = values.mean(dtype=np.float64)
    spread = values.std(dtype=np.float64)
    if spread <= SMALLEST_SPREAD * np.abs(values).max():
        return np.zeros_like(values)
    return ((values - mean) / spread).astype(np.float32)
