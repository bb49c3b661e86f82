"""`recurseg compare`: two methods on the same cases, or the ranking of several."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recurseg.cli.evaluate import listed, millimetres

if TYPE_CHECKING:
    from recurseg.evaluation import Comparison, Evaluation, Ranking


def compare(
    first: Annotated[Path, typer.Argument(help="Evaluation (.json, .csv), run folder, or predictions.")],
    second: Annotated[Path, typer.Argument(help="The same for the other method.")],
    others: Annotated[
        list[Path] | None, typer.Argument(help="More methods: all are ranked instead of compared in pairs.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Data set or label files; needed where predictions are compared.")
    ] = None,
    metrics: Annotated[str | None, typer.Option(metavar="ID,ID", help="Metrics by id. Default: all.")] = None,
    spacing: Annotated[
        str | None, typer.Option(metavar="MM,MM", help="Millimetres per voxel, with --labels.")
    ] = None,
    sections: Annotated[str | None, typer.Option(metavar="A-B", help="Sections of a stack, with --labels.")] = None,
    failures: Annotated[
        str | None,
        typer.Option(metavar="LIMIT", help="McNemar test of cases with a Dice below LIMIT, or METRIC=LIMIT."),
    ] = None,
    ranks: Annotated[bool, typer.Option("--ranks", help="Rank also where there are only two.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the comparison to this .json file.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Compare two methods case by case: difference, interval, Wilcoxon test, wins and losses of the second.

    With --ranks, or with more than two methods: rank them on every metric and class, smallest sum of ranks first.
    """
    from recurseg import evaluation
    from recurseg.errors import ConfigError

    if out is not None and out.suffix != ".json":
        raise ConfigError(f"--out {out}: name a .json file")
    chosen = listed(metrics)

    def read(path: Path) -> Evaluation:
        if labels is None:
            return evaluation.read_evaluation(path)
        return evaluation.evaluate(path, labels, metrics=chosen, spacing=millimetres(spacing), sections=sections)

    found: Comparison | Ranking
    notes = []
    if ranks or others:
        if failures is not None:
            raise ConfigError(f"--failures {failures}: compares two methods; leave it out of a ranking")
        methods = _named([first, second, *(others or [])])
        found = evaluation.rank_sum({name: read(path) for name, path in methods.items()}, metrics=chosen)
    else:
        found = evaluation.compare(read(first), read(second), metrics=chosen, failures=failures)
        notes = found.notes
    if out is not None:
        found.to_json(out)
    if json_:
        typer.echo(json.dumps(found.as_dict()))
        return

    from rich.console import Console

    Console().print(found.table())
    for note in notes:
        typer.echo(f"note: {note}", err=True)


def _named(paths: list[Path]) -> dict[str, Path]:
    """A short name for each method: the last part of its path, or the whole path where two would be equal."""
    from recurseg.errors import ConfigError

    stems = {path.resolve().stem if path.suffix in (".json", ".csv") else path.resolve().name: path for path in paths}
    named = stems if len(stems) == len(paths) else {str(path): path for path in paths}
    if len(named) < len(paths):
        raise ConfigError("one method is given twice: name each once")
    return named
