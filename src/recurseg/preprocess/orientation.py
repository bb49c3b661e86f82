"""Axes from the order in which a file stores them to the order in which networks read them, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from recurseg.data.case import Volume
from recurseg.errors import DataError


@dataclass(frozen=True)
class Orientation:
    """A permutation of axes with flips.

    Attributes:
        axes: For each axis of the network, the stored axis that it is.
        flips: For each stored axis, whether its direction is reversed.
    """

    axes: tuple[int, ...]
    flips: tuple[bool, ...]

    def apply(self, array: np.ndarray) -> np.ndarray:
        """Stored order to network order, of the last axes of `array`; a view."""
        lead = array.ndim - len(self.axes)
        return self._flip(array).transpose(*range(lead), *(lead + axis for axis in self.axes))

    def undo(self, array: np.ndarray) -> np.ndarray:
        """Network order to stored order, of the last axes of `array`; a view."""
        lead = array.ndim - len(self.axes)
        return self._flip(array.transpose(*range(lead), *(lead + int(axis) for axis in np.argsort(self.axes))))

    def stored(self, sections: slice, shape: tuple[int, ...]) -> tuple[slice, ...]:
        """Where a range of the network's first axis lies in an array of the stored `shape`."""
        place, axis = [slice(None)] * len(shape), self.axes[0]
        size = shape[axis]
        place[axis] = slice(size - sections.stop, size - sections.start) if self.flips[axis] else sections
        return tuple(place)

    def _flip(self, array: np.ndarray) -> np.ndarray:
        lead = array.ndim - len(self.axes)
        return np.flip(array, tuple(lead + axis for axis, flip in enumerate(self.flips) if flip))


def orientation_of(volume: Volume, kind: Literal["canonical", "stored"]) -> Orientation:
    """Finds how to bring a volume's axes into the order of the network: slice axis first.

    Args:
        volume: Its affine, where there is one, says which axis points where.
        kind: "canonical" turns axes to the nearest of right, anterior, superior, then moves the slice axis to the
            front. Where several axes are the coarsest, the slice axis is the last of them in that order, so that
            the result does not depend on how the file stores it. Without an affine, and with "stored", only the
            slice axis moves. Images `(H, W)` stay as they are.

    Returns:
        The orientation.

    Raises:
        DataError: The affine maps an axis to nothing.
    """
    dims = len(volume.shape)
    slice_axis = volume.slice_axis
    if slice_axis is None:
        return Orientation(tuple(range(dims)), (False,) * dims)
    if kind == "stored" or volume.affine is None:
        rest = [axis for axis in range(dims) if axis != slice_axis]
        return Orientation((slice_axis, *rest), (False,) * dims)

    from nibabel.orientations import io_orientation

    towards = io_orientation(volume.affine)  # stored axis → (world axis, direction)
    if np.isnan(towards).any():
        raise DataError(f"{volume.path}: the affine has an axis of length 0: mend the header")
    world = [int(axis) for axis in np.argsort(towards[:, 0])]  # world axis → stored axis
    coarsest = max(volume.spacing)
    front = [axis for axis in world if volume.spacing[axis] >= coarsest * (1 - 1e-3)][-1]
    axes = (front, *(axis for axis in world if axis != front))
    return Orientation(axes, tuple(bool(direction < 0) for direction in towards[:, 1]))
