"""Parts of an explanation as PNG figures."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from recurseg.errors import ResourceError
from recurseg.explain import Part, Picture
from recurseg.report.colours import SOURCES, colour

WIDTH = 10.0
"""Of a figure, in inches."""
LONGEST = 3.0
"""Most that a picture is longer than high, or higher than long; thinner ones are stretched."""


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

    heights = [max(WIDTH / len(row) / shown_ratio(picture) for picture in row) + 0.35 for row in part.rows]
    figure = Figure(figsize=(WIDTH, sum(heights) + 0.5), layout="constrained", facecolor="white")
    step = f", {part.steps[part.start]}" if len(part.steps) > 1 else ""
    figure.suptitle(f"{part.title}{step}", fontsize=12)
    rows = figure.subfigures(len(part.rows), 1, height_ratios=heights, squeeze=False)[:, 0]
    for subfigure, row in zip(rows, part.rows, strict=True):
        for axes, picture in zip(subfigure.subplots(1, len(row), squeeze=False)[0], row, strict=True):
            _draw(axes, picture, part.start)
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
    if picture.bound is not None and 0 < picture.bound[frame].mean() < 1:
        axes.contour(picture.bound[frame], [0.5], colors="#8ca0af", linewidths=0.7)
    if picture.mark is not None and picture.mark_step in (None, step):
        axes.plot(picture.mark[1], picture.mark[0], "o", mfc="none", mec="#3fd0ff", ms=9, mew=1.2)
    axes.set_title(picture.title, fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])
    for i, name in enumerate(picture.sources):
        rgb = [value / 255 for value in SOURCES[i]]
        axes.plot([], [], "s", color=rgb, label=name)
    if picture.sources:
        axes.legend(fontsize=6, loc="upper left", ncols=2, framealpha=0.6, handletextpad=0.2, columnspacing=0.8)


def shown_ratio(picture: Picture) -> float:
    """Width of a picture by its height, as drawn."""
    height, width = picture.values.shape[1:3]
    ratio = width * picture.pixel[1] / (height * picture.pixel[0])
    return min(max(ratio, 1 / LONGEST), LONGEST)
