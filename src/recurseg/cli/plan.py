"""`recurseg plan`: writes a recipe fitted to a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def plan(
    data: Annotated[Path, typer.Argument(help="Data set: a folder or a dataset.yaml.", show_default=False)],
    model: Annotated[str, typer.Option(help="Model, from 'recurseg models'.")] = "pyramid_lstm",
    minutes: Annotated[float | None, typer.Option(help="Minutes that the training may take.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File for the recipe; printed by default.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say why.")] = False,
    as_: Annotated[
        Literal["stack", "images", "sequence"] | None,
        typer.Option(
            "--as", help="How to take a folder of 2-D files; 'sequence' also: films of ACDC, not single frames."
        ),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the recipe as one JSON document.")] = False,
) -> None:
    """Writes a recipe fitted to the data and the minutes, to be read, changed and given to 'train --recipe'."""
    from rich.console import Console

    from recurseg.training.plan import plan as plan_recipe
    from recurseg.training.recipe_files import write_recipe

    recipe = plan_recipe(data, model=model, minutes=minutes, as_=as_)
    if explain:
        for reason in recipe.why:
            Console(stderr=True).print(f"· {reason}", highlight=False)
    if out is not None:
        write_recipe(recipe, out)
    if json_:
        print(recipe.model_dump_json())
    elif out is None:
        print(recipe.to_yaml(), end="")
