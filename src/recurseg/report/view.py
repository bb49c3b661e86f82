"""How the sections of a volume are shown: which stored axis goes where, so that anatomy stands upright."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recurseg.data.case import Volume

_TOWARDS = ("R", "A", "S")
_FROM = ("L", "P", "I")


@dataclass(frozen=True)
class View:
    """Sections of a volume as pictures.

    Attributes:
        slice_axis: Stored axis along which sections follow each other; None for an image.
        rows: Stored axis that runs down the picture.
        columns: Stored axis that runs across it.
        flips: Whether rows and columns are reversed.
        letters: What lies left, right, above and below ("R", "L", "A", "P"); None where the file does not say.
        pixel: Height and width of a pixel in mm.
    """

    slice_axis: int | None
    rows: int
    columns: int
    flips: tuple[bool, bool]
    letters: tuple[str, str, str, str] | None
    pixel: tuple[float, float]

    def section(self, array: np.ndarray, index: int) -> np.ndarray:
        """Section `index` of a stored array as a picture (H, W); a view."""
        plane = array if self.slice_axis is None else array[(slice(None),) * self.slice_axis + (index,)]
        if self.rows > self.columns:
            plane = plane.T
        return plane[:: -1 if self.flips[0] else 1, :: -1 if self.flips[1] else 1]


def view_of(volume: Volume) -> View:
    """The view of a volume: by its affine the patient's right on the left and front or head up; else as stored."""
    axis = volume.slice_axis
    plane = [a for a in range(len(volume.shape)) if a != axis]
    spacing = volume.spacing
    if volume.affine is None:
        rows, columns = plane
        return View(axis, rows, columns, (False, False), None, (spacing[rows], spacing[columns]))

    from nibabel.orientations import io_orientation

    towards = io_orientation(volume.affine)  # stored axis → (world axis, direction)
    columns, rows = sorted(plane, key=lambda a: towards[a, 0])
    across, down = int(towards[columns, 0]), int(towards[rows, 0])
    letters = (_TOWARDS[across], _FROM[across], _TOWARDS[down], _FROM[down])
    flips = bool(towards[rows, 1] > 0), bool(towards[columns, 1] > 0)
    return View(axis, rows, columns, flips, letters, (spacing[rows], spacing[columns]))
