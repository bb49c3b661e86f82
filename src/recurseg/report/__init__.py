"""The report of a run: one HTML file with curves, numbers and pictures that needs no network."""

from __future__ import annotations

from pathlib import Path


def write_report(run: Path | str) -> Path:
    """Writes `RUN/report.html`; see `recurseg.report.page.write_report`."""
    from recurseg.report.page import write_report as write

    return write(Path(run))


__all__ = ["write_report"]
