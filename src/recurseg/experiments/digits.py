"""Drawn digits in the files of MNIST, to see in seconds that a table runs."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from recurseg.errors import ResourceError

COUNTS = {"train": 240, "t10k": 60}
"""Digits for training, of which a twelfth validates, and for the test."""
SIDE = 28


def write_digits(folder: Path) -> None:
    """Writes the four files of MNIST with digits in a printed type, turned, moved and drawn more or less boldly.

    Raises:
        ResourceError: The folder is there already, or cannot be made.
    """
    random = np.random.default_rng(0)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise ResourceError(f"{folder}: cannot be made: {error.strerror}") from None
    for part, count in COUNTS.items():
        labels = random.integers(0, 10, count).astype(np.uint8)
        images = np.stack([_drawn(str(label), random) for label in labels])
        (folder / f"{part}-images-idx3-ubyte").write_bytes(_idx(images))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(_idx(labels))


def _drawn(digit: str, random: np.random.Generator) -> np.ndarray:
    import cv2

    page = np.zeros((SIDE, SIDE), np.uint8)
    cv2.putText(page, digit, (6, 23), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 255, int(random.integers(2, 4)), cv2.LINE_AA)
    turn = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), random.uniform(-12, 12), random.uniform(0.9, 1.1))
    turn[:, 2] += random.uniform(-2, 2, 2)
    return np.asarray(cv2.warpAffine(page, turn, (SIDE, SIDE)))


def _idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()
