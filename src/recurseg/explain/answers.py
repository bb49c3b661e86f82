"""Answers over the whole window: maps of the explained class, labels, and how two of them differ."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from recurseg.explain.scene import Scene

LEAST_CHANGE = 0.01
"""Scales of changes end here at least, so that rounding is not drawn as a change; a fraction of 1 for probabilities,
of the range of its values for an image."""


def answer_map(scene: Scene, logits: Tensor) -> np.ndarray:
    """The explained class's probability, or the completed image, out of `(K, *window)`."""
    if scene.completes:
        found = logits[scene.target]
    elif len(logits) > 1:
        found = logits.softmax(0)[scene.target]
    else:
        found = scene.explained(logits).sigmoid()
    return found.cpu().numpy()


def labels(logits: Tensor) -> np.ndarray:
    """The class of each voxel out of `(K, *window)`."""
    found = logits.argmax(0) if len(logits) > 1 else (logits[0] > 0).long()
    return found.cpu().numpy()


def dice(one: np.ndarray, other: np.ndarray) -> float | None:
    """Overlap of two masks; None where both are empty."""
    size = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / size if size else None
