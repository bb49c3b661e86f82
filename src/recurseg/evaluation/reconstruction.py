"""How near a reconstructed image comes to the original: squared error, and overlap of the bright pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from recurseg.evaluation.overlap import Counts, count

if TYPE_CHECKING:
    from recurseg.evaluation.result import Evaluation

HALF = 0.5
"""Middle of the unit range: pixels that reach it are bright."""


def squared_error(prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float] | None = None) -> float:
    """Mean over pixels of the squared difference; `spacing` is not used."""
    return float(np.square(np.subtract(prediction, reference, dtype=np.float64)).mean())


def bright_counts(prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float] | None = None) -> Counts:
    """Pixels that are bright in both images, in the prediction alone and in the reference alone."""
    return count(np.asarray(prediction) >= HALF, np.asarray(reference) >= HALF)


def evaluate_images(
    images: Iterable[tuple[str, np.ndarray, np.ndarray]], *, metrics: Sequence[str], name: str
) -> Evaluation:
    """Measures reconstructed images, each of which counts as a case.

    Args:
        images: Id, reconstruction and original of each image, both in the unit range and on one grid.
        metrics: Ids from `METRICS` that take images.
        name: What the images show, in the place of a class.

    Returns:
        One row an image and metric.
    """
    from recurseg.evaluation.metrics import choose
    from recurseg.evaluation.result import Evaluation, Row

    chosen = choose(metrics)
    return Evaluation(
        [Row(id, name, m.id, m(found, original), m.unit) for id, found, original in images for m in chosen]
    )
