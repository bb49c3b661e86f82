"""What a plan is made from: what the headers of a data set, and its first image, say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from recurseg.data.case import Case
from recurseg.preprocess.orientation import orientation_of
from recurseg.training.recipe import Axis

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Facts:
    """What a plan is made from.

    Attributes:
        shape: Median prepared shape (D, H, W); D = 1 for images.
        spacing: Median millimetres per voxel in the same order.
        flat: Whether cases are images.
        anatomy: Whether cases have a place in the world, so that left is not right and up is not down.
        left_right: Which of D, H, W runs from left to right; None without a world.
        masked: Whether a large part of the voxels is exactly zero, as after skull-stripping.
        membranes: Whether a class is called membrane.
        modalities: How many a case has.
        frames: Median number of frames; 1 where nothing moves.
        minutes: For training; None where steps are given.
        gpu: Whether there is one.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    flat: bool
    anatomy: bool
    left_right: Axis | None
    masked: bool
    membranes: bool
    modalities: int
    frames: int
    minutes: float | None
    gpu: bool

    @property
    def anisotropy(self) -> float:
        """How many times coarser sections lie than pixels."""
        return self.spacing[0] / min(self.spacing[1:])


def look_at(cases: Sequence[Case], class_names: Sequence[str], minutes: float | None) -> Facts:
    """Reads what a plan needs: headers, and the first image for its zeros."""
    import torch

    frames, cases = int(np.median([case.frames for case in cases])), [case.frame(0) for case in cases]
    first = cases[0]
    flat = first.slice_axis is None
    shapes, spacings = [], []
    for case in cases:
        axes = orientation_of(case.reference, "canonical").axes
        shapes.append([case.shape[axis] for axis in axes])
        spacings.append([case.spacing[axis] for axis in axes])
    shape, spacing = np.median(shapes, axis=0), np.median(spacings, axis=0)
    anatomy = first.affine is not None
    image = first.reference.array[...]
    return Facts(
        shape=_three(int(size) for size in shape),
        spacing=_three((float(mm) for mm in spacing), fill=1.0),
        flat=flat,
        anatomy=anatomy,
        left_right=_left_right(first) if anatomy and not flat else None,
        masked=bool(anatomy and (image == 0).mean() > 0.2),
        membranes="membrane" in class_names,
        modalities=len(first.modalities or first.images),
        frames=frames,
        minutes=minutes,
        gpu=torch.cuda.is_available(),
    )


def _left_right(case: Case) -> Axis:
    import nibabel

    axes = orientation_of(case.reference, "canonical").axes
    to_world = nibabel.orientations.io_orientation(case.affine)[:, 0]  # stored axis → world axis
    letters: tuple[Axis, ...] = ("D", "H", "W")
    return letters[[int(to_world[axis]) for axis in axes].index(0)]


def _three(values: Iterable[Number], *, fill: Number = 1) -> tuple[Number, Number, Number]:
    """(D, H, W) of two or three values; a missing D is `fill`."""
    *sections, height, width = values
    return (sections[0] if sections else fill), height, width
