"""High-pass filter and local histogram equalisation of sections (Stollenga et al. 2015, section 3, MR data)."""

from __future__ import annotations

import numpy as np

from recurseg.preprocess.intensity import normalise

KERNEL, SIGMA = 31, 5.0
"""Side and standard deviation, pixels, of the Gaussian that is subtracted."""
BORDER = 8
"""Pixels at the edge of a section, where the filter sees too little, that are set to the mean."""
GRID, CLIP_LIMIT = 16, 2.0
"""Tiles along each side of a section, and the contrast limit, of the equalisation."""


def equalise_sections(image: np.ndarray) -> np.ndarray:
    """Evens out slow changes of brightness and stretches contrast locally, section by section.

    Each section: minus its Gaussian blur; its edge set to its mean; z-score, of which -2 to 2 become 0 to 255;
    contrast-limited adaptive histogram equalisation. The printed text gives filter, limit and tiles ("16 × 16",
    taken as a grid of that many tiles); edge and scaling are those of the authors' code.

    Args:
        image: float32 `(H, W)` or `(D, H, W)`.

    Returns:
        float32 of the same shape, 0 to 255.
    """
    sections = image.reshape(-1, *image.shape[-2:])
    return np.stack([_equalise(section) for section in sections]).reshape(image.shape)


def high_pass(section: np.ndarray) -> np.ndarray:
    """A section minus its Gaussian blur; what lies within `BORDER` of the edge becomes the mean of the rest."""
    import cv2

    high = section - cv2.GaussianBlur(section, (KERNEL, KERNEL), SIGMA)
    border = min(BORDER, min(section.shape) // 4)
    inside = tuple(slice(border, size - border) for size in section.shape)
    framed = np.full_like(high, high[inside].mean())
    framed[inside] = high[inside]
    return framed


def _equalise(section: np.ndarray) -> np.ndarray:
    import cv2

    scores = normalise(high_pass(np.ascontiguousarray(section, dtype=np.float32)), "volume")
    levels = np.clip(scores * (255 / 4) + 128, 0, 255).astype(np.uint8)
    return cv2.createCLAHE(CLIP_LIMIT, (GRID, GRID)).apply(levels).astype(np.float32)
