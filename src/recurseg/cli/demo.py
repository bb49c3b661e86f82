"""`recurseg demo`: the whole way on a small procedural data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for data, run and predictions.")] = Path("demo"),
    minutes: Annotated[float, typer.Option(help="Minutes of training.")] = 1.5,
    json_: Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")] = False,
) -> None:
    """Writes a phantom stack of cells, trains on it, predicts an unseen stack, evaluates and reports."""
    from recurseg.training.demo import demo as run_demo

    result = run_demo(out, minutes=minutes)
    if json_:
        import json

        print(json.dumps(result.as_dict()))
    else:
        from rich import print as show

        show(result.evaluation.table())
        show(f"Report: {result.run.folder / 'report.html'}")
        show(f"Predicted labels: {result.predictions}")
