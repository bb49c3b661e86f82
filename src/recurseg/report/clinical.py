"""Clinical numbers on a run's page, of hearts or of lesions: tables, Bland-Altman plots, every patient or case."""

from __future__ import annotations

from dataclasses import dataclass, field

from recurseg.evaluation.agreement import Agreeing
from recurseg.evaluation.burden import Lesions
from recurseg.evaluation.statistics import FEWEST
from recurseg.evaluation.tables import agreement_cells, detection_lines, measured, sized
from recurseg.report.bland_altman import draw_bland_altman
from recurseg.report.svg import svg_uri

WORDS = {
    "hearts": "ED is end-diastole, ES end-systole.",
    "lesions": "Rates are of the lesions of all cases together; a large one counts as one.",
}


@dataclass(frozen=True)
class Counts:
    """Found and false lesions of a class: `headings` are sizes, `lines` (what, a cell a size)."""

    title: str
    headings: list[str]
    lines: list[tuple[str, list[str]]]


@dataclass(frozen=True)
class Clinical:
    """What a page shows of quantities that prediction and label agree on or not.

    Attributes:
        title: Of the section.
        note: What to know.
        one: "patient" or "case".
        headings: Of `rows`, after the quantity.
        rows: (quantity with its unit, definition, cells).
        plot: Bland-Altman plots as a data URI.
        names: Quantities with their units.
        each: (patient or case, "prediction / label" of each quantity).
        counts: Of lesions, a table a class.
    """

    title: str
    note: str
    one: str
    headings: list[str]
    rows: list[tuple[str, str, list[str]]]
    plot: str
    names: list[str]
    each: list[tuple[str, list[str]]]
    counts: list[Counts] = field(default_factory=list)


def draw_clinical(numbers: Agreeing) -> Clinical:
    """Draws and words clinical numbers."""
    found, quantities = numbers.agreement, numbers.quantities
    pairs = {q.id: numbers.pairs(q.id) for q in quantities}
    names = [", ".join(filter(None, (q.name, q.unit))) for q in quantities]
    last = "95 % interval of bias" if len(numbers.ids) >= FEWEST else "differences"
    return Clinical(
        title=f"{numbers.what.capitalize()}, {numbers.one} by {numbers.one}",
        note=WORDS[numbers.what],
        one=numbers.one,
        headings=["label", "prediction", "bias", "limits of agreement", "mean absolute error", "r", last],
        rows=[(name, q.definition, agreement_cells(found[q.id])) for name, q in zip(names, quantities, strict=True)],
        plot=svg_uri(draw_bland_altman(numbers)),
        names=names,
        each=[
            (id, [" / ".join(measured(value, found[q.id].digits) for value in pairs[q.id][id]) for q in quantities])
            for id in numbers.ids
        ],
        counts=_counts(numbers) if isinstance(numbers, Lesions) else [],
    )


def _counts(lesions: Lesions) -> list[Counts]:
    return [
        Counts(
            f"{name}, all cases together: {lesions.rule.words}",
            [heading for heading, _ in sized(lesions)],
            [(what, cells) for what, *cells in detection_lines(lesions, name)],
        )
        for name in lesions.classes
    ]
