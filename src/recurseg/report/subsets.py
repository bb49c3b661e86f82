"""What predictions from every subset of the modalities are worth, as bars over dots."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from recurseg.evaluation.metrics import METRICS
from recurseg.evaluation.subsets import Subset, Subsets
from recurseg.report.svg import write_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ALL, SOME, DARK, PALE = "#1f5f8b", "#8fb8d4", "#33404a", "#d5dbe0"
"""Bars of all modalities and of some, ink, and dots of modalities that are missing."""
GAP = 0.7
"""Between bars of different numbers of modalities, in bars."""


def write_subsets(subsets: Subsets, path: Path) -> Path:
    """Draws `draw_subsets` as an SVG file and returns its path. Raises ResourceError where it cannot be written."""
    return write_svg(draw_subsets(subsets), path)


def draw_subsets(subsets: Subsets) -> Figure:
    """Draws a column of panels a metric, a panel a region or class, a bar a subset.

    Dots below say which modalities a subset has; all of them stand first, then subsets go by their number. Whiskers
    are 95 % intervals; where cases are too few for one, each case is a dot. The dashed line is the mean of subsets.

    Args:
        subsets: From `evaluate_subsets`.
    """
    from matplotlib.figure import Figure

    metrics = subsets.metrics
    rows = max(len(subsets.names(metric)) for metric in metrics)
    places = _places(list(subsets.summaries))
    width = max(3.2, 0.24 * max(places.values()) + 1.4)
    height = 0.2 * len(subsets.modalities) + 0.15
    figure = Figure(figsize=(width * len(metrics) + 0.4, 1.5 * rows + height + 0.4), layout="constrained")
    grid = figure.subplots(rows + 1, len(metrics), squeeze=False, sharex=True, height_ratios=[*[1.5] * rows, height])
    for column, metric in enumerate(metrics):
        names = subsets.names(metric)
        for axes in grid[: rows - len(names), column]:
            axes.set_axis_off()
        panels = grid[rows - len(names) : rows, column]
        for axes, name in zip(panels, names, strict=True):
            _bars(axes, subsets, metric, name, places)
        _dots(grid[rows, column], subsets, places, labelled=column == 0)
        count = len(subsets.cases)
        panels[0].set_title(f"{metric}, {count} case{'s' * (count != 1)}", fontsize=10, color=DARK)
    return figure


def _places(order: list[Subset]) -> dict[Subset, float]:
    """Where each subset stands, with a gap where the number of modalities changes."""
    sizes = sorted({len(subset) for subset in order}, reverse=True)
    return {subset: n + GAP * sizes.index(len(subset)) for n, subset in enumerate(order)}


def _bars(axes: Axes, subsets: Subsets, metric: str, name: str, places: dict[Subset, float]) -> None:
    for subset, x in places.items():
        found = subsets.summaries[subset][metric, name]
        axes.bar(x, found.mean, width=0.78, color=ALL if subset == subsets.modalities else SOME)
        if found.interval:
            axes.vlines(x, *found.interval, color=DARK, linewidth=1)
        else:
            values = [value for value in subsets.values(subset, metric, name) if math.isfinite(value)]
            axes.plot([x] * len(values), values, "o", color=DARK, markersize=2.5)
    mean = subsets.mean[metric, name].value
    axes.axhline(mean, color=DARK, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.annotate(
        f"mean\n{mean:.3g}", (1, mean), (3, 0), ("axes fraction", "data"), "offset points",
        va="center", fontsize=7, color=DARK,
    )  # fmt: skip
    axes.set_ylabel(name, fontsize=9, color=DARK)
    axes.margins(x=0.02)
    axes.set_ylim(0, 1 if METRICS[metric].range == (0, 1) else None)
    axes.tick_params(labelsize=8, colors=DARK, bottom=False)
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def _dots(axes: Axes, subsets: Subsets, places: dict[Subset, float], *, labelled: bool) -> None:
    for subset, x in places.items():
        there = [row for row, modality in enumerate(subsets.modalities) if modality in subset]
        axes.plot([x, x], [there[0], there[-1]], color=DARK, linewidth=1.2)
        axes.plot([x] * len(subsets.modalities), range(len(subsets.modalities)), "o", color=PALE, markersize=5)
        axes.plot([x] * len(there), there, "o", color=DARK, markersize=5)
    axes.set_yticks(range(len(subsets.modalities)), subsets.modalities if labelled else [], fontsize=8, color=DARK)
    axes.set_ylim(len(subsets.modalities) - 0.4, -0.6)
    axes.tick_params(left=False, bottom=False, labelbottom=False)
    axes.spines[:].set_visible(False)
