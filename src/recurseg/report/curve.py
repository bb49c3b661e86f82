"""Lines over steps as an SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from recurseg.explain import Curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DARK, QUIET = "#1c2126", "#9aa5af"
LINES = ("#0b6bcb", "#b45309", "#1a7f4b", "#8e44ad", "#5f6973", "#c2255c")
MARKERS = "osD^vP"


def draw_curve(curve: Curve) -> Figure:
    """Draws each line with its name below, and a dashed line at the step that is explained."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    height = 2.4 + 0.19 * ((len(curve.lines) + 1) // 2)
    figure = Figure(figsize=(5.2, height), facecolor="white", layout="constrained")
    axes = figure.subplots()
    at = np.arange(len(curve.steps))
    axes.axvline(curve.own, color=QUIET, linewidth=0.9, linestyle=(0, (4, 3)))
    for number, (name, values) in enumerate(curve.lines.items()):
        marker = MARKERS[number % len(MARKERS)] if len(at) <= 40 else None
        line = LINES[number % len(LINES)]
        axes.plot(at, values, marker=marker, markersize=4, linewidth=1.4, color=line, label=name, clip_on=False)
    axes.set_ylim(bottom=0)
    axes.set_xlim(-0.3, len(at) - 0.7)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True))
    ticks = [int(tick) for tick in axes.get_xticks() if 0 <= tick < len(at) and tick == int(tick)]
    axes.set_xticks(ticks, [curve.steps[tick] for tick in ticks])
    axes.set_xlabel(curve.axis, fontsize=9, color=DARK)
    axes.tick_params(labelsize=9, colors=DARK)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, fontsize=9, frameon=False, labelcolor=DARK)
    return figure
