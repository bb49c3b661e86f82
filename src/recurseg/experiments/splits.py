"""A row that was trained on several random splits: its splits together, and each by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from recurseg.evaluation.over_splits import OverSplits, over_splits, summarise_splits
from recurseg.experiments.ledger import Result, Splits
from recurseg.experiments.measured import number, values
from recurseg.experiments.table import Measure, Table

if TYPE_CHECKING:
    from recurseg.experiments.rows import Entry


def together(results: Sequence[Result], held_over_trained: float) -> Result:
    """One result of a row from those of its splits.

    Args:
        results: One a split; of the first is all that the splits share.
        held_over_trained: Cases that were held out over cases that were trained on.
    """
    summary = summarise_splits([own.evaluated for own in results], held_over_trained=held_over_trained)
    splits = Splits(
        held_over_trained=held_over_trained,
        summary=[entry.as_dict() for entry in summary],
        results=list(results),
    )
    return results[0].model_copy(
        update={
            "split": f"{len(results)} random splits; the first: {results[0].split}",
            "seconds": round(sum(own.seconds for own in results), 1),
            "evaluation": [],
            "confusion": None,
            "subsets": [],
            "patients": {},
            "elsewhere": [],
            "soft": [],
            "cardiac": None,
            "sections": [],
            "splits": splits,
        }
    )


def over_row(table: Table, result: Result) -> dict[str, OverSplits]:
    """Heading → mean over the splits of a row with its interval, in the units of the paper; nan splits left out."""
    assert result.splits is not None
    each = [values(table, own) for own in result.splits.results]
    return {
        name: over_splits(
            [own[name] for own in each if own[name] == own[name]],
            held_over_trained=result.splits.held_over_trained,
        )
        for name in each[0]
    }


def over_difference(table: Table, measure: Measure, row: Result, rival: Result) -> OverSplits | None:
    """Mean over their common splits of row − rival, in the units of the paper; None where they share none."""
    assert row.splits is not None
    assert rival.splits is not None
    others = {own.recipe["seed"]: own for own in rival.splits.results}
    common = [(own, others[own.recipe["seed"]]) for own in row.splits.results if own.recipe["seed"] in others]
    differences = [values(table, own)[measure.name] - values(table, other)[measure.name] for own, other in common]
    defined = [difference for difference in differences if difference == difference]
    return over_splits(defined, held_over_trained=row.splits.held_over_trained) if defined else None


def split_lines(table: Table, entries: Sequence[Entry]) -> list[list[str]]:
    """Cells of each split of each row by itself, and of their mean; nothing where no row has several."""
    done = [(entry, entry.result) for entry in entries if entry.result]
    if not any(result.splits for _, result in done):
        return []
    lines = [["network", "data", "split", *(measure.name for measure in table.measures)]]
    for entry, result in done:
        head = [entry.row.name, entry.source.name]
        for place, own in enumerate(result.splits.results if result.splits else [result], start=1):
            found = values(table, own)
            lines.append([*head, str(place), *(number(found[m.name], m.digits) for m in table.measures)])
        if result.splits:
            whole = over_row(table, result)
            lines.append([*head, "mean", *(_with_interval(whole[m.name], m.digits) for m in table.measures)])
    return lines


def _with_interval(whole: OverSplits, digits: int) -> str:
    text = number(whole.mean, digits)
    return f"{text} ({' – '.join(number(end, digits) for end in whole.interval)})" if whole.interval else text
