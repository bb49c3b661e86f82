"""Whether a case's images and label lie on one grid."""

from __future__ import annotations

import itertools

import numpy as np

from recurseg.data.case import Case, Volume

GRID_TOLERANCE = 0.1
"""Voxels by which the corners of two grids may lie apart and still be one grid."""


def grid_problem(case: Case) -> str | None:
    """What keeps a case's modalities and label from lying on one grid, in one line; None where they do."""
    reference, first = case.reference, next(iter(case.images))
    for modality, volume in case.images.items():
        if volume.shape != reference.shape:
            return (
                f"case {case.id}: {modality} grid {volume.shape} in {volume.path} differs from {first} "
                f"grid {reference.shape}: resample the modalities to one grid"
            )
        if not same_place(volume, reference):
            return (
                f"case {case.id}: {modality} in {volume.path} lies elsewhere than {first} "
                "(affines differ): register and resample the modalities to one grid"
            )
    label = case.label
    if label is None:
        return None
    if label.time_axis is None and reference.time_axis is not None:
        return (
            f"case {case.id}: label {label.path} has no frames, its image {reference.path} has {reference.frames}: "
            "say in a dataset.yaml which frame it labels (label: {0: file}), or, if these are channels, save each "
            "as a file of its own"
        )
    if label.shape != reference.shape:
        mend = "resample it with 'recurseg check DATA --fix OUT'"
        if label.affine is None or reference.affine is None:
            mend = "export it again at the size of the image"
        grids = f"label grid {label.shape} in {label.path} differs from image grid {reference.shape}"
        return f"case {case.id}: {grids}: {mend}"
    if not same_place(label, reference):
        return (
            f"case {case.id}: label {label.path} lies elsewhere than its image (affines differ): "
            "resample it with 'recurseg check DATA --fix OUT'"
        )
    return None


def same_place(one: Volume, other: Volume) -> bool:
    """Whether two volumes of one shape cover the same place in the world, as far as their formats know it."""
    one, other = one.frame(0), other.frame(0)
    if one.affine is None or other.affine is None:
        return True
    ends = [(0, size - 1) for size in (*one.shape, 1)[:3]]
    corners = np.array([(*corner, 1) for corner in itertools.product(*ends)])
    apart = np.linalg.norm((corners @ (one.affine - other.affine).T)[:, :3], axis=1)
    return float(apart.max()) <= GRID_TOLERANCE * min(other.spacing)
