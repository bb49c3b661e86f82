"""Completed digits over the size of the cell: one line a network, one column a deletion (SHAMANN, figure 4)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recurseg.experiments.completion import ACCURACY
from recurseg.experiments.rows import Entry
from recurseg.experiments.table import Measure, Scale, Table
from recurseg.report.svg import write_svg

_SHOWN = (ACCURACY, "dice@0.5")


def write_cells(table: Table, entries: Sequence[Entry], results: Path, scale: Scale) -> Path | None:
    """Draws accuracy and Dice with their intervals; thin lines are the digits without completion and the paper's.

    Returns:
        `<results>/<table>/<source>/<scale>/cells.svg`, None where no row has run.
    """
    done = [entry for entry in entries if entry.result and entry.result.completion]
    if not done:
        return None

    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    deletions = dict.fromkeys(_deletion(entry) for entry in done)
    measures = [measure for measure in table.measures if measure.metric in _SHOWN]
    size = (3.6 * len(deletions), 2.6 * len(measures))
    figure, panels = plt.subplots(
        len(measures), len(deletions), figsize=size, layout="constrained", squeeze=False, sharex=True, sharey="row"
    )
    for line, measure in zip(panels, measures, strict=True):
        line[0].set_ylabel(measure.name)
        for axes, deletion in zip(line, deletions, strict=True):
            _draw(axes, measure, [entry for entry in done if _deletion(entry) == deletion])
            _draw_references(axes, table, measure, deletion)
    for axes, deletion in zip(panels[0], deletions, strict=True):
        axes.set_title(deletion.replace("_", " "))
    for axes in panels[-1]:
        axes.set_xlabel("size of the cell")
    panels[0][0].legend(frameon=False, fontsize="small")
    plt.close(figure)
    return write_svg(figure, results / table.id / done[0].source.name / scale / "cells.svg")


def _draw(axes, measure: Measure, entries: Sequence[Entry]) -> None:
    """A line a network, and what the digits score without completion."""
    by_model: dict[str, list[tuple[int, float, float, float]]] = {}
    altered = None
    for entry in entries:
        assert entry.result
        assert entry.result.completion
        model, found = entry.result.recipe["model"], entry.result.completion
        estimate = found.completed[measure.metric]
        mean, low, high = (number * measure.factor for number in (estimate.mean, estimate.low, estimate.high))
        by_model.setdefault(model["name"], []).append((int(model["options"]["cell"]), mean, low, high))
        altered = found.altered[measure.metric].mean * measure.factor
    for name, points in by_model.items():
        cell, mean, low, high = zip(*sorted(points), strict=True)
        reach = [[m - b for m, b in zip(mean, low, strict=True)], [t - m for m, t in zip(mean, high, strict=True)]]
        axes.errorbar(cell, mean, yerr=reach, marker="o", markersize=4, capsize=2, label=name.replace("_", " "))
    cells = sorted({cell for points in by_model.values() for cell, *_ in points})
    axes.set_xscale("log", base=2)
    axes.set_xticks(cells, [str(cell) for cell in cells], minor=False)
    axes.axhline(altered, color="grey", linewidth=0.8, linestyle=":")
    axes.annotate("not completed", (0.98, altered), xycoords=("axes fraction", "data"), **_BESIDE)
    axes.grid(alpha=0.3)


def _draw_references(axes, table: Table, measure: Measure, deletion: str) -> None:
    """The numbers that the paper prints for completed digits."""
    for name, printed in table.printed.items():
        if measure.name in printed and name.endswith(deletion.replace("_", " ")):
            axes.axhline(printed[measure.name], color="black", linewidth=0.8, linestyle="--")
            place = (0.98, printed[measure.name])
            axes.annotate(f"paper, {name.split(',')[0]}", place, xycoords=("axes fraction", "data"), **_BESIDE)


_BESIDE = {"ha": "right", "va": "bottom", "fontsize": "small", "color": "dimgrey"}


def _deletion(entry: Entry) -> str:
    assert entry.result
    return entry.result.recipe["deletion"]["what"]
