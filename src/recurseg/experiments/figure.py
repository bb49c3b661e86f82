"""A paper's figure of completed images, drawn from the runs of a table."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, PositiveInt

from recurseg.data.dataset import open_dataset
from recurseg.errors import ConfigError
from recurseg.experiments.completed_digits import draw_digits
from recurseg.experiments.rows import Entry, reproduce
from recurseg.experiments.sources import find_data
from recurseg.experiments.table import Scale, find_table


class Figure(BaseModel):
    """A figure as data: whose runs it shows, side by side."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    schema_version: Literal[1]
    id: str
    title: str
    source: str
    """Paper and number of the figure."""
    table: str
    """Whose runs are drawn."""
    panels: dict[str, list[str]]
    """Panel → rows of the table in the order of its columns, the last to be looked into; `$cell` is filled in."""
    cell: dict[Scale, str]
    """Scale → size of the cell."""
    examples: PositiveInt
    """Images in a panel."""


def list_figures() -> list[str]:
    """Ids of all figures that are drawn from runs, such as "shamann/figure5"."""
    papers = (files("recurseg.experiments") / "figures").iterdir()
    return sorted(f"{paper.name}/{file.name.removesuffix('.yaml')}" for paper in papers for file in paper.iterdir())


def find_figure(id: str) -> Figure:
    """Reads the figure of an id that `list_figures` gives."""
    return Figure.model_validate(
        yaml.safe_load((files("recurseg.experiments") / "figures" / f"{id}.yaml").read_text())
    )


def draw_figure(figure: Figure, *, data: Path | None, scale: Scale, results: Path, work: Path) -> Path:
    """Draws a figure; rows of its table that have not been run are run first.

    The picture shows the user's images, so it lies with the runs and not with the stored results.

    Args:
        figure: The figure.
        data: A data set, or a folder of data sets.
        scale: "smoke", "small" or "full".
        results: The ledger's folder.
        work: Where run folders and phantoms go.

    Returns:
        `<work>/<figure>/<source>/<scale>.png`.

    Raises:
        ConfigError: A row's numbers are stored, but its run is not on this machine.
    """
    table = find_table(figure.table)
    source, folder = find_data(table, scale, data, work)
    panels = {}
    for name, rows in figure.panels.items():
        wanted = [Template(row).substitute(cell=figure.cell[scale]) for row in rows]
        trained = [row for row in wanted if table.row(row).training(scale)]
        entries = reproduce(table, rows=trained, data=data, scale=scale, results=results, work=work)
        panels[name] = [_with_run(entry, work) for entry in entries]
    assert source.test is not None
    path = work / figure.id / source.name / f"{scale}.png"
    draw_digits(panels, open_dataset(folder), source.test, figure.examples, path)
    return path


def _with_run(entry: Entry, work: Path) -> Entry:
    if entry.run is None or not (entry.run / "package").is_dir():
        raise ConfigError(
            f"row '{entry.row.id}' has its numbers, but its run is not under {work}: name the folder of the runs "
            "with --work, or run it again with another --results"
        )
    return entry
