"""`recurseg reproduce`: a paper's table, run here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def reproduce(
    row: Annotated[
        str | None,
        typer.Argument(
            help="Table such as pyramid_lstm/table1, one row of it: pyramid_lstm/table1/unet, or a figure: "
            "shamann/figure5."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(envvar="RECURSEG_DATA", help="Data set, or a folder of data sets; phantoms stand in without."),
    ] = None,
    scale: Annotated[
        Literal["smoke", "small", "full"],
        typer.Option(help="A few steps; minutes on two cores; the paper's own training, for a GPU."),
    ] = "small",
    results: Annotated[Path, typer.Option(help="Folder of the finished rows, one JSON file each.")] = Path(
        "docs/results"
    ),
    work: Annotated[Path, typer.Option(help="Folder of the runs; what was broken off there goes on.")] = Path(
        "runs/reproduce"
    ),
    stored: Annotated[
        bool, typer.Option("--stored", help="Show what is finished, run nothing; with --data also what is stale.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Runs what is missing of a paper's table or figure, shows its numbers beside ours; without ROW, all stored.

    A finished row is kept with its recipe's hash, commit, data and machine; a changed recipe makes it stale.
    """
    import json

    from rich.console import Console

    from recurseg.experiments import rows as runs
    from recurseg.experiments import show
    from recurseg.experiments.figure import draw_figure, find_figure, list_figures
    from recurseg.experiments.plot import write_plots
    from recurseg.experiments.table import find_table, list_tables

    if row in list_figures():
        path = draw_figure(find_figure(row), data=data, scale=scale, results=results, work=work)
        print(json.dumps({"figure": str(path)}) if json_ else path)
        return
    id, only = ("", None) if row is None else runs.split_row(row, list_tables())
    tables = {id: find_table(id) for id in (list_tables() if row is None else [id])}
    if row is None or (stored and data is None and scale != "smoke"):
        found = {id: runs.stored(table, results, rows=only) for id, table in tables.items()}
    else:
        entries = runs.reproduce(
            tables[id], rows=only, data=data, scale=scale, results=results, work=work, run=not stored
        )
        found = {id: list(entries)}
        if not stored and only is None:
            write_plots(tables[id], found[id], results, scale)
    if json_:
        print(json.dumps([line for id, entries in found.items() for line in show.as_data(tables[id], entries)]))
        return
    for id, entries in found.items():
        Console().print(show.drawn(tables[id], entries), "")
