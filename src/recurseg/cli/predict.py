"""`recurseg predict`: label files, or completed images, for new images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer


def predict(
    run: Annotated[Path, typer.Argument(help="Run folder or package.")],
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT...", help="Image files, folders of sections or cases, data sets.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results and predictions.json.")],
    save_probabilities: Annotated[
        bool, typer.Option("--save-probabilities", help="Also write a map of each foreground class.")
    ] = False,
    flips: Annotated[bool, typer.Option("--flips", help="Average over mirror images; several times slower.")] = False,
    keep_largest: Annotated[
        bool, typer.Option("--keep-largest", help="Keep the largest connected piece of each class.")
    ] = False,
    max_ram: Annotated[
        str | None,
        typer.Option(
            "--max-ram",
            metavar="SIZE",
            help="Most memory that the program may hold, such as 2GB; larger images go through the disk.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Predict everything anew and replace files that are there.")
    ] = False,
    modalities: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="Look at these only, as if the others were missing.")
    ] = None,
    subsets: Annotated[
        bool, typer.Option("--subsets", help="Predict from every subset of the modalities, a folder each.")
    ] = False,
    window: Annotated[
        str | None,
        typer.Option(
            metavar="D,H,W",
            help="Window size; no smaller than the image: it is seen whole. Small ones need less memory.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    precision: Annotated[Literal["float32", "bf16", "fp16"], typer.Option(help="Of the network.")] = "float32",
    plugin: Annotated[
        str | None, typer.Option(metavar="MODULE", help="Python module that registers the model, if not built in.")
    ] = None,
    as_: Annotated[
        Literal["stack", "images", "sequence"] | None,
        typer.Option(
            "--as", help="How to take folders of 2-D files; 'sequence' also: films of ACDC, not single frames."
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Predict on a Ray cluster: auto, local, HOST:PORT or ray://HOST:PORT."),
    ] = None,
    cores: Annotated[int | None, typer.Option(min=1, help="With --ray: cores for each case; 1 by default.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Write label files, or completed images, on the inputs' own grids.

    After a stop, run it again: what still holds is kept.
    """
    from recurseg import inference

    done = inference.predict(
        run,
        inputs,
        out=out,
        probabilities=save_probabilities,
        flips=flips,
        keep_largest=keep_largest,
        max_ram=max_ram,
        overwrite=overwrite,
        modalities=None if modalities is None else modalities.split(","),
        subsets=subsets,
        as_=as_,
        device=device,
        precision=precision,
        window=_sides(window),
        plugin=plugin,
        ray=ray,
        cores=cores,
        quiet=json_,
    )
    if json_:
        files = {key: {id: str(path) for id, path in getattr(done, key).items()} for key in ("written", "skipped")}
        typer.echo(json.dumps({"out": str(done.out), **files, "notes": done.notes}))
        return
    for note in done.notes:
        typer.echo(f"note: {note}", err=True)
    kept = f", {len(done.skipped)} were there already" if done.skipped else ""
    typer.echo(f"written: {len(done.written)} predictions in {done.out}{kept}")


def _sides(text: str | None) -> tuple[int, ...] | None:
    from recurseg.errors import ConfigError

    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--window {text}: write voxels with commas, such as 16,128,128") from None
