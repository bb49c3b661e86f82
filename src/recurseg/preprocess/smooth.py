"""A light Gaussian blur of sections against pixel noise (gamma-Net thesis, section 4.2.1)."""

from __future__ import annotations

import numpy as np

SIDE, SIGMA = 3, 1.0
"""Side and standard deviation of the kernel, pixels."""


def smooth_sections(image: np.ndarray) -> np.ndarray:
    """Blurs each section with a Gaussian of 3 × 3 pixels and standard deviation 1; borders are mirrored.

    Args:
        image: float32 `(H, W)` or `(D, H, W)`.

    Returns:
        float32 of the same shape.
    """
    import cv2

    sections = np.ascontiguousarray(image, np.float32).reshape(-1, *image.shape[-2:])
    return np.stack([cv2.GaussianBlur(section, (SIDE, SIDE), SIGMA) for section in sections]).reshape(image.shape)
