"""Contrast-limited adaptive histogram equalisation of sections (gamma-Net thesis, section 4.2.2)."""

from __future__ import annotations

import numpy as np

from recurseg.preprocess.intensity import unit_range

GRID, CLIP_LIMIT = 8, 2.0
"""Tiles along each side of a section, and the contrast limit."""
LEVELS = 65535
"""The highest grey level of 16 bits."""


def clahe_sections(image: np.ndarray) -> np.ndarray:
    """Evens out bright and dark places of each section: CLAHE with 8 × 8 tiles and limit 2 on 16 bits.

    The lowest value of a section becomes grey level 0, its highest 65,535. The authors' code takes stored integers
    for grey levels instead, which images in [0, 1] do not survive.

    Args:
        image: float32 `(H, W)` or `(D, H, W)`.

    Returns:
        float32 of the same shape, 0 to 65,535; a constant section becomes constant.
    """
    import cv2

    sections = image.reshape(-1, *image.shape[-2:])
    equaliser = cv2.createCLAHE(CLIP_LIMIT, (GRID, GRID))
    levels = [np.rint(unit_range(section) * LEVELS).astype(np.uint16) for section in sections]
    return np.stack([equaliser.apply(section) for section in levels]).astype(np.float32).reshape(image.shape)
