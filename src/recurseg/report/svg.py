"""Plots as SVG files that are the same whenever they are drawn from the same numbers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from recurseg.data.files import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_svg(figure: Figure, path: Path) -> Path:
    """Writes a figure without date or random names, and returns its file."""
    import matplotlib

    drawing = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "recurseg"}):
        figure.savefig(drawing, format="svg", metadata={"Date": None})
    write_text(path, drawing.getvalue())
    return path
