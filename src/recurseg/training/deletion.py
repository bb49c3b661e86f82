"""What is deleted from an image for a network to complete: places that anyone can draw again from seed and number."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from recurseg.training.recipe import DeletionConfig

_TRAINING, _HELD_OUT = 1, 2
"""Last words of the seeds, so that a training window never shares its places with a held-out image."""


def deleted_pixels(shape: tuple[int, int], config: DeletionConfig, random: np.random.Generator) -> np.ndarray:
    """Draws what one image loses.

    Args:
        shape: (H, W).
        config: The bottom half (rows from H // 2 on), or squares that lie anywhere within the image.
        random: Decides the places of squares.

    Returns:
        bool (H, W), True where the image is deleted.
    """
    lost = np.zeros(shape, bool)
    if config.what == "bottom_half":
        lost[shape[0] // 2 :] = True
        return lost
    size = config.size or 0
    for _ in range(config.count or 0):
        row, column = (int(random.integers(max(extent - size, 0) + 1)) for extent in shape)
        lost[row : row + size, column : column + size] = True
    return lost


def deleted_from_window(shape: tuple[int, int, int], config: DeletionConfig, *, seed: int, number: int) -> np.ndarray:
    """What training window `number` loses, section by section: bool (D, H, W)."""
    random = np.random.default_rng([seed, number, _TRAINING])
    return _stacked(shape, config, (random for _ in range(shape[0])))


def deleted_from_images(shape: tuple[int, int, int], config: DeletionConfig, *, seed: int, first: int) -> np.ndarray:
    """What the held-out images number `first`, `first` + 1, ... lose, each a section: bool (D, H, W)."""
    numbers = range(first, first + shape[0])
    return _stacked(shape, config, (np.random.default_rng([seed, number, _HELD_OUT]) for number in numbers))


def _stacked(
    shape: tuple[int, int, int], config: DeletionConfig, randoms: Iterable[np.random.Generator]
) -> np.ndarray:
    return np.stack([deleted_pixels(shape[1:], config, random) for random in randoms])
