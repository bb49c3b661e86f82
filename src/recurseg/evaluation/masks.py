"""Two masks of one structure, checked and freed of ignored voxels: what every metric starts from."""

from __future__ import annotations

import numpy as np

from recurseg.data.case import IGNORE
from recurseg.errors import DataError


def same_shape(prediction: np.ndarray, reference: np.ndarray) -> None:
    """Raises DataError where the two arrays do not lie on one grid."""
    if prediction.shape != reference.shape:
        raise DataError(
            f"prediction of shape {prediction.shape} against reference of shape {reference.shape}: "
            "put both on one grid first"
        )


def as_mask(array: np.ndarray, side: str) -> np.ndarray:
    """Returns a boolean mask from booleans or from 0/1 integers, where 255 (ignored) counts as 0."""
    if array.dtype == bool:
        return array
    values = np.unique(array)
    if not np.isin(values, (0, 1, IGNORE)).all():
        raise DataError(
            f"{side} holds the values {values[:5].tolist()} where a mask of one structure was expected: "
            f"pass '{side} == class'"
        )
    return array == 1


def masks(prediction: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns both masks as booleans, empty wherever the reference says 255 (ignore).

    Args:
        prediction: Mask of one structure, bool or 0/1, any number of axes.
        reference: The same; as integers it may hold 255, which no metric counts.
    """
    same_shape(prediction, reference)
    found, expected = as_mask(prediction, "prediction"), as_mask(reference, "reference")
    if reference.dtype != bool:
        found = found & (reference != IGNORE)
    return found, expected
