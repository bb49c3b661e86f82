"""Saved class probabilities, read one class at a time in the axis order of their label file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from recurseg.data.case import Deferred, Volume
from recurseg.data.formats import format_of
from recurseg.errors import DataError


def class_probability(path: Path, label: Volume, class_: int) -> Volume:
    """Returns the probability of one class as a lazy volume on the grid of a label file.

    Args:
        path: NIfTI with classes on the last axis, TIFF with classes first, or ITK with vector voxels; a
            file without class axis is the probability of class 1 against class 0.
        label: The label file beside it.
        class_: Class, from 0.

    Raises:
        DataError: When read: the file is damaged or does not lie on the grid.
    """

    def read(index: Any) -> np.ndarray:
        maps = _classes_first(path, label.shape)
        if len(maps) == 1 and class_ in (0, 1):
            return (maps[0] if class_ else 1 - maps[0])[index]
        if class_ >= len(maps):
            raise DataError(f"{path}: holds {len(maps)} class probabilities, class {class_} is not among them")
        return maps[class_][index]

    return replace(label, array=Deferred(label.shape, np.dtype(np.float32), read), path=path)


def _classes_first(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """All maps of a file as (classes, *shape)."""
    try:
        match format_of(path):
            case "nifti":
                import nibabel as nib

                stored = np.asanyarray(nib.load(path).dataobj)  # type: ignore[attr-defined]
                return np.moveaxis(stored.reshape(*shape, -1), -1, 0)
            case "itk":
                import SimpleITK as sitk

                stored = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
                return stored.reshape(*shape[::-1], -1).transpose()
            case _:
                import tifffile

                return tifffile.imread(path).reshape(-1, *shape)
    except (OSError, ValueError, RuntimeError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path}: not probabilities on the grid {shape} of its label ({reason}): predict again"
        ) from None
