"""Values of one prediction by metric and class: frame by frame, with shared measurements made once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from recurseg.data.case import IGNORE
from recurseg.evaluation.coding import is_probability
from recurseg.evaluation.metrics import Metric
from recurseg.evaluation.pooled import Key
from recurseg.evaluation.sources import Labelled


def frames_of(prediction: Labelled, reference: Labelled) -> Iterator[tuple[int, Labelled, Labelled]]:
    """Yields the number and both sides of each frame that the reference has a label of; a 3-D case is one frame."""
    given = reference.volume.given_frames
    for number in range(reference.volume.frames) if given is None else given:
        yield number, _frame(prediction, number), _frame(reference, number)


def _frame(side: Labelled, number: int) -> Labelled:
    probability = side.probability and side.probability.frame(number)
    return replace(side, volume=side.volume.frame(number), probability=probability)


def values_of(
    prediction: Labelled,
    reference: Labelled,
    found: np.ndarray,
    expected: np.ndarray,
    chosen: Sequence[Metric],
    masks: Mapping[str, Sequence[int]],
    lesions: Collection[str],
    membrane: tuple[int, str] | None,
) -> dict[Key, float]:
    """Measures one frame.

    Args:
        prediction: Its probability is what membrane metrics take, where it has one.
        reference: Its geometry holds.
        found: Predicted classes, 255 where not counted.
        expected: Classes of the reference, likewise.
        chosen: Metrics; pooled ones are left out.
        masks: Name of a class or region → its classes.
        lesions: Those of the names that lesion metrics are of.
        membrane: Class of the membrane and its name; None for none.

    Returns:
        Metric and name → value, nan where undefined.
    """
    values: dict[Key, float] = {}
    kinds = {metric.takes for metric in chosen}
    for kind, names in {"class": masks, "lesion": lesions}.items():
        for name in names if kind in kinds else ():
            one, other = inside(masks[name], found), inside(masks[name], expected)
            of_mask = _values(chosen, kind, one, other, reference.volume.spacing)
            values |= {(id, name): value for id, value in of_mask.items()}
    if membrane and "membrane" in kinds:
        number, name = membrane
        axis = reference.volume.slice_axis or 0
        probability = np.moveaxis(_membrane_probability(prediction, found, number), axis, 0)
        truth = np.where(expected == IGNORE, IGNORE, expected == number).astype(np.uint8)
        of_membrane = _values(chosen, "membrane", probability, np.moveaxis(truth, axis, 0), None)
        values |= {(id, name): value for id, value in of_membrane.items()}
    return values


def inside(members: Sequence[int], classes: np.ndarray) -> np.ndarray:
    """The mask of some classes, bool of the shape of `classes`; 255 is in none."""
    return np.isin(np.arange(IGNORE + 1), members)[classes]


def _membrane_probability(prediction: Labelled, found: np.ndarray, membrane: int) -> np.ndarray:
    if prediction.probability is not None:
        return prediction.probability.array[...]
    if membrane == 1 and is_probability(prediction.volume):
        return prediction.volume.array[...]
    return found == membrane


def _values(
    chosen: Sequence[Metric],
    kind: str,
    prediction: np.ndarray,
    reference: np.ndarray,
    spacing: Sequence[float] | None,
) -> dict[str, float]:
    """Values by metric; metrics that score the same measurement measure once."""
    measured: dict[Any, Any] = {}
    values = {}
    for metric in chosen:
        if metric.takes == kind:
            if metric.measure not in measured:
                measured[metric.measure] = metric.measure(prediction, reference, spacing)
            values[metric.id] = metric.score(measured[metric.measure])
    return values
