"""Plots as SVG that is the same whenever it is drawn from the same numbers."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING

from recurseg.data.files import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_svg(figure: Figure, path: Path) -> Path:
    """Writes a figure without date or random names, and returns its file."""
    write_text(path, _svg(figure))
    return path


def svg_uri(figure: Figure) -> str:
    """The same as a data URI, for a page."""
    return "data:image/svg+xml;base64," + base64.b64encode(_svg(figure).encode()).decode("ascii")


def _svg(figure: Figure) -> str:
    import matplotlib

    drawing = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "recurseg"}):
        figure.savefig(drawing, format="svg", metadata={"Date": None})
    return drawing.getvalue()
