"""Clinical numbers on a run's page: a line a quantity, Bland-Altman plots, and every patient."""

from __future__ import annotations

from dataclasses import dataclass

from recurseg.evaluation.cardiac import Cardiac
from recurseg.evaluation.statistics import FEWEST
from recurseg.evaluation.tables import agreement_cells, measured
from recurseg.report.bland_altman import draw_bland_altman
from recurseg.report.svg import svg_uri


@dataclass(frozen=True)
class Hearts:
    """What a page shows of hearts.

    Attributes:
        headings: Of `rows`, after the quantity.
        rows: (quantity, definition, cells), cells without unit, which comes last.
        plot: Bland-Altman plots as a data URI.
        names: Quantities with their units.
        patients: (patient, "prediction / label" of each quantity).
    """

    headings: list[str]
    rows: list[tuple[str, str, list[str]]]
    plot: str
    names: list[str]
    patients: list[tuple[str, list[str]]]


def draw_hearts(cardiac: Cardiac) -> Hearts:
    """Draws and words clinical numbers."""
    found = cardiac.agreement
    last = "95 % interval of bias" if len(cardiac.patients) >= FEWEST else "differences"
    return Hearts(
        headings=["label", "prediction", "bias", "limits of agreement", "mean absolute error", "r", last, "unit"],
        rows=[(q.name, q.definition, [*agreement_cells(found[q.id]), q.unit]) for q in cardiac.quantities],
        plot=svg_uri(draw_bland_altman(cardiac)),
        names=[f"{q.name}, {q.unit}" for q in cardiac.quantities],
        patients=[
            (
                patient,
                [" / ".join(measured(v, found[q.id].digits) for v in numbers[q.id]) for q in cardiac.quantities],
            )
            for patient, numbers in cardiac.patients.items()
        ],
    )
