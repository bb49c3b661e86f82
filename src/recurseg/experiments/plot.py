"""Plots of a table: validation curves of its rows over minutes, and bars over subsets of the modalities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recurseg.experiments.cells import write_cells
from recurseg.experiments.fractions import write_fractions
from recurseg.experiments.rows import Entry
from recurseg.experiments.table import Scale, Table
from recurseg.report.svg import write_svg


def write_plots(table: Table, entries: Sequence[Entry], results: Path, scale: Scale) -> list[Path]:
    """Draws what the table asks for of the rows that have run.

    Returns:
        The files `<results>/<table>/<source>/<scale>/*.svg`.
    """
    draw = {"curves": write_curves, "cells": write_cells, "fractions": write_fractions}[table.plot]
    drawn = draw(table, entries, results, scale)
    return [*([drawn] if drawn else []), *write_bars(table, entries, results, scale)]


def write_bars(table: Table, entries: Sequence[Entry], results: Path, scale: Scale) -> list[Path]:
    """Draws a chart a row that was measured on every subset of the modalities, a bar a subset.

    Returns:
        `<results>/<table>/<source>/<scale>/subsets-<row>.svg` of each of them.
    """
    from recurseg.evaluation.subsets import compare_subsets
    from recurseg.report.subsets import draw_subsets

    drawn = []
    for entry in entries:
        if entry.result and (evaluations := entry.result.evaluated_by_subset):
            figure = draw_subsets(compare_subsets(evaluations))
            figure.suptitle(entry.row.name)
            folder = results / table.id / entry.source.name / scale
            drawn.append(write_svg(figure, folder / f"subsets-{entry.row.id}.svg"))
    return drawn


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
