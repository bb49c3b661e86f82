"""A table for people: the paper's numbers, ours, on which data, and how they stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from recurseg.evaluation.ranking import rank_sum
from recurseg.evaluation.result import Evaluation, Row
from recurseg.experiments.ledger import Result
from recurseg.experiments.rows import Entry
from recurseg.experiments.table import Measure, Table

if TYPE_CHECKING:
    from rich.table import Table as Drawn


PRINTED = ", printed"


def values(table: Table, result: Result) -> dict[str, float]:
    """Heading → number, in the units of the paper; nan where the run has no such metric."""
    evaluation = stored_evaluation(result)
    return {measure.name: _value(evaluation, measure) for measure in table.measures}


def stored_evaluation(result: Result) -> Evaluation:
    """The evaluation that a result holds."""
    rows = [
        Row(r["case"], r["class"], r["metric"], float("nan") if r["value"] is None else r["value"], r["unit"])
        for r in result.evaluation
    ]
    return Evaluation(rows)


def _value(evaluation: Evaluation, measure: Measure) -> float:
    try:
        return evaluation.value(measure.metric, class_name=measure.class_name) * measure.factor
    except KeyError:
        return float("nan")


def as_lines(table: Table, entries: Sequence[Entry]) -> list[list[str]]:
    """Cells of the table: a heading line, our rows, the paper's rows."""
    ranks = _rank_sums(entries) if table.ranks else {}
    extra = ["rank sum of ours"] if ranks else []
    lines = [["network", "weights", "steps", "minutes", *(m.name for m in table.measures), *extra, "data"]]
    for entry in entries:
        if entry.result is None:
            numbers = [entry.state, "", "", *["–"] * len(table.measures), *("" for _ in extra)]
        else:
            found, result = values(table, entry.result), entry.result
            facts = [f"{result.parameters:,}", f"{result.steps:,}", f"{result.seconds / 60:.1f}"]
            shown = [f"{found[measure.name]:.3g}" for measure in table.measures]
            numbers = [*facts, *shown, *(str(ranks.get(entry.row.id, "")) for _ in extra)]
        lines.append([entry.row.name, *numbers, entry.source.name if entry.result else "–"])
    for name, printed in table.printed.items():
        shown = [f"{printed[m.name]:g}" if m.name in printed else "" for m in table.measures]
        lines.append([f"{name}{PRINTED}", "", "", "", *shown, *("" for _ in extra), "paper"])
    return lines


def _rank_sums(entries: Sequence[Entry]) -> dict[str, int]:
    """Row → the challenge's sum of ranks among our rows on the same data; none for fewer than two."""
    done = {entry.row.id: entry for entry in entries if entry.result}
    if len(done) < 2 or len({entry.source.name for entry in done.values()}) > 1:
        return {}
    return rank_sum({id: stored_evaluation(entry.result) for id, entry in done.items() if entry.result}).scores


def caption(table: Table, entries: Sequence[Entry]) -> str:
    """Which numbers were measured on which data."""
    used = [entry for entry in entries if entry.result] or entries
    ours = "; ".join(dict.fromkeys(f"{entry.source.name}: {entry.source.what}" for entry in used))
    return f"{ours}; paper: {table.printed_on}. Numbers on different data do not compare."


def drawn(table: Table, entries: Sequence[Entry]) -> Drawn:
    """The table for a terminal: what a row cost stands below it."""
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
    return drawing


def markdown(table: Table, entries: Sequence[Entry]) -> str:
    """The table for a page."""
    lines = as_lines(table, entries)
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + f"\n\n{caption(table, entries)}"


def sections_markdown(table: Table, entries: Sequence[Entry]) -> str:
    """Each held-out section of a stack by itself; "" where no row has any."""
    measures = {measure.metric: measure for measure in table.measures}
    lines = [["network", "data", "section", *(measure.name for measure in table.measures)]]
    for entry in entries:
        for section in entry.result.sections if entry.result else []:
            numbers = [f"{section[id] * measure.factor:.4g}" for id, measure in measures.items()]
            lines.append([entry.row.name, entry.source.name, str(section["section"]), *numbers])
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) if len(lines) > 2 else ""


def as_data(table: Table, entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """The rows as plain data."""
    return [
        {
            "table": table.id,
            "row": entry.row.id,
            "data": entry.source.name,
            "state": entry.state,
            "printed": table.printed.get(entry.row.name),
            "ours": values(table, entry.result) if entry.result else None,
            "result": entry.result.model_dump(mode="json", exclude={"recipe"}) if entry.result else None,
        }
        for entry in entries
    ]
