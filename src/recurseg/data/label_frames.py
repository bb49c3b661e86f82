"""The label of a cine of which only some frames are labelled, each in a file of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recurseg.data.case import IGNORE, Deferred, LazyArray, Volume
from recurseg.data.formats.lazy import basic_index
from recurseg.data.grid import same_place
from recurseg.errors import DataError


@dataclass(frozen=True)
class FrameArray:
    """Frames along one axis, `IGNORE` in those that nobody gave; an index reads only the files that it touches.

    Attributes:
        given: Frame → its array, all of one shape.
        shape: Length of each axis, that of time included.
        dtype: Holds the values of all files and `IGNORE`.
        time_axis: Axis of the frames.
    """

    given: Mapping[int, LazyArray]
    shape: tuple[int, ...]
    dtype: np.dtype
    time_axis: int

    def __getitem__(self, index: Any, /) -> np.ndarray:
        parts = basic_index(index, len(self.shape))
        if parts is None:
            return self[...][index]
        axis = self.time_axis
        within = (*parts[:axis], *parts[axis + 1 :])
        frames = range(self.shape[axis])[parts[axis]]
        if isinstance(frames, int):
            return self._frame(frames, within)
        behind = sum(isinstance(part, slice) for part in parts[:axis])
        if not frames:
            shape = list(self._frame(-1, within).shape)
            return np.empty((*shape[:behind], 0, *shape[behind:]), self.dtype)
        return np.stack([self._frame(frame, within) for frame in frames], behind)

    def _frame(self, frame: int, within: tuple[int | slice, ...]) -> np.ndarray:
        if frame in self.given:
            return np.asarray(self.given[frame][within], self.dtype)
        shape = self.shape[: self.time_axis] + self.shape[self.time_axis + 1 :]
        return np.full(np.broadcast_to(np.uint8(0), shape)[within].shape, IGNORE, self.dtype)


def join_frames(labels: Mapping[int, Volume], image: Volume) -> Volume:
    """Joins the labels of single frames to one of the whole cine.

    Args:
        labels: Frame, counted from 0 → its 3-D label; at least one. Of a cine of one section, 2-D labels fit too.
        image: The cine.

    Returns:
        A lazy 4-D volume in the axis order of `image`: 255 in every frame without a label, those with one under
        `given_frames`.

    Raises:
        DataError: The image is no cine or lacks a frame, a label is a cine, or labels do not lie on one grid.
    """
    axis, (first, *others) = image.time_axis, labels.values()
    if axis is None:
        raise DataError(f"{image.path}: has no frames, yet its label is given by frame: give the label file alone")
    if max(labels) >= image.frames:
        raise DataError(
            f"{labels[max(labels)].path}: labels frame {max(labels)}, {image.path} has frames 0-{image.frames - 1}"
        )
    film = next((label for label in labels.values() if label.time_axis is not None), None)
    if film:
        raise DataError(f"{film.path}: is itself a cine, where the label of one frame is meant: give it as the label")
    for other in others:
        if other.shape != first.shape or not same_place(other, first):
            raise DataError(
                f"{other.path}: lies on another grid than {first.path}: export both on the grid of the image"
            )
    labels = {frame: _with_all_axes(label, image.frame(0)) for frame, label in labels.items()}
    space = labels[min(labels)]
    return replace(
        space,
        array=FrameArray(
            {frame: label.array for frame, label in labels.items()},
            (*space.shape[:axis], image.frames, *space.shape[axis:]),
            np.result_type(np.uint8, *(label.array.dtype for label in labels.values())),
            axis,
        ),
        spacing=(*space.spacing[:axis], image.spacing[axis], *space.spacing[axis:]),
        stack_axis=image.stack_axis,
        files=tuple(label.path for label in labels.values()),
        time_axis=axis,
        given_frames=tuple(sorted(labels)),
    )


def _with_all_axes(label: Volume, frame: Volume) -> Volume:
    """A label whose axis of length 1 was squeezed, with the axes of a frame that keeps it."""
    if label.shape == frame.shape or label.shape != tuple(n for n in frame.shape if n > 1):
        return label
    flat = label.array
    array = Deferred(frame.shape, np.dtype(flat.dtype), lambda index: flat[...].reshape(frame.shape)[index])
    return replace(label, array=array, spacing=frame.spacing)
