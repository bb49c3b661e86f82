"""Parts of an explanation as PNG figures."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

import numpy as np

from recurseg.errors import ResourceError
from recurseg.explain import Part, Picture
from recurseg.report.colours import LINE, LINE_ON_GREY, SOURCES, colour, hexadecimal

WIDTH = 10.0
"""Of a figure, in inches."""
RATIOS = (0.8, 3.0)
"""Width by height that a picture has at least and at most; others are squeezed."""


def write_figure(part: Part, path: Path) -> Path:
    """Draws a part at the step where its slider starts.

    Args:
        part: Rows of pictures.
        path: PNG file; written under a temporary name and renamed.

    Returns:
        `path`.

    Raises:
        ResourceError: It cannot be written.
    """
    from matplotlib.figure import Figure

    heights = [max(WIDTH / max(len(row), 2) / shown_ratio(picture) for picture in row) + 0.35 for row in part.rows]
    figure = Figure(figsize=(WIDTH, sum(heights) + 0.8), layout="constrained", facecolor="white")
    step = f", {part.steps[part.start]}" if len(part.steps) > 1 else ""
    figure.suptitle(f"{part.title}{step}", fontsize=12)
    sources = next((picture.sources for row in part.rows for picture in row if picture.sources), ())
    if sources:
        from matplotlib.patches import Patch

        keys = [Patch(color=hexadecimal(rgb), label=name) for rgb, name in zip(SOURCES, sources, strict=False)]
        figure.legend(handles=keys, loc="outside lower center", ncols=len(sources), fontsize=8, frameon=False)
    rows = figure.subfigures(len(part.rows), 1, height_ratios=heights, squeeze=False)[:, 0]
    for subfigure, row in zip(rows, part.rows, strict=True):
        places = subfigure.subplots(1, max(len(row), 2), squeeze=False)[0]
        for axes, picture in zip(places, row, strict=False):
            _draw(axes, picture, part.start)
        for axes in places[len(row) :]:
            axes.set_axis_off()
    part_path = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(part_path, dpi=130, format="png")
        os.replace(part_path, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part_path.unlink()
        raise ResourceError(f"{path}: cannot be written: {error.strerror or error}: choose another folder") from error
    return path


def _draw(axes, picture: Picture, step: int) -> None:
    frame = min(step, len(picture.values) - 1)
    height, width = picture.values.shape[1:3]
    axes.imshow(colour(picture)[frame], aspect=width / height / shown_ratio(picture), interpolation="nearest")
    bound = None if picture.bound is None else picture.bound[min(step, len(picture.bound) - 1)]
    if bound is not None and 0 < bound.mean() < 1:
        edge = np.kron(bound, np.ones((8, 8)))
        line = hexadecimal(LINE_ON_GREY if picture.colours == "grey" else LINE)
        axes.contour(edge, [0.5], colors=line, linewidths=0.7, extent=(-0.5, width - 0.5, -0.5, height - 0.5))
    if picture.mark is not None and picture.mark_step in (None, step):
        axes.plot(picture.mark[1], picture.mark[0], "o", mfc="none", mec="#3fd0ff", ms=9, mew=1.2)
    axes.set_title(picture.title, fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])


def shown_ratio(picture: Picture) -> float:
    """Width of a picture by its height, as drawn."""
    height, width = picture.values.shape[1:3]
    return min(max(width * picture.pixel[1] / (height * picture.pixel[0]), RATIOS[0]), RATIOS[1])


def to_scale(picture: Picture) -> bool:
    """Whether a picture has the proportions of its voxels."""
    height, width = picture.values.shape[1:3]
    return math.isclose(shown_ratio(picture), width * picture.pixel[1] / (height * picture.pixel[0]))
