"""`explain.html`: an explanation as one page that opens from disk, its figures as PNG or SVG, its numbers as JSON."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from recurseg import __version__
from recurseg.data.files import require_writable, write_json, write_text
from recurseg.explain import Curve, Explanation, Part, Picture, Table, explain_case, open_case
from recurseg.report import layers
from recurseg.report.colours import LINE, LINE_ON_GREY, SOURCES, colour, heat_colours, hexadecimal
from recurseg.report.curve import draw_curve
from recurseg.report.figures import shown_ratio, to_scale, write_figure
from recurseg.report.html import render_page
from recurseg.report.svg import svg_uri, write_svg

OUTLINE = 480
"""Longest side of the picture of a line around what is framed, in pixels."""


def explain(
    run: Path | str,
    case: Path | str,
    *,
    out: Path | str,
    voxel: Sequence[int] | None = None,
    class_name: str | None = None,
    frame: int | None = None,
    window: Sequence[int] | None = None,
    device: str = "auto",
    plugin: str | None = None,
    quiet: bool = False,
) -> Explanation:
    """Explains what a trained model says of one voxel: the command `recurseg explain`.

    Args:
        run: Run folder or package.
        case: Image file, or folder of one case.
        out: Folder for `explain.html`, `explain.json` and the figures.
        voxel: Index into the file's array, in its axis order, counted from 0, that of time left out; by default the
            middle of the largest foreground component of the prediction in the central section.
        class_name: Whose logit is explained; by default the class that the model gives the voxel.
        frame: Of a cine, counted from 0; by default the first with a label, else with a name ("ED"), else the last.
        window: Size of what is looked at, instead of the package's window; smaller ones need less memory and time.
        device: As for `recurseg.load`, like `plugin`.
        quiet: Whether to show no progress bar.

    Returns:
        The explanation; its files are written.

    Raises:
        ConfigError: The voxel lies outside the volume, there is no such frame, the class is unknown, or the
            path holds several cases.
        DataError: The package or the case cannot be read.
        ResourceError: `out` cannot be written.
    """
    from recurseg.inference import load
    from recurseg.inference.bar import CasesBar
    from recurseg.models import accepts_missing

    out = Path(out)
    require_writable(out)
    segmenter = load(run, device=device, window=window, plugin=plugin)
    chosen = open_case(Path(case), segmenter.spec.modalities, missing=accepts_missing(segmenter.model))
    with ExitStack() as stack:

        @cache
        def bar() -> CasesBar:
            """Shown once the first work is done, so that it does not stand above the line of a wrong option."""
            shown = stack.enter_context(CasesBar([1000], quiet=quiet))
            shown.start(chosen.id)
            return shown

        explanation = explain_case(
            segmenter,
            chosen,
            voxel=voxel,
            class_name=class_name,
            frame=frame,
            progress=lambda fraction: bar().within(fraction),
        )
    write_explanation(explanation, out)
    return explanation


def write_explanation(explanation: Explanation, out: Path) -> Path:
    """Writes the page, the figures and `explain.json`.

    Args:
        explanation: From `recurseg.explain.explain_case`.
        out: Folder.

    Returns:
        `OUT/explain.html`.

    Raises:
        ResourceError: The folder cannot be written.
    """
    figures = [_written(part, out) for part in explanation.parts if not isinstance(part, Table)]
    write_json(out / "explain.json", {**explanation.numbers, "figures": [figure.name for figure in figures]})
    page = out / "explain.html"
    write_text(page, render(explanation))
    return page


def render(explanation: Explanation) -> str:
    """The page as HTML."""
    stops = ", ".join(hexadecimal(rgb) for rgb in heat_colours()[::17])
    parts = [_shown(part) for part in explanation.parts]
    return render_page(
        "explain.html.j2",
        styles=["style.css", "explain.css"],
        script="explain.js",
        model=explanation.model,
        case=explanation.case,
        facts=explanation.facts,
        notes=explanation.notes,
        parts=parts,
        moving=[_moving(part) if "steps" in part else None for part in parts],
        heat=stops,
        version=__version__,
    )


def _written(part: Part | Curve, out: Path) -> Path:
    if isinstance(part, Part):
        return write_figure(part, out / f"{part.name}.png")
    return write_svg(draw_curve(part), out / f"{part.name}.svg")


def _shown(part: Part | Curve | Table) -> dict[str, Any]:
    """What the template needs of a part, under a key that says what it is: pictures, a plot or a table."""
    if isinstance(part, Part):
        return _part(part)
    if isinstance(part, Curve):
        return {"title": part.title, "text": part.text, "plot": svg_uri(draw_curve(part))}
    return {"title": part.title, "text": part.text, "columns": part.columns, "rows": part.rows}


def _part(part: Part) -> dict[str, Any]:
    pictures = [picture for row in part.rows for picture in row]
    mixed = next((picture.sources for picture in pictures if picture.colours == "mixed"), ())
    heat = next((picture for picture in pictures if picture.colours == "heat"), None)
    return {
        "name": part.name,
        "title": part.title,
        "text": part.text,
        "rows": [[_picture(picture) for picture in row] for row in part.rows],
        "steps": list(part.steps),
        "start": part.start,
        "axis": part.axis,
        "sources": [(name, hexadecimal(SOURCES[i])) for i, name in enumerate(mixed)],
        "marked": any(picture.mark for picture in pictures),
        "scale": None if heat is None else (f"10⁻{_superscript(heat.decades)}" if heat.decades else "0"),
    }


def _moving(part: dict[str, Any]) -> dict[str, Any]:
    """What the page's script needs of a part: nothing of pictures that stand still."""
    if len(part["steps"]) < 2:
        return {"steps": part["steps"], "pictures": []}
    pictures = [
        {
            "frames": picture["frames"] if len(picture["frames"]) > 1 else [],
            "bounds": picture["bounds"] if len(picture["bounds"]) > 1 else [],
            "mark_step": picture["mark_step"],
        }
        for row in part["rows"]
        for picture in row
    ]
    return {"steps": part["steps"], "pictures": pictures}


def _picture(picture: Picture) -> dict[str, Any]:
    height, width = picture.values.shape[1:3]
    mark, ratio = picture.mark, shown_ratio(picture)
    line = LINE_ON_GREY if picture.colours == "grey" else LINE
    return {
        "title": picture.title if to_scale(picture) else f"{picture.title} (squeezed)",
        "frames": [_encoded(frame, exact=picture.colours != "grey") for frame in colour(picture)],
        "bounds": [] if picture.bound is None else [_outlined(bound, ratio, line) for bound in picture.bound],
        "ratio": round(ratio, 4),
        "mark": mark and [round(100 * (i + 0.5) / size, 2) for i, size in zip(mark, (height, width), strict=True)],
        "mark_step": picture.mark_step,
        "smooth": picture.colours == "grey",
    }


def _outlined(bound: np.ndarray, ratio: float, line: tuple[int, int, int]) -> str:
    longest = max(OUTLINE, *bound.shape)
    size = (longest, round(longest * ratio)) if ratio < 1 else (round(longest / ratio), longest)
    return layers.outline(bound.astype(np.uint8), line, size, 2)


def _encoded(frame: np.ndarray, *, exact: bool) -> str:
    from PIL import Image

    stream = io.BytesIO()
    options = {"lossless": True, "quality": 50} if exact else {"quality": 80}
    Image.fromarray(frame).save(stream, "WEBP", method=4, **options)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _superscript(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
