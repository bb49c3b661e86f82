"""`recurseg compare`: two methods on the same cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recurseg.cli.evaluate import listed, millimetres

if TYPE_CHECKING:
    from recurseg.evaluation import Evaluation


def compare(
    first: Annotated[Path, typer.Argument(help="Evaluation (.json, .csv), run folder, or predictions.")],
    second: Annotated[Path, typer.Argument(help="The same for the other method.")],
    labels: Annotated[
        Path | None, typer.Option(help="Data set or label files; needed where predictions are compared.")
    ] = None,
    metrics: Annotated[str | None, typer.Option(metavar="ID,ID", help="Metrics by id. Default: all.")] = None,
    spacing: Annotated[
        str | None, typer.Option(metavar="MM,MM", help="Millimetres per voxel, with --labels.")
    ] = None,
    sections: Annotated[str | None, typer.Option(metavar="A-B", help="Sections of a stack, with --labels.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the comparison to this .json file.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Compare two methods case by case: difference, interval, Wilcoxon test, wins and losses of the second."""
    from recurseg import evaluation
    from recurseg.errors import ConfigError

    if out is not None and out.suffix != ".json":
        raise ConfigError(f"--out {out}: name a .json file")
    chosen = listed(metrics)

    def read(path: Path) -> Evaluation:
        if labels is None:
            return evaluation.read_evaluation(path)
        return evaluation.evaluate(path, labels, metrics=chosen, spacing=millimetres(spacing), sections=sections)

    found = evaluation.compare(read(first), read(second), metrics=chosen)
    if out is not None:
        found.to_json(out)
    if json_:
        typer.echo(json.dumps(found.as_dict()))
        return

    from rich.console import Console

    Console().print(found.table())
    for note in found.notes:
        typer.echo(f"note: {note}", err=True)
