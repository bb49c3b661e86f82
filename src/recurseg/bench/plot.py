"""Time over size as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence

from recurseg.bench.registry import Result


def plot_growth(results: Sequence[Result]) -> str | None:
    """Draws every curve of seconds over voxels, both axes logarithmic, with its exponent.

    Returns:
        The picture as SVG; None if no result has a curve.
    """
    curves = [result for result in results if result.measurement.curve]
    if not curves:
        return None
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    for result in curves:
        voxels, seconds = zip(*result.measurement.curve, strict=True)
        axes.loglog(voxels, seconds, marker="o", label=f"{result.benchmark.id}: voxels^{result.value:.2f}")
    axes.set_xlabel("voxels")
    axes.set_ylabel("seconds (median)")
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    file = io.StringIO()
    FigureCanvasSVG(figure).print_svg(file)
    return file.getvalue()
