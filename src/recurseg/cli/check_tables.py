"""What `recurseg check` found as tables that fit the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from recurseg.data.check_report import CaseReport, CheckReport

SHOWN = 20
"""Cases and problems of one kind that are listed; `--json` has all."""


def tables(report: CheckReport, width: int) -> list[Table]:
    """The cases with the share of each class where that fits the terminal, else the classes apart, one a row."""
    from rich.console import Console

    with_classes = _cases(report, list(report.classes.values())[1:])
    if Console(width=10_000).measure(with_classes).maximum <= width or not _labelled(report):
        return [with_classes]
    return [_cases(report, []), _classes(report)]


def _cases(report: CheckReport, classes: list[str]) -> Table:
    """One case a row; columns that no case has anything for are left out."""
    from rich.markup import escape

    shown = report.cases[:SHOWN]
    columns = {
        "voxels": [" × ".join(map(str, case.shape)) for case in shown],
        "spacing": [_size(case) for case in shown],
        "axes": [case.orientation or "" for case in shown],
        "frames": [_frames(case) for case in shown],
        "phase": ["" if case.frame_seconds else ", ".join(case.phases) for case in shown],
        "class": [case.target or "" for case in shown],
        "intensity": [_intensity(case) for case in shown],
    }
    table = _table("case")
    table.columns[0].overflow, table.columns[0].min_width = "fold", 8
    filled = {heading: texts for heading, texts in columns.items() if any(texts)}
    for heading in filled:
        table.add_column(heading, no_wrap=heading in ("voxels", "axes", "frames"))
    labelled = _labelled(report)
    for name in classes if labelled else []:
        table.add_column(f"{escape(name)} %", justify="right")
    for number, case in enumerate(shown):
        shares = case.fractions or {}
        numbers = [f"{100 * shares[name]:.3g}" if name in shares else "" for name in classes] if labelled else []
        table.add_row(escape(case.id), *(escape(texts[number]) for texts in filled.values()), *numbers)
    return table


def _classes(report: CheckReport) -> Table:
    """One class a row: its share of the voxels of a case, and in how many cases it occurs."""
    from rich.markup import escape

    labelled = _labelled(report)
    table = _table("class")
    for heading in ("mean %", "lowest", "highest", "cases"):
        table.add_column(heading, justify="right")
    for name in report.classes.values():
        shares = [100 * share[name] for share in labelled]
        numbers = [f"{number:.3g}" for number in (sum(shares) / len(shares), min(shares), max(shares))]
        table.add_row(escape(name), *numbers, f"{sum(share > 0 for share in shares)} of {len(shares)}")
    return table


def _table(first: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(first)
    return table


def _labelled(report: CheckReport) -> list[dict[str, float]]:
    return [case.fractions for case in report.cases if case.fractions is not None]


def _intensity(case: CaseReport) -> str:
    ranges = {name: f"{found.minimum:.4g} to {found.maximum:.4g}" for name, found in case.intensity.items()}
    return "\n".join(f"{name} {text}" if len(ranges) > 1 else text for name, text in ranges.items())


def _frames(case: CaseReport) -> str:
    """`30 × 33 ms`, below it how many of them have a label where that is not all, and the phases: `ED 0, ES 11`."""
    if case.frame_seconds is None:
        return ""
    step = f"{case.frame_seconds:.4g} s" if case.frame_seconds >= 1 else f"{1e3 * case.frame_seconds:.4g} ms"
    labelled = len(case.labelled_frames)
    lines = [f"{case.frames} × {step}", f"{labelled} labelled" if 0 < labelled < case.frames else ""]
    lines.append(", ".join(f"{name} {frame}" for name, frame in case.phases.items()))
    return "\n".join(filter(None, lines))


def _size(case: CaseReport) -> str:
    if not case.spacing_known:
        return "unknown"
    scale, unit = (1, "mm") if max(case.spacing_mm) >= 0.1 else (1e3, "µm")
    if max(case.spacing_mm) < 1e-4:
        scale, unit = 1e6, "nm"
    sides = [f"{spacing * scale:.4g}" for spacing in case.spacing_mm]
    return " × ".join(sides if len(set(sides)) > 1 else sides[:1]) + f" {unit}"
