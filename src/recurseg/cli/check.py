"""`recurseg check DATA`: what a data set holds, what is wrong with it, and how to mend it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from recurseg.cli.check_tables import SHOWN, tables

if TYPE_CHECKING:
    from rich.console import Console

    from recurseg.data.check_report import CheckReport, Problem
    from recurseg.data.dataset import Progress


def check(
    data: Annotated[Path, typer.Argument(help="Folder of the data set, a dataset.yaml, or one image file.")],
    as_: Annotated[
        Literal["stack", "images", "sequence"] | None,
        typer.Option(
            "--as", help="How to take a folder of 2-D files; 'sequence' also: films, not single frames, of ACDC."
        ),
    ] = None,
    fix: Annotated[
        Path | None,
        typer.Option("--fix", metavar="OUT", help="Write labels mended where that is safe, as a new data set OUT."),
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option("--write", metavar="FILE", help="Write what was recognised as a dataset.yaml to edit."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the report as one JSON document.")] = False,
) -> None:
    """Read a data set; report geometry, intensities, labels, leakage, duplicates, and how to mend them."""
    from rich.console import Console

    from recurseg.data.check import check_dataset
    from recurseg.data.dataset import open_dataset
    from recurseg.data.manifest import save_manifest
    from recurseg.data.mend import mend_dataset

    console = Console(stderr=json_, highlight=False)
    with _progress("checking") as progress:
        report = check_dataset(data, as_=as_, progress=progress)
    if json_:
        typer.echo(report.model_dump_json(indent=2))
    else:
        _print(console, report)
    if write is not None:
        dataset = open_dataset(data, as_=as_, on_error="collect")
        save_manifest(dataset.manifest, dataset.root, write)
        console.print(f"written: {write}")
    mended = None
    if fix is not None:
        with _progress("mending") as progress:
            mended = mend_dataset(data, fix, as_=as_, progress=progress)
        for line in mended.done[:SHOWN]:
            console.print(f"[green]mended[/green] {line}", soft_wrap=True)
        if len(mended.done) > SHOWN:
            console.print(f"       and {len(mended.done) - SHOWN} more")
        for line in mended.left:
            console.print(f"[red]left out[/red] {line}", soft_wrap=True)
        console.print(f"new data set: {mended.manifest}", soft_wrap=True)
    if mended.left if mended else not report.usable:
        raise typer.Exit(3)


@contextmanager
def _progress(verb: str) -> Iterator[Progress]:
    """A bar with the time left, gone when done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(verb, total=None)
        yield lambda done, total, case: bar.update(
            task, completed=done, total=total, description=f"{verb} {case}".rstrip()
        )


def _print(console: Console, report: CheckReport) -> None:
    from rich.markup import escape
    from rich.table import Table

    console.print(f"[bold]{escape(report.name)}[/bold] in {escape(report.root)}", soft_wrap=True)
    facts = Table.grid(padding=(0, 2))
    facts.add_row("layout", report.layout)
    facts.add_row("cases", _counted(report))
    facts.add_row("modalities", ", ".join(report.modalities))
    if report.classes:
        facts.add_row("classes", escape(_named(report)))
    if report.splits:
        facts.add_row("splits", ", ".join(f"{name} ({number})" for name, number in report.splits.items()))
    for note in report.notes:
        facts.add_row("decided", escape(note))
    console.print(facts)
    if report.cases:
        cases, *classes = tables(report, console.width)
        console.print(cases)
        if len(report.cases) > SHOWN:
            console.print(f"and {len(report.cases) - SHOWN} more cases ('--json' has them all)")
        for table in classes:
            console.print(table)
    _print_problems(console, report.problems)


def _named(report: CheckReport) -> str:
    """The classes, for classification with their numbers of cases."""
    whole = Counter(case.target for case in report.cases if case.target is not None)
    return ", ".join(
        f"{index} {name}" + (f" ({whole[name]})" if whole else "") for index, name in report.classes.items()
    )


def _counted(report: CheckReport) -> str:
    patients = len({case.patient for case in report.cases})
    cases = len(report.cases)
    return f"{cases}" if patients == cases else f"{cases} of {patients} patients"


def _print_problems(console: Console, problems: list[Problem]) -> None:
    from rich.markup import escape

    if not problems:
        console.print("[green]no problems found[/green]")
    shown: Counter[tuple[str, str]] = Counter()
    for problem in problems:
        kind = (problem.severity, problem.mend)
        shown[kind] += 1
        if shown[kind] > SHOWN:
            continue
        colour = "red" if problem.severity == "error" else "yellow"
        where = f"case {escape(problem.case)}: " if problem.case else ""
        console.print(
            f"[{colour}]{problem.severity}[/{colour}] {where}{escape(problem.message)} → {escape(problem.mend)}",
            soft_wrap=True,
        )
    for (severity, mend), number in shown.items():
        if number > SHOWN:
            console.print(f"{severity}: {number - SHOWN} more to mend by '{escape(mend)}'")
    errors = sum(problem.severity == "error" for problem in problems)
    if problems:
        console.print(f"errors: {errors}, warnings: {len(problems) - errors}")
