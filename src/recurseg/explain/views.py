"""Volumes as pictures: planes through a voxel along each axis, and the part of them that is worth showing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recurseg.explain.pictures import Colours, Picture

DECADES = 4
"""Powers of ten that pictures of gradients tell apart; what is weaker is black."""
MOST_STEPS = 32
"""Planes that a slider offers; of more, evenly spaced ones."""


def plane_axes(dims: int, axis: int | None) -> tuple[int, int]:
    """The two axes that run down and across a picture; `axis` is the one that it cuts, None for an image."""
    down, across = (other for other in range(dims) if other != axis)
    return down, across


def plane_title(letters: str, axis: int | None) -> str:
    """What runs down and across: "D down, W across"."""
    down, across = (letters[other] for other in plane_axes(len(letters), axis))
    return f"{down} down, {across} across"


def cuts(dims: int) -> list[int | None]:
    """The axes along which a voxel's planes are cut: each of a volume, the one plane of an image."""
    return [None] if dims == 2 else [0, 1, 2]


def picture(
    title: str,
    volume: np.ndarray,
    voxel: Sequence[int],
    axis: int | None,
    *,
    spacing: Sequence[float],
    steps: Sequence[int] | None = None,
    box: Sequence[slice] | None = None,
    bound: np.ndarray | None = None,
    colours: Colours = "heat",
    top: float = 1.0,
    decades: int = 0,
    sources: tuple[str, ...] = (),
) -> Picture:
    """The planes of a volume across one axis.

    Args:
        title: Of the picture.
        volume: `(*spatial)`, or `(*spatial, N)` for N sources.
        voxel: Is marked; empty: nothing is.
        axis: Axis that the planes cut; None for an image.
        spacing: Size of a voxel an axis of the volume.
        steps: Indices of the planes along `axis`; None for the voxel's own alone.
        box: The part of each axis that is shown.
        bound: bool `(*spatial)`: its edge is drawn.
        colours: As in `Picture`, like `top`, `decades` and `sources`.
    """
    dims = len(spacing)
    down, across = plane_axes(dims, axis)
    sides = [slice(0, size) for size in volume.shape[:dims]] if box is None else list(box)
    chosen = [0] if axis is None else [voxel[axis]] if steps is None else list(steps)
    corner = [side.start for side in sides]

    def stack(array: np.ndarray) -> np.ndarray:
        if axis is None:
            return np.ascontiguousarray(array[tuple(sides)][None])
        lead = tuple(slice(None) if other == axis else sides[other] for other in range(dims))
        return np.ascontiguousarray(np.moveaxis(array[lead], axis, 0)[chosen])

    return Picture(
        title=title,
        values=stack(volume).astype(np.float32),
        colours=colours,
        top=top,
        decades=decades,
        sources=sources,
        mark=(voxel[down] - corner[down], voxel[across] - corner[across]) if voxel else None,
        mark_step=None if axis is None or steps is None else chosen.index(voxel[axis]),
        bound=None if bound is None else stack(bound),
        pixel=(spacing[down], spacing[across]),
    )


def chosen_planes(size: int, own: int) -> list[int]:
    """At most `MOST_STEPS` planes of an axis, evenly spaced, the voxel's own among them."""
    even = np.unique(np.linspace(0, size - 1, min(size, MOST_STEPS)).round().astype(int))
    if own not in even:
        even[np.abs(even - own).argmin()] = own
    return [int(index) for index in even]


def worth_showing(volumes: Sequence[np.ndarray], voxel: Sequence[int], decades: int = DECADES) -> list[slice]:
    """The box that holds everything within `decades` of the largest value, centred on the voxel, with a margin.

    Args:
        volumes: Non-negative `(*spatial)`, all of one shape.
        voxel: Stays in the middle, as far as the volume reaches.
        decades: Powers of ten below the largest value of all that still count.
    """
    top = max(float(volume.max()) for volume in volumes)
    seen = np.logical_or.reduce([volume > top * 10.0**-decades for volume in volumes])
    box = []
    for axis, size in enumerate(seen.shape):
        filled = np.flatnonzero(seen.any(axis=tuple(other for other in range(seen.ndim) if other != axis)))
        reach = max((abs(filled - voxel[axis]).max() if len(filled) else size), 8) + 2
        box.append(slice(int(max(voxel[axis] - reach, 0)), int(min(voxel[axis] + reach + 1, size))))
    return box
