"""`recurseg explain`: where an answer comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def explain(
    run: Annotated[Path, typer.Argument(help="Run folder or package.")],
    case: Annotated[Path, typer.Argument(help="Image file, folder of sections, or folder of one case.")],
    out: Annotated[Path, typer.Option(help="Folder for explain.html, explain.json and the figures.")],
    voxel: Annotated[
        str | None,
        typer.Option(
            metavar="D,H,W",
            help="Voxel to explain, counted from 0 in the order of the file's axes, time left out. Default: one is "
            "chosen.",
        ),
    ] = None,
    class_: Annotated[
        str | None, typer.Option("--class", metavar="NAME", help="Whose logit. Default: what the model says there.")
    ] = None,
    frame: Annotated[
        int | None,
        typer.Option(help="Frame of a cine, counted from 0. Default: the first with a label or name, else the last."),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(metavar="D,H,W", help="How far to look. Default: the package's window."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    plugin: Annotated[
        str | None, typer.Option(metavar="MODULE", help="Python module that registers the model, if not built in.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show what part of an image an answer rests on, and what the recurrence does: a page, figures, numbers."""
    from recurseg import report

    found = report.explain(
        run,
        case,
        out=out,
        voxel=whole_numbers("--voxel", voxel),
        class_name=class_,
        frame=frame,
        window=whole_numbers("--window", window),
        device=device,
        plugin=plugin,
        quiet=json_,
    )
    if json_:
        typer.echo(json.dumps(found.numbers | {"out": str(out)}))
        return
    typer.echo(", ".join(f"{what} {value}" for what, value in found.facts))
    for note in found.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"written: {out / 'explain.html'}")


def whole_numbers(option: str, text: str | None) -> tuple[int, ...] | None:
    """Reads "3,40,40"; None stays None."""
    from recurseg.errors import ConfigError

    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"{option} {text}: write whole numbers with commas, such as 8,64,64") from None
