"""Patches and memories as pictures: images made small, light over them, slots by clocks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from recurseg.explain.pictures import Colours, Picture
from recurseg.explain.scene import Scene
from recurseg.models.patches import PatchGrid

STILL, MOVING = 384, 160
"""Longest side, in pixels, of pictures that stand still and of those that a slider moves."""
MOST_CLOCKS = 60
"""Clocks that a slider offers; of more, evenly spaced ones."""
MOST_LINES = 128
"""Rows and columns of a picture of slots by clocks; of more, neighbours share one, which shows the largest."""
WIDE = 1.6
"""Width by height of such a picture."""
DECADES = 2
"""Powers of ten that pictures of a memory tell apart; what is weaker is black."""
DIM = 0.4
"""Brightness of an image's black under full light, so that light is seen there too."""


def chosen_clocks(length: int, wanted: Sequence[int]) -> list[int]:
    """At most `MOST_CLOCKS` clocks, evenly spaced, the wanted ones in the place of those nearest to them."""
    even = np.unique(np.linspace(0, length - 1, min(length, MOST_CLOCKS)).round().astype(int)).tolist()
    for clock in wanted[:MOST_CLOCKS]:
        if clock not in even:
            even.remove(min(set(even) - set(wanted), key=lambda other: abs(other - clock)))
            even.append(clock)
    return sorted(even)


def still(
    scene: Scene,
    title: str,
    volume: np.ndarray,
    *,
    colours: Colours = "heat",
    top: float = 1.0,
    bound: np.ndarray | None = None,
) -> Picture:
    """The section of the voxel as a picture that stands still.

    Args:
        scene: Says where the voxel is, and how large.
        title: Of the picture.
        volume: `(*window)`.
        colours: As in `Picture`, like `top`.
        bound: bool `(steps, h, w)` of any size.
    """
    plane = _section(scene, volume)
    rows, columns = _seen(plane.shape, STILL)
    return Picture(
        title=title,
        values=plane[np.ix_(rows, columns)][None].astype(np.float32),
        colours=colours,
        top=top,
        bound=bound,
        mark=_mark(scene, rows, columns),
        pixel=(scene.spacing[-2], scene.spacing[-1]),
    )


def lit(
    scene: Scene, title: str, light: np.ndarray, grid: PatchGrid, *, sources: tuple[str, ...], bound: np.ndarray
) -> Picture:
    """The first modality, in the section of the voxel, under the light of its patches.

    Args:
        scene: Of the image.
        title: Of the picture.
        light: `(steps, rows, columns, N)` of patches, 0 to 1, shown over `DECADES` powers of ten; a pixel has that of
            the patch whose middle is nearest.
        grid: The patches.
        sources: Names of the N sources of light.
        bound: As `footprint` gives it, one a step.
    """
    plane = _section(scene, scene.channels[0])
    rows, columns = _seen(plane.shape, MOVING)
    low, high = np.percentile(plane, [0.5, 99.5])
    shade = np.clip((plane[np.ix_(rows, columns)] - low) / ((high - low) or 1.0), 0, 1)
    bright = 1 + np.log10(np.maximum(light, 10.0**-DECADES)) / DECADES
    falling = bright[:, _nearest(grid, -2, rows)][:, :, _nearest(grid, -1, columns)]
    return Picture(
        title=title,
        values=(falling * (DIM + (1 - DIM) * shade)[..., None]).astype(np.float32),
        colours="mixed",
        sources=sources,
        mark=_mark(scene, rows, columns),
        bound=bound,
        pixel=(scene.spacing[-2], scene.spacing[-1]),
    )


def footprint(grid: PatchGrid, patches: Iterable[int]) -> np.ndarray:
    """The pixels of a moving picture that some patches cover, bool `(h, w)`."""
    seen = _seen(grid.size[-2:], MOVING)
    found = np.zeros([len(places) for places in seen], bool)
    for patch in patches:
        cell = np.unravel_index(patch, grid.counts)
        first = [int(cell[axis]) * grid.stride[axis] - grid.before[axis] for axis in (-2, -1)]
        rows, columns = (
            (places >= start) & (places < start + side)
            for places, start, side in zip(seen, first, grid.patch[-2:], strict=True)
        )
        found |= np.logical_and.outer(rows, columns)
    return found


def patch_of(grid: PatchGrid, voxel: Sequence[int]) -> int:
    """Number of the patch whose middle is nearest to a voxel."""
    cell = [int(_nearest(grid, axis, np.array(place))) for axis, place in enumerate(voxel)]
    return int(np.ravel_multi_index(cell, grid.counts))


def slots_by_clocks(
    title: str, values: np.ndarray, clocks: Sequence[int], *, top: float, decades: int = DECADES
) -> Picture:
    """Numbers of slots over time as a picture, the clock of the slider framed.

    Args:
        title: Of the picture.
        values: `(T, N)`.
        clocks: The slider's.
        top: Value of the brightest colour.
        decades: As in `Picture`.
    """
    coarse = _largest(_largest(values.T, axis=0), axis=1)  # (N, T)
    height, width = coarse.shape
    now = np.zeros((len(clocks), height, width), bool)
    now[np.arange(len(clocks)), :, np.array(clocks) // _together(len(values))] = True
    return Picture(
        title, coarse[None].astype(np.float32), top=top, decades=decades, bound=now, pixel=(width / height, WIDE)
    )


def _section(scene: Scene, volume: np.ndarray) -> np.ndarray:
    return volume if scene.dims == 2 else volume[scene.voxel[0]]


def _seen(size: Sequence[int], longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of an image that a picture of at most `longest` pixels a side shows, evenly spaced."""
    sides = [max(1, round(side * min(1.0, longest / max(size)))) for side in size]
    rows, columns = (((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(sides, size, strict=True))
    return rows, columns


def _mark(scene: Scene, rows: np.ndarray, columns: np.ndarray) -> tuple[int, int]:
    row, column = scene.voxel[-2:]
    return int(np.abs(rows - row).argmin()), int(np.abs(columns - column).argmin())


def _nearest(grid: PatchGrid, axis: int, places: np.ndarray) -> np.ndarray:
    """The patch along an axis whose middle is nearest to each place."""
    first = (grid.patch[axis] - 1) / 2 - grid.before[axis]
    return np.clip(np.rint((places - first) / grid.stride[axis]), 0, grid.counts[axis] - 1).astype(int)


def _together(size: int) -> int:
    """How many neighbours share a line."""
    return -(-size // MOST_LINES)


def _largest(values: np.ndarray, axis: int) -> np.ndarray:
    size = values.shape[axis]
    return np.maximum.reduceat(values, np.arange(0, size, _together(size)), axis)
