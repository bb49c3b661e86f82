"""A table for people: the paper's numbers, ours, on which data, and how they stand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from recurseg.evaluation.failures import Limit, count_failures
from recurseg.evaluation.ranking import rank_sum
from recurseg.evaluation.result import Evaluation
from recurseg.evaluation.statistics import deviation
from recurseg.experiments.completion import ACCURACY, Estimate
from recurseg.experiments.ledger import Result
from recurseg.experiments.pairs import HEADINGS, compare_pairs
from recurseg.experiments.rows import Entry
from recurseg.experiments.table import Fact, Measure, Table

if TYPE_CHECKING:
    from rich.console import Group


PRINTED = ", printed"


def values(table: Table, result: Result) -> dict[str, float]:
    """Heading → number, in the units of the paper; nan where the run has no such metric or fact."""
    if result.completion:
        found = result.completion.completed
        measured = {m.name: found[m.metric].mean * m.factor for m in table.measures}
    else:
        evaluation = result.evaluated
        measured = {measure.name: _value(measure, evaluation) for measure in table.measures}
    return measured | {fact.name: _fact(fact, result) for fact in table.facts}


def _value(measure: Measure, evaluation: Evaluation) -> float:
    cases = _cases(measure, evaluation)
    defined = [value for value in cases.values() if not math.isnan(value)]
    if not defined:
        return math.nan
    if measure.limit is not None:
        return count_failures(cases, Limit(measure.metric, measure.limit)).count
    return (deviation(defined) if measure.statistic == "sd" else math.fsum(defined) / len(defined)) * measure.factor


def _cases(measure: Measure, evaluation: Evaluation) -> dict[str, float]:
    try:
        return evaluation.by_case(measure.metric, class_name=measure.class_name)
    except KeyError:
        return {}


def _fact(fact: Fact, result: Result) -> float:
    value = getattr(result, fact.fact)
    return math.nan if value is None else value * fact.factor


def _shown(table: Table, result: Result) -> list[str]:
    """The values for reading, failures with the interval of their share; a dash where there is none."""
    digits, evaluation = {m.name: m.digits for m in table.measures}, result.evaluated
    texts = {
        name: "–" if math.isnan(value) else f"{value:.{digits.get(name, 3)}g}"
        for name, value in values(table, result).items()
    }
    if result.completion:
        texts |= _estimates(table, result.completion.completed)
    for m in table.measures:
        if m.limit is not None:
            texts[m.name] = str(count_failures(_cases(m, evaluation), Limit(m.metric, m.limit))) or "–"
    return list(texts.values())


def _estimates(table: Table, found: Mapping[str, Estimate]) -> dict[str, str]:
    """Heading → mean over digits with its interval, for reading; a dash where there is none."""
    texts = {}
    for m in table.measures:
        estimate = found.get(m.metric)
        numbers = (estimate.mean, estimate.low, estimate.high) if estimate else ()
        shown = [f"{number * m.factor:.{m.digits}g}" for number in numbers]
        texts[m.name] = f"{shown[0]} ({shown[1]} – {shown[2]})" if shown else "–"
    return texts


def _unaided(table: Table, entries: Sequence[Entry]) -> list[list[str]]:
    """Lines for the digits that no network touched: as they are, and as each deletion leaves them."""
    lines: dict[str, list[str]] = {}
    for entry in entries:
        if entry.result and (found := entry.result.completion):
            deleted = " ".join(str(part) for part in entry.result.recipe["deletion"].values() if part is not None)
            for name, values in (("unaltered", {ACCURACY: found.unaltered}), (f"altered: {deleted}", found.altered)):
                numbers = [*_estimates(table, values).values(), *("" for _ in table.facts)]
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
            numbers = [*facts, *_shown(table, result), *(str(ranks.get(entry.row.id, "")) for _ in extra)]
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


def caption(table: Table, entries: Sequence[Entry]) -> str:
    """Which numbers were measured on which data."""
    used = [entry for entry in entries if entry.result] or entries
    ours = "; ".join(dict.fromkeys(f"{entry.source.name}: {entry.source.what}" for entry in used))
    return f"{ours}; paper: {table.printed_on}. Numbers on different data do not compare."


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
    pairs = compare_pairs(table, entries)
    if not pairs:
        return Group(drawing)
    below = Drawn(*HEADINGS, box=None, header_style="bold", padding=(0, 1, 0, 0))
    for pair in pairs:
        below.add_row(*pair.as_cells())
    return Group(drawing, "", below)


def markdown(table: Table, entries: Sequence[Entry]) -> str:
    """The table for a page, and below it that of its pairs."""
    pairs = [pair.as_cells() for pair in compare_pairs(table, entries)]
    below = f"\n\n{_piped([HEADINGS, *pairs])}" if pairs else ""
    return f"{_piped(as_lines(table, entries))}\n\n{caption(table, entries)}{below}"


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
