"""Pages that open from disk without network: the report of a run, and the explanation of an answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recurseg.explain import Explanation


def write_report(run: Path | str) -> Path:
    """Writes `RUN/report.html`; see `recurseg.report.page.write_report`."""
    from recurseg.report.page import write_report as write

    return write(Path(run))


def explain(run: Path | str, case: Path | str, *, out: Path | str, **options: Any) -> Explanation:
    """Writes `OUT/explain.html`; see `recurseg.report.explanation.explain`."""
    from recurseg.report.explanation import explain as write

    return write(run, case, out=out, **options)


__all__ = ["explain", "write_report"]
