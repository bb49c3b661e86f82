"""A table for people: the paper's numbers, ours, on which data, and how they stand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from recurseg.evaluation.ranking import rank_sum
from recurseg.evaluation.statistics import FEWEST
from recurseg.experiments.completion import ACCURACY
from recurseg.experiments.measured import cases_of, estimates, number, texts, values
from recurseg.experiments.pairs import HEADINGS, compare_pairs
from recurseg.experiments.rows import Entry
from recurseg.experiments.splits import split_lines
from recurseg.experiments.table import Table

if TYPE_CHECKING:
    from rich.console import Group


PRINTED = ", printed"
OVER_SPLITS = (
    "± is the standard deviation over random splits; a row on one split compares with the first split of another. "
    "Intervals over splits are those of Nadeau and Bengio 2003"
)


def _unaided(table: Table, entries: Sequence[Entry]) -> list[list[str]]:
    """Lines for the digits that no network touched: as they are, and as each deletion leaves them."""
    lines: dict[str, list[str]] = {}
    for entry in entries:
        if entry.result and (found := entry.result.completion):
            deleted = " ".join(str(part) for part in entry.result.recipe["deletion"].values() if part is not None)
            for name, known in (("unaltered", {ACCURACY: found.unaltered}), (f"altered: {deleted}", found.altered)):
                numbers = [*estimates(table, known).values(), *("" for _ in table.facts)]
                lines.setdefault(name, [name, "", "", "", *numbers, entry.source.name])
    return list(lines.values())


def as_lines(table: Table, entries: Sequence[Entry]) -> list[list[str]]:
    """Cells of the table: a heading line, our rows, the paper's rows."""
    ranks = _rank_sums(entries) if table.ranks else {}
    extra = ["rank sum of ours"] if ranks else []
    headings = [column.name for column in (*table.measures, *table.facts)]
    lines = [["network", "weights", "steps", "minutes", *headings, *extra, "data"]]
    for entry in entries:
        if entry.result is None:
            numbers = [entry.state, "", "", *["–"] * len(headings), *("" for _ in extra)]
        else:
            result = entry.result
            facts = [f"{result.parameters:,}", f"{result.steps:,}", f"{result.seconds / 60:.1f}"]
            numbers = [*facts, *texts(table, result).values(), *(str(ranks.get(entry.row.id, "")) for _ in extra)]
        lines.append([entry.row.name, *numbers, entry.source.name if entry.result else "–"])
    lines += _unaided(table, entries)
    for name, printed in table.printed.items():
        shown = [f"{printed[heading]:g}" if heading in printed else "" for heading in headings]
        lines.append([f"{name}{PRINTED}", "", "", "", *shown, *("" for _ in extra), "paper"])
    return lines


def _rank_sums(entries: Sequence[Entry]) -> dict[str, int]:
    """Row → the challenge's sum of ranks among our rows on the same data; none for fewer than two."""
    done = {entry.row.id: entry for entry in entries if entry.result}
    if len(done) < 2 or len({entry.source.name for entry in done.values()}) > 1:
        return {}
    return rank_sum({id: entry.result.evaluated for id, entry in done.items() if entry.result}).scores


def case_lines(table: Table, entries: Sequence[Entry]) -> list[list[str]]:
    """Cells of each held-out case by itself, where a row has several but too few for an interval; else nothing."""
    measures = [m for m in table.measures if m.limit is None and m.statistic != "sd"]
    lines = [["network", "data", "case", *(measure.name for measure in measures)]]
    for entry in entries:
        cases = entry.result.evaluated.cases if entry.result else []
        if entry.result and 1 < len(cases) < FEWEST:
            found = [(measure, cases_of(measure, entry.result)) for measure in measures]
            for case in cases:
                numbers = [number(own.get(case, math.nan) * m.factor, m.digits) for m, own in found]
                lines.append([entry.row.name, entry.source.name, case, *numbers])
    return lines if len(lines) > 1 else []


def caption(table: Table, entries: Sequence[Entry]) -> str:
    """Which numbers were measured on which data, and what was smaller than in the paper."""
    used = [entry for entry in entries if entry.result] or entries
    ours = "; ".join(dict.fromkeys(f"{entry.source.name}: {entry.source.what}" for entry in used))
    scales = dict.fromkeys(entry.result.scale for entry in entries if entry.result)
    repeated = any(entry.result and entry.result.splits for entry in entries)
    scaled = "".join(f" At scale {scale}: {table.scaled[scale]}." for scale in scales if scale in table.scaled)
    scaled += f" {OVER_SPLITS}." * repeated
    if not table.printed:
        return f"{ours}.{scaled}"
    return f"{ours}; paper: {table.printed_on}.{scaled} Numbers on different data do not compare."


def drawn(table: Table, entries: Sequence[Entry]) -> Group:
    """The table for a terminal: what a row cost stands below it, then the table's pairs."""
    from rich.console import Group
    from rich.table import Table as Drawn

    lines = [[line[0].removesuffix(PRINTED), *line[4:]] for line in as_lines(table, entries)]
    costs = [
        f"{entry.row.name}: {r.parameters:,} weights, {r.steps:,} steps, {r.seconds / 60:.1f} min; {entry.state}"
        if (r := entry.result)
        else f"{entry.row.name}: {entry.state}"
        for entry in entries
    ]
    drawing = Drawn(
        title=f"{table.title} ({table.source})", caption="\n".join([*costs, caption(table, entries)]), box=None,
        title_justify="left", caption_justify="left", header_style="bold", padding=(0, 1, 0, 0),
    )  # fmt: skip
    for column, heading in enumerate(lines[0]):
        outer = column in (0, len(lines[0]) - 1)
        drawing.add_column(heading, justify="left" if outer else "right", no_wrap=column == 0, overflow="fold")
    for line in lines[1:]:
        drawing.add_row(*line, style="dim" if line[-1] == "paper" else None)
    parts: list[Drawn | str] = [drawing]
    for headings, *rows in _below(table, entries):
        below = Drawn(*headings, box=None, header_style="bold", padding=(0, 1, 0, 0))
        for row in rows:
            below.add_row(*row)
        parts += ["", below]
    return Group(*parts)


def markdown(table: Table, entries: Sequence[Entry]) -> str:
    """The table for a page, and below it those of its pairs and cases."""
    parts = [_piped(as_lines(table, entries)), caption(table, entries), *map(_piped, _below(table, entries))]
    return "\n\n".join(parts)


def _below(table: Table, entries: Sequence[Entry]) -> list[list[list[str]]]:
    """What stands below a table: its pairs, its splits where there are several, and its cases where they are few."""
    pairs = [pair.as_cells() for pair in compare_pairs(table, entries)]
    parts = ([HEADINGS, *pairs] if pairs else [], split_lines(table, entries), case_lines(table, entries))
    return [lines for lines in parts if lines]


def _piped(lines: list[list[str]]) -> str:
    """Markdown of a heading line and the lines below it."""
    rows = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def sections_markdown(table: Table, entries: Sequence[Entry]) -> str:
    """Each held-out section of a stack by itself; "" where no row has any."""
    measures = {m.metric: m for m in table.measures if m.statistic == "mean"}
    lines = [["network", "data", "section", *(measure.name for measure in measures.values())]]
    for entry in entries:
        for section in entry.result.sections if entry.result else []:
            numbers = [f"{section[id] * measure.factor:.4g}" for id, measure in measures.items()]
            lines.append([entry.row.name, entry.source.name, str(section["section"]), *numbers])
    return _piped(lines) if len(lines) > 1 else ""


def as_data(table: Table, entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """The rows as plain data, each with its comparisons with its rivals."""
    pairs = compare_pairs(table, entries)
    return [
        {
            "table": table.id,
            "row": entry.row.id,
            "data": entry.source.name,
            "state": entry.state,
            "printed": table.printed.get(entry.row.name),
            "ours": values(table, entry.result) if entry.result else None,
            "pairs": [pair.as_data() for pair in pairs if pair.row is entry],
            "result": entry.result.model_dump(mode="json", exclude={"recipe"}) if entry.result else None,
        }
        for entry in entries
    ]
