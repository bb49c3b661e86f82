"""`recurseg bench`: how fast the networks are on this machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from recurseg.bench import Result


def bench(
    ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID]...",
            help="What to measure: ids, or groups such as ops:small, models:small:shamann or models:paper, "
            "which takes hours. Default: all but what takes a minute or more.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for bench.json and pictures.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure time and memory against the arithmetic bound and against peers, and how they grow with size."""
    from recurseg.bench import run_benchmarks

    with _progress() as progress:
        results = run_benchmarks(ids or (), out=out, progress=progress)
    if json_:
        typer.echo(json.dumps({result.benchmark.id: result.as_dict() for result in results}))
        return

    from rich.console import Console

    console = Console()
    single = [result for result in results if ":" not in result.benchmark.id]
    if single:
        console.print(_table(single))
    groups: dict[str, list[Result]] = {}
    for result in results:
        if ":" in result.benchmark.id:
            groups.setdefault(":".join(result.benchmark.id.split(":")[:2]), []).append(result)
    for group, compared in groups.items():
        console.print(_comparison(group, compared))
    for result in results:
        if result.measurement.verdict:
            console.print(f"\n{result.benchmark.id}: {result.measurement.verdict}", highlight=False)
    if out is not None:
        typer.echo(f"written to {out}")


@contextmanager
def _progress() -> Iterator[Callable[[int, int, str], None]]:
    """A bar with the benchmark at work, gone when done."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    bar = Progress(
        *columns, console=Console(stderr=True), transient=True, refresh_per_second=1, speed_estimate_period=600
    )
    with bar:
        task = bar.add_task("measuring", total=None)
        yield lambda done, total, id: bar.update(task, completed=done, total=total, description=id)


def _table(results: list[Result]) -> Table:
    from rich.table import Table

    table = Table(box=None, header_style="bold", caption="median ± half the range between the quartiles")
    table.add_column("id", no_wrap=True)
    for heading in ("value", "±"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    table.add_column("what")
    for result in results:
        spread = f"{result.spread:.2g}" if result.spread else ""
        table.add_row(
            result.benchmark.id, f"{result.value:.4g}", spread, result.benchmark.unit, result.benchmark.what
        )
    return table


def _comparison(group: str, results: list[Result]) -> Table:
    """A row a layer or network and mode, a column what is said of it; as narrow as its numbers allow."""
    from rich.table import Table

    rows: dict[str, dict[str, Result]] = {}
    units: dict[str, str] = {}
    for result in results:
        row, _, column = result.benchmark.id.removeprefix(f"{group}:").rpartition(":")
        rows.setdefault(row, {})[column] = result
        units[column] = result.benchmark.unit
    caption = "textbook, rival: theirs over ours; medians"
    table = Table(box=None, header_style="bold", caption=caption, collapse_padding=True)
    table.add_column(group, overflow="fold")
    for column, unit in units.items():
        table.add_column("\n".join([*column.split("_"), unit]), justify="right", no_wrap=True)
    for row, found in rows.items():
        table.add_row(
            row.replace(":", " "), *(_short(found[column].value) if column in found else "" for column in units)
        )
    return table


def _short(value: float) -> str:
    """Three figures, and all of a whole number."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
