"""Distances between the surfaces of two masks in millimetres."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from recurseg.errors import ConfigError
from recurseg.evaluation.masks import masks


class Distances(NamedTuple):
    """Distance in mm from each surface voxel of one mask to the nearest surface voxel of the other.

    `worst` stands for every distance where one mask is empty: the diagonal of the image, which no
    distance within it exceeds. Both arrays are empty where both masks are.
    """

    to_reference: np.ndarray
    to_prediction: np.ndarray
    worst: float


def surface(mask: np.ndarray) -> np.ndarray:
    """Voxels of a mask with a background voxel, or the image's end, beside one of their faces: mask − eroded mask."""
    from scipy.ndimage import binary_erosion

    return mask & ~binary_erosion(mask)


def _surface_points(mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Surface voxels as (points, axes) in mm; works on the bounding box alone."""
    box = []
    for axis in range(mask.ndim):
        hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        box.append(slice(hit[0], hit[-1] + 1))
    corner = np.array([b.start for b in box])
    return (np.argwhere(surface(mask[tuple(box)])) + corner) * np.asarray(spacing, dtype=float)


def surface_distances(
    prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float] | None = None
) -> Distances:
    """Measures both directed distances between two surfaces with a KD-tree.

    Args:
        prediction: Mask of one structure, bool or 0/1, 2-D or 3-D.
        reference: The same; 255 is ignored.
        spacing: Millimetres per voxel, one number an axis of the masks.

    Returns:
        The distances in mm.

    Raises:
        ConfigError: Without a spacing for every axis there are no millimetres.
    """
    from scipy.spatial import KDTree

    if spacing is None or len(spacing) != prediction.ndim:
        raise ConfigError(f"distances in mm need {prediction.ndim} spacings in mm, got {spacing}: pass spacing=(...)")
    found, expected = masks(prediction, reference)
    worst = math.hypot(*(n * s for n, s in zip(found.shape, spacing, strict=True)))
    none = np.empty(0)
    if not found.any() and not expected.any():
        return Distances(none, none, worst)
    if not found.any() or not expected.any():
        return Distances(np.array([worst]), np.array([worst]), worst)
    points, targets = _surface_points(found, spacing), _surface_points(expected, spacing)

    def tree(points: np.ndarray) -> KDTree:
        return KDTree(points, leafsize=32, balanced_tree=False, compact_nodes=False)

    return Distances(tree(targets).query(points)[0], tree(points).query(targets)[0], worst)


def hd95_mm(d: Distances) -> float:
    """The larger of the two directed 95th percentiles."""
    if not d.to_reference.size:
        return float("nan")
    return float(max(np.percentile(d.to_reference, 95), np.percentile(d.to_prediction, 95)))


def assd_mm(d: Distances) -> float:
    """Mean over the surface voxels of both masks together."""
    if not d.to_reference.size:
        return float("nan")
    return float((d.to_reference.sum() + d.to_prediction.sum()) / (d.to_reference.size + d.to_prediction.size))
