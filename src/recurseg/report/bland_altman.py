"""Predicted against labelled quantities, such as volumes and ejection fractions, as Bland-Altman plots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recurseg.evaluation.agreement import Agreeing, Agreement, Pair, Quantity
from recurseg.evaluation.tables import signed
from recurseg.report.svg import write_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINT, DARK, QUIET = "#1f5f8b", "#33404a", "#8fa0ae"
ACROSS = 4
"""Panels in a row."""
ROOM = 0.15
"""Least distance of two labels, as a share of a panel's height."""


def write_bland_altman(numbers: Agreeing, path: Path) -> Path:
    """Draws `draw_bland_altman` as an SVG file, returns its path. Raises ResourceError where it cannot be written."""
    return write_svg(draw_bland_altman(numbers), path)


def draw_bland_altman(numbers: Agreeing) -> Figure:
    """Draws a panel a quantity: prediction − label of each patient or case against the mean of the two.

    The line is the bias, the dashed ones are the limits of agreement (bias ± 1.96 standard deviations), which one
    patient alone has not. Bland and Altman 1986.

    Args:
        numbers: Those without both values of a quantity are left out of its panel.
    """
    from matplotlib.figure import Figure

    shown = numbers.plotted
    across = min(ACROSS, max(len(shown), 1))
    down = math.ceil(len(shown) / across)
    figure = Figure(figsize=(2.9 * across, 2.6 * max(down, 1)), facecolor="white")
    figure.set_layout_engine("constrained", w_pad=0.09, h_pad=0.09)
    places = figure.subplots(max(down, 1), across, squeeze=False).flat
    for axes in places[len(shown) :]:
        axes.set_axis_off()
    for axes, quantity in zip(places, shown, strict=False):
        pairs = list(numbers.pairs(quantity.id).values())
        _panel(axes, quantity, pairs, numbers.agreement[quantity.id], numbers.one)
    return figure


def _panel(axes: Axes, quantity: Quantity, pairs: Sequence[Pair], found: Agreement, one: str) -> None:
    values = np.array([pair for pair in pairs if not any(map(math.isnan, pair))]).reshape(-1, 2)
    mean, difference = values.mean(axis=1), values[:, 0] - values[:, 1]
    unit = quantity.unit and f", {quantity.unit}"
    axes.set_title(f"{quantity.name}, {found.n} {one}{'s' * (found.n != 1)}", fontsize=10, color=DARK)
    axes.set_xlabel(f"mean of prediction and label{unit}", fontsize=8, color=DARK)
    axes.set_ylabel(f"prediction − label{unit}", fontsize=8, color=DARK)
    axes.tick_params(labelsize=8, colors=DARK)
    axes.spines[["top", "right"]].set_visible(False)
    if not found.n:
        axes.set(xticks=[], yticks=[])
        return
    size, alpha = (5, 0.9) if found.n <= 20 else (3.5, 0.6)
    axes.plot(mean, difference, "o", color=POINT, markersize=size, alpha=alpha, markeredgewidth=0, clip_on=False)
    limits = found.limits or ()
    axes.set_xlim(*_around(mean))
    axes.set_ylim(*_around([*difference, *limits, 0.0]))
    axes.locator_params(nbins=5)
    axes.axhline(0, color=QUIET, linewidth=0.6)
    axes.axhline(found.bias, color=DARK, linewidth=1.2)
    for value in limits:
        axes.axhline(value, color=DARK, linewidth=0.9, linestyle=(0, (4, 3)))
    _label(axes, found)


def _around(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Ends of an axis: the values and some room, also where they are all the same."""
    low, high = float(np.min(values)), float(np.max(values))
    room = 0.09 * (high - low) or 0.1 * abs(high) or 1.0
    return low - room, high + room


def _label(axes: Axes, found: Agreement) -> None:
    """Names the lines beside the panel, no nearer to each other than `ROOM`."""
    low, high = axes.get_ylim()
    bias = (found.bias - low) / (high - low)
    labels = [(bias, "bias", found.bias)]
    if found.limits:
        below, above = ((value - low) / (high - low) for value in found.limits)
        labels.append((min(below, bias - ROOM), "−1.96 SD", found.limits[0]))
        labels.append((max(above, bias + ROOM), "+1.96 SD", found.limits[1]))
    for height, name, value in labels:
        axes.annotate(
            f"{name}\n{signed(value, found.digits)}", (1, height), (3, 0), "axes fraction", "offset points",
            va="center", fontsize=7, color=DARK,
        )  # fmt: skip
