"""Validation curves of a table's rows over minutes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recurseg.experiments.rows import Entry
from recurseg.experiments.svg import write_svg
from recurseg.experiments.table import Scale, Table


def write_curves(table: Table, entries: Sequence[Entry], results: Path, scale: Scale) -> Path | None:
    """Draws how the metric that chose the checkpoint went, one line a row that has run.

    Returns:
        `<results>/<table>/<source>/<scale>/curves.svg`, None where no row has a curve.
    """
    done = [(entry.row.name, entry.result) for entry in entries if entry.result and entry.result.curve]
    if not done:
        return None

    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for name, result in done:
        x, y = zip(*((point["minutes"], point["value"]) for point in result.curve), strict=True)
        axes.plot(x, y, marker="o", markersize=4, label=f"{name} ({result.parameters / 1e6:.2f} M)")
    metric = done[0][1].recipe["validation"]["metric"]
    axes.set(xlabel="minutes of training", ylabel=f"{metric}, held out")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    plt.close(figure)
    return write_svg(figure, results / table.id / entries[0].source.name / scale / "curves.svg")
