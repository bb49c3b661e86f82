"""`recurseg phantom NAME OUT`: writes a procedural data set in a real format."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from recurseg.errors import ConfigError


def phantom(
    name: Annotated[
        str,
        typer.Argument(
            help="em_membranes (TIFF); brain_tissue, brain_tumour or ms_lesions (NIfTI); chest_xray (PNG); "
            "cardiac_cine, of two scanners, or cardiac_cine_a or _b, of one (4-D NIfTI); pathfinder, its contours "
            "of 6 paddles, or pathfinder_9 or _14 (PNG)."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Folder to make; it must not exist or be empty.")],
    cases: Annotated[
        int | None,
        typer.Option(
            help="Number of cases; by default 1 of EM, 4 brains, 8 with tumour or lesions, 24 chests, 20 hearts, "
            "200 paths."
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="DxHxW",
            help="Slices, rows, columns; by default 20x256x256, 32x96x96, 40x120x120 (tumours), 24x128x96 (lesions), "
            "9x128x128 of the heart or, of one slice, 256x256 of the chest and 300x300 of paths.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same data set.")] = 0,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Write a procedural data set: made-up images and labels, in the files that real ones come in."""
    from recurseg.data.phantoms import write_phantom

    folder = write_phantom(name, out, cases=cases, size=_parse_size(size), seed=seed)
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    if json_:
        typer.echo(json.dumps({"phantom": name, "out": str(folder), "seed": seed, "files": files}))
    else:
        typer.echo(f"{name}: {len(files)} files in {folder}")


def _parse_size(text: str | None) -> tuple[int, int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(?:(\d+)[x,])?(\d+)[x,](\d+)", text.strip().lower())
    if match is None:
        raise ConfigError(
            f"--size {text}: whole numbers expected, slices x rows x columns as in 20x256x256, or 256x256"
        )
    depth, height, width = (int(number) for number in match.groups("1"))
    return depth, height, width
