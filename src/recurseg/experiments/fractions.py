"""A measure over how much of the training patients was used: one line a network, one dot a seed (thesis on γ-Net,
figures 5.1 and 5.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recurseg.evaluation.summary import mean_of
from recurseg.experiments.measured import values
from recurseg.experiments.rows import Entry
from recurseg.experiments.table import Measure, Scale, Table
from recurseg.report.svg import write_svg


def write_fractions(table: Table, entries: Sequence[Entry], results: Path, scale: Scale) -> Path | None:
    """Draws every mean over cases, of the held-out patients and of those of another origin, a panel each.

    Returns:
        `<results>/<table>/<source>/<scale>/fractions.svg`, None where no row has run.
    """
    done = [entry for entry in entries if entry.result]
    if not done:
        return None

    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    panels = [m for m in table.measures if m.statistic == "mean" and any(_points(table, m, done).values())]
    figure, drawn = plt.subplots(
        1, max(1, len(panels)), figsize=(4.2 * max(1, len(panels)), 3.4), layout="constrained", squeeze=False
    )
    for axes, measure in zip(drawn[0], panels, strict=False):
        _draw(axes, measure, _points(table, measure, done))
    drawn[0][0].legend(frameon=False, loc="lower right")
    plt.close(figure)
    return write_svg(figure, results / table.id / done[0].source.name / scale / "fractions.svg")


def _points(table: Table, measure: Measure, entries: Sequence[Entry]) -> dict[str, dict[float, list[float]]]:
    """Network, as the names of rows begin → fraction → a value a seed."""
    found: dict[str, dict[float, list[float]]] = {}
    for entry in entries:
        assert entry.result is not None
        value = values(table, entry.result)[measure.name]
        if not math.isnan(value):
            by_fraction = found.setdefault(entry.row.name.split(",")[0], {})
            by_fraction.setdefault(entry.result.fraction or 1.0, []).append(value)
    return found


def _draw(axes: Any, measure: Measure, points: dict[str, dict[float, list[float]]]) -> None:
    for name, by_fraction in points.items():
        at = sorted(by_fraction)
        means = [mean_of(by_fraction[fraction]) for fraction in at]
        (line,) = axes.plot([100 * fraction for fraction in at], means, label=name)
        for fraction in at:
            own = by_fraction[fraction]
            axes.plot([100 * fraction] * len(own), own, "o", markersize=4, color=line.get_color())
    axes.set(xlabel="training patients used, %", ylabel=measure.name)
    axes.grid(alpha=0.3)
