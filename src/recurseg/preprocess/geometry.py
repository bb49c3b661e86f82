"""The way from a stored grid to a prepared one, and a network's answer on its way back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from recurseg.preprocess.crop import Box, paste
from recurseg.preprocess.fit import fit_centred
from recurseg.preprocess.orientation import Orientation
from recurseg.preprocess.resample import resample_linear


@dataclass(frozen=True)
class Geometry:
    """The way from a stored grid to a prepared one.

    Attributes:
        stored_shape: Shape of the case, of a cine that of one frame.
        orientation: First step: permuted and flipped axes.
        box: Second step: what was left by the crop, in permuted axes.
        resampled: Third step: the shape after resampling.
        shape: Fourth step: the prepared shape, cut or filled up around the centre.
        time_axis: Of a cine, where its frames lie in the file; the others are shapes of one frame. None: no frames.
    """

    stored_shape: tuple[int, ...]
    orientation: Orientation
    box: Box
    resampled: tuple[int, ...]
    shape: tuple[int, ...]
    time_axis: int | None = None

    @property
    def frame(self) -> Geometry:
        """Of one frame of a cine."""
        return replace(self, time_axis=None)

    @property
    def oriented_shape(self) -> tuple[int, ...]:
        return tuple(self.stored_shape[axis] for axis in self.orientation.axes)

    @property
    def box_shape(self) -> tuple[int, ...]:
        return tuple(side.stop - side.start for side in self.box)

    def unfit(self, array: np.ndarray, fill: float | np.ndarray) -> np.ndarray:
        """Fourth and third step back: `(C, *shape)` to float32 `(C, *box_shape)`; what was cut off is `fill`."""
        return resample_linear(fit_centred(array, self.resampled, fill), self.box_shape)


def restore(scores: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Turns class scores of a prepared image into labels on the case's own grid.

    Args:
        scores: `(K, *spatial)` probabilities, 2 ≤ K ≤ 255, class 0 = background; of a cine `(K, T, *spatial)`.
        geometry: Of the prepared image.

    Returns:
        uint8 class of the largest score, in the stored shape and axis order; outside a crop 0.
    """
    if geometry.time_axis is not None:
        frames = [restore(frame, geometry.frame) for frame in scores.swapaxes(0, 1)]
        return np.stack(frames, axis=geometry.time_axis)
    labels = geometry.unfit(scores, _background(scores)).argmax(axis=0).astype(np.uint8)
    labels = paste(labels, geometry.box, geometry.oriented_shape, 0)
    return np.ascontiguousarray(geometry.orientation.undo(labels))


def restore_scores(scores: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Brings class probabilities of a prepared image to the case's own grid.

    Args:
        scores: `(K, *spatial)` probabilities, class 0 = background; of a cine `(K, T, *spatial)`.
        geometry: Of the prepared image.

    Returns:
        float32 `(K, *stored shape)`; outside a crop 1 for the background and 0 for every other class.
    """
    if geometry.time_axis is not None:
        frames = [restore_scores(frame, geometry.frame) for frame in scores.swapaxes(0, 1)]
        return np.stack(frames, axis=geometry.time_axis + 1)
    scores = geometry.unfit(scores, _background(scores))
    whole = [
        paste(channel, geometry.box, geometry.oriented_shape, fill=float(index == 0))
        for index, channel in enumerate(scores)
    ]
    return np.ascontiguousarray(geometry.orientation.undo(np.stack(whole)), dtype=np.float32)


def _background(scores: np.ndarray) -> np.ndarray:
    """The probabilities of what no network saw, as broad as `scores`: 1 for class 0."""
    return np.eye(1, len(scores)).reshape(-1, *[1] * (scores.ndim - 1))
