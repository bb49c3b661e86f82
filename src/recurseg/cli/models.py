"""`recurseg models`: which networks there are."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from recurseg.models import ModelInfo


def models(
    name: Annotated[str | None, typer.Argument(help="Show this model with its options.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    plugin: Annotated[
        list[str] | None, typer.Option(metavar="MODULE", help="Also list the models of this Python module.")
    ] = None,
) -> None:
    """List every model: parameters at default options (one channel, one logit), what it takes, paper."""
    from recurseg.models import list_models, load_plugin, model_info

    for module in plugin or []:
        load_plugin(module)
    found = list_models() if name is None else [model_info(name)]
    if json_:
        typer.echo(json.dumps([asdict(model) for model in found]))
        return

    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    table.add_column("model", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    for heading in ("takes", "paper"):
        table.add_column(heading)
    for model in found:
        table.add_row(model.name, f"{model.parameters:,}", _takes(model), model.paper)
    Console().print(table)
    for option, default in found[0].options.items() if name else ():
        typer.echo(f"  {option}: {json.dumps(default)}")


def _takes(model: ModelInfo) -> str:
    kinds = {2: "images", 3: "volumes"}
    kind = " or ".join(kinds.values()) if "spatial_dims" in model.options else kinds[model.spatial_dims]
    kind = f"whole {kind}" if model.task == "classification" else kind
    return kind if model.sequence_axis is None else f"{kind}, recurrent over {model.sequence_axis}"
