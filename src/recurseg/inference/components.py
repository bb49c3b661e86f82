"""Connected pieces of a prediction."""

from __future__ import annotations

import numpy as np


def keep_largest_component(labels: np.ndarray) -> np.ndarray:
    """Keeps the largest connected piece of each foreground class, corners touching; the rest becomes background.

    Args:
        labels: Classes, 2-D or 3-D, 0 = background.

    Returns:
        A new array of the same type.
    """
    import cc3d

    kept = np.zeros_like(labels)
    for index in np.unique(labels[labels != 0]):
        piece = cc3d.largest_k(labels == index, k=1, connectivity=26 if labels.ndim == 3 else 8, binary_image=True)
        kept[piece != 0] = index
    return kept
