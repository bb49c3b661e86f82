"""V_Rand and V_Info after border thinning: agreement of cells however wide their membranes are drawn.

Arganda-Carreras et al. 2015, Crowdsourcing the creation of image segmentation algorithms for connectomics, which
ranks the ISBI-2012 EM challenge anew. The predicted membrane is thinned to lines of one pixel by a watershed that
grows the predicted cells; the reference stays as it is, and only pixels in its cells count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from recurseg.evaluation.partition import numbered, sections, thresholds_of


class Agreement(NamedTuple):
    """How well cells agree, arrays over thresholds.

    Attributes:
        both: Σ p_ij², over the overlaps of a reference's cell i and a predicted cell j, in pixels, over all sections.
        prediction: Σ s_j², over predicted cells.
        reference: Σ t_i², over the reference's cells.
        information: F-score of information, mean over sections; nan where no section has a cell.
    """

    both: np.ndarray
    prediction: np.ndarray
    reference: np.ndarray
    information: np.ndarray


def thin(cell: np.ndarray) -> np.ndarray:
    """Grows cells at equal pace across edges of pixels until lines of one pixel part them.

    Args:
        cell: Predicted cells, bool (H, W).

    Returns:
        Cells by number from 1, 0 on the lines, (H, W); an image without any cell is one cell.
    """
    from skimage.segmentation import watershed

    cells = numbered(cell)
    if not cells.any():
        return np.ones_like(cells)
    return watershed(np.zeros(cell.shape, np.uint8), cells, connectivity=1, watershed_line=True)


def agreement(prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float] | None = None) -> Agreement:
    """Compares the cells of a thinned prediction with the reference's, 4-connected on each section.

    Args:
        prediction: Probability of membrane in 0..1 (float), or a membrane mask; (H, W) or (sections, H, W).
        reference: Membrane mask, bool or 0/1; 255 is ignored.
        spacing: Not used.
    """
    thresholds = thresholds_of(prediction)
    squares = np.zeros((3, len(thresholds)))
    information: list[list[float]] = []
    for section in sections(prediction, reference):
        if not section.cell.any():
            continue
        truth = numbered(section.cell)
        sizes = [_overlaps(thin(section.predicted_cell(t)), truth) for t in thresholds]
        squares += np.transpose([[np.square(s).sum() for s in three] for three in sizes])
        information.append([_information(*three) for three in sizes])
    mean = np.mean(information, axis=0) if information else np.full(len(thresholds), np.nan)
    both, found, true = squares
    return Agreement(both, found, true, mean)


def _overlaps(found: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels of overlaps, predicted cells and true cells, inside true cells; a line pixel is a cell of its own."""
    from skimage.metrics import contingency_table

    inside = truth > 0
    table = contingency_table(truth[inside], found[inside]).tocsc()
    cells, lines = table[:, 1:], np.ones(int(table[:, [0]].sum()))
    return (
        np.concatenate([cells.data, lines]),
        np.concatenate([np.ravel(cells.sum(axis=0)), lines]),
        np.ravel(table.sum(axis=1)),
    )


def _information(both: np.ndarray, prediction: np.ndarray, reference: np.ndarray) -> float:
    """2·I(S; T) / (H(S) + H(T)); 1 where both sides are one and the same cell."""
    joint, found, true = (_entropy(sizes) for sizes in (both, prediction, reference))
    return 2 * (found + true - joint) / (found + true) if found + true else 1.0


def _entropy(sizes: np.ndarray) -> float:
    share = sizes[sizes > 0] / sizes.sum()
    return float(-(share * np.log(share)).sum())


def v_rand(a: Agreement) -> float:
    """Largest V_Rand over thresholds, pooled over sections."""
    whole = a.prediction + a.reference
    return float((2 * a.both / whole).max()) if whole.all() else float("nan")


def v_info(a: Agreement) -> float:
    """Largest V_Info over thresholds."""
    return float(a.information.max())
