"""What was measured as pictures: growth over size, and time over the arithmetic bound."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

from recurseg.bench.registry import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "os^Dv"
FORMS = {"textbook": ("s", "textbook form"), "rival": ("D", "feed-forward rival")}
"""What is drawn beside a bar → its marker and name."""


def plot_growth(results: Sequence[Result]) -> dict[str, str]:
    """Draws every curve over what grows, both axes logarithmic, with its exponent.

    Returns:
        Name of a picture → the picture as SVG; none if no result has a curve.
    """
    pictures: dict[str, list[Result]] = {}
    for result in results:
        if result.measurement.curve:
            pictures.setdefault(result.measurement.picture, []).append(result)
    return {name: _growth(curves) for name, curves in pictures.items()}


def plot_bounds(results: Sequence[Result]) -> dict[str, str]:
    """Draws for every group of layers or networks their time over the arithmetic bound, and their rivals' beside it.

    Returns:
        Name of a picture, such as "bound_models_small" → the picture as SVG.
    """
    values = {result.benchmark.id: result.value for result in results}
    pictures: dict[str, dict[str, dict[str, float]]] = {}
    for id in values:
        row, _, column = id.rpartition(":")
        if column == "bound":
            group, size, name = row.split(":", 2)
            found = {form: values[f"{row}:{form}"] for form in ("bound", *FORMS) if f"{row}:{form}" in values}
            pictures.setdefault(f"bound_{group}_{size}", {})[name.replace(":", ", ")] = found
    return {name: _bounds(rows) for name, rows in pictures.items()}


def _growth(curves: Sequence[Result]) -> str:
    from matplotlib.ticker import NullLocator

    figure, axes = _figure(4.4)
    for result, marker in zip(curves, cycle(MARKERS), strict=False):
        sizes, heights = zip(*result.measurement.curve, strict=True)
        axes.loglog(sizes, heights, marker=marker, label=f"{result.benchmark.id}: p = {result.value:.2f}")
    longest = max((result.measurement.curve for result in curves), key=len)
    axes.set_xticks([size for size, _ in longest], [f"{size:,}" for size, _ in longest], rotation=30)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(curves[0].measurement.size)
    axes.set_ylabel(curves[0].measurement.quantity)
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend(frameon=False)
    return _svg(figure)


def _bounds(rows: Mapping[str, Mapping[str, float]]) -> str:
    """A bar a row, from the bound on; a form's marker stands at its own time over our bound."""
    figure, axes = _figure(1.2 + 0.24 * len(rows))
    places = range(len(rows))
    ours = [found["bound"] for found in rows.values()]
    axes.barh(places, [value - 1 for value in ours], left=1, color="tab:blue", alpha=0.75, label="ours")
    for form, (marker, name) in FORMS.items():
        drawn = [(found["bound"] * found[form], place) for place, found in enumerate(rows.values()) if form in found]
        if drawn:
            axes.plot(*zip(*drawn, strict=True), marker, color="black", markersize=4, fillstyle="none", label=name)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks(places, list(rows))
    axes.invert_yaxis()
    axes.set_xlabel("time over the arithmetic bound of ours")
    axes.grid(visible=True, axis="x", which="both", alpha=0.25)
    figure.legend(loc="outside upper right", ncols=3, frameon=False)
    return _svg(figure)


def _figure(height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: Figure) -> str:
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    file = io.StringIO()
    FigureCanvasSVG(figure).print_svg(file)
    return file.getvalue()
