"""Time and memory over size as pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import cycle

from recurseg.bench.registry import Result

MARKERS = "os^Dv"


def plot_growth(results: Sequence[Result]) -> dict[str, str]:
    """Draws every curve over voxels, both axes logarithmic, with its exponent.

    Returns:
        Name of a picture → the picture as SVG; none if no result has a curve.
    """
    pictures: dict[str, list[Result]] = {}
    for result in results:
        if result.measurement.curve:
            pictures.setdefault(result.measurement.picture, []).append(result)
    return {name: _picture(curves) for name, curves in pictures.items()}


def _picture(curves: Sequence[Result]) -> str:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    for result, marker in zip(curves, cycle(MARKERS), strict=False):
        voxels, heights = zip(*result.measurement.curve, strict=True)
        axes.loglog(voxels, heights, marker=marker, label=f"{result.benchmark.id}: voxels^{result.value:.2f}")
    axes.set_xlabel("voxels")
    axes.set_ylabel(curves[0].measurement.quantity)
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    file = io.StringIO()
    FigureCanvasSVG(figure).print_svg(file)
    return file.getvalue()
