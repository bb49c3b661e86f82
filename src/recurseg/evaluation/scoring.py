"""From two sets of label maps to numbers: match, align, decode, measure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recurseg.data.case import IGNORE, Deferred, Volume
from recurseg.data.grid import same_place
from recurseg.errors import ConfigError, DataError
from recurseg.evaluation.coding import classes_of, is_probability, settle_coding
from recurseg.evaluation.failures import Limit
from recurseg.evaluation.metrics import METRICS, Metric, choose
from recurseg.evaluation.pairing import pair, sections_of
from recurseg.evaluation.partition import membrane_class
from recurseg.evaluation.result import Evaluation, Row
from recurseg.evaluation.sources import Labelled, predictions_side, references_side

if TYPE_CHECKING:
    from recurseg.data.dataset import Dataset


def evaluate(
    predictions: Path | str | Mapping[str, np.ndarray],
    labels: Path | str | Dataset | Mapping[str, np.ndarray],
    *,
    metrics: Sequence[str] | None = None,
    spacing: Sequence[float] | None = None,
    class_names: Sequence[str] | None = None,
    sections: str | None = None,
    not_evaluated: Sequence[int] = (),
    failures: float | str | None = None,
) -> Evaluation:
    """Compares predicted with reference label maps, case by case and class by class.

    Args:
        predictions: A folder that `recurseg predict` wrote, a file or folder of label files, or arrays by case id:
            integers are labels, floats in 0..1 the probability of class 1.
        labels: A data set (folder, `dataset.yaml` or `Dataset`), a file or folder of label files, or arrays.
        metrics: Ids from `METRICS`; by default all that the inputs allow. Membrane metrics are in where a class is
            called "membrane", metrics in mm where the spacing is known.
        spacing: Millimetres per voxel, one number an axis, instead of what the files say.
        class_names: Names by class, 0 first, instead of what the data set says.
        sections: "16-19" compares these sections of a stack (both ends counted, from 0); a prediction that
            has only these is taken as it is.
        not_evaluated: Classes without rows, beside those that the data set says. A voxel whose reference is one of
            them counts nowhere; elsewhere a prediction of one is a miss of what is there.
        failures: Where failure begins: 0.9 counts the cases with a Dice below it, "hd95_mm=10" those with a value of
            this metric above 10.

    Returns:
        One row a case, class and metric, with their summary, also by the tags of a data set's cases. Class 0
        (background) has no rows.

    Raises:
        DataError: A file cannot be read, grids differ, a case has no partner (named), a label value is unknown.
        ConfigError: An unknown metric or class, a wrong spacing or section range.
    """
    chosen = choose(metrics) if metrics is not None else None
    limit = None if failures is None else Limit.read(failures)
    if of_images := [m.id for m in chosen or () if m.takes == "image"]:
        raise ConfigError(f"{', '.join(of_images)}: measures reconstructed images; label maps have none")
    if spacing is not None and not all(0 < s < float("inf") for s in spacing):
        raise ConfigError(f"spacing {tuple(spacing)} must be positive millimetres")
    predicted, expected = predictions_side(predictions, spacing), references_side(labels, spacing)
    pairs, unpredicted = pair(predicted, expected)
    notes = [*expected.notes, *unpredicted]
    aligned = [_align(p, r, spacing, sections) for p, r in pairs]
    aligned, names, decided = settle_coding(
        aligned, list(class_names or expected.class_names or predicted.class_names)
    )
    notes += decided
    unmeasured = {*not_evaluated, *(c for _, r in aligned if r.case for c in r.case.not_evaluated)}
    notes += _notes_of(unmeasured, names)
    membrane = membrane_class(names)
    in_mm = all(r.volume.spacing_known for _, r in aligned)
    if chosen is None:
        kinds = {"class"} if membrane is None else {"class", "membrane"}
        chosen = [m for m in METRICS.values() if m.takes in kinds]
        if not in_mm:
            left_out = ", ".join(m.id for m in chosen if m.needs_mm)
            notes.append(f"{left_out} left out: the files carry no spacing; pass --spacing to get them")
            chosen = [m for m in chosen if not m.needs_mm]
    elif not in_mm and (needing := [m.id for m in chosen if m.needs_mm]):
        raise ConfigError(f"{', '.join(needing)} need a spacing and the files carry none: pass --spacing")
    if limit and limit.metric not in [m.id for m in chosen]:
        raise ConfigError(f"failures by {limit.metric}: it is not among {', '.join(m.id for m in chosen)}")
    rows = [row for p, r in aligned for row in _score(p, r, chosen, names, membrane or 1, unmeasured)]
    tags = {r.id: list(r.case.tags) for _, r in aligned if r.case and r.case.tags}
    return Evaluation(rows, notes, tags, limit)


def _notes_of(unmeasured: Collection[int], names: Sequence[str]) -> list[str]:
    for c in sorted(unmeasured):
        if not 0 < c < len(names):
            known = ", ".join(f"{k} {name}" for k, name in enumerate(names) if k)
            raise ConfigError(f"class {c} cannot be left out of the evaluation: foreground classes are {known}")
    return [f"{names[c]} is not evaluated: voxels with this reference count nowhere" for c in sorted(unmeasured)]


def _align(
    prediction: Labelled, reference: Labelled, spacing: Sequence[float] | None, sections: str | None
) -> tuple[Labelled, Labelled]:
    """Puts both on the same sections and checks that they share a grid; the reference's geometry holds."""
    grid = reference.case.reference if reference.case and reference.case.images else reference.volume
    if spacing is not None:
        if len(spacing) != len(grid.shape):
            raise ConfigError(f"case {reference.id} has {len(grid.shape)} axes, spacing {tuple(spacing)} does not")
        grid = replace(grid, spacing=tuple(spacing), spacing_known=True)
    elif not grid.spacing_known and prediction.volume.spacing_known:
        grid = replace(grid, spacing=prediction.volume.spacing, spacing_known=True)
    shared: dict[str, Any] = {
        "spacing": grid.spacing, "spacing_known": grid.spacing_known, "stack_axis": grid.slice_axis,
    }  # fmt: skip
    sections = sections or (sections_of(prediction.id) if sections_of(reference.id) is None else None)
    truth = replace(reference.volume, **shared)
    whole = truth.shape
    if sections is not None:
        truth = _restrict(truth, sections, reference.id)

    def onto(volume: Volume) -> Volume:
        volume = _as_section(volume, truth)
        if len(volume.shape) == len(whole):
            volume = replace(volume, **shared)
        if sections is not None and volume.shape == whole:
            volume = _restrict(volume, sections, prediction.id)
        _check_grid(volume, truth, prediction.id)
        return volume

    probability = prediction.probability and onto(prediction.probability)
    return (
        replace(prediction, id=reference.id, volume=onto(prediction.volume), probability=probability),
        replace(reference, volume=truth),
    )


def _as_section(volume: Volume, truth: Volume) -> Volume:
    """A 2-D file as the stack of one section that it stands for: formats drop the axis of a single page."""
    axis = truth.slice_axis
    if axis is None or volume.shape != truth.shape[:axis] + truth.shape[axis + 1 :] or truth.shape[axis] != 1:
        return volume
    flat = volume.array

    def read(index: Any) -> np.ndarray:
        return np.expand_dims(flat[...], axis)[index]

    array = Deferred(truth.shape, np.dtype(flat.dtype), read)
    return replace(volume, array=array, spacing=truth.spacing, stack_axis=axis)


def _restrict(volume: Volume, sections: str, id: str) -> Volume:
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", sections.strip())
    if not found:
        raise ConfigError(f"sections '{sections}': write a range such as 16-19, or one number")
    start, last = int(found[1]), int(found[2] or found[1])
    axis = volume.slice_axis
    if axis is None:
        raise ConfigError(f"case {id} is a single 2-D image: it has no sections to choose from")
    if not start <= last < volume.shape[axis]:
        raise ConfigError(f"case {id} has sections 0-{volume.shape[axis] - 1}, not {sections}")
    return volume.sections(start, last + 1)


def _check_grid(volume: Volume, truth: Volume, id: str) -> None:
    if volume.shape != truth.shape:
        raise DataError(
            f"case {id}: prediction {volume.path} has grid {volume.shape}, reference {truth.path} has {truth.shape}: "
            "predict on the image that the reference belongs to, or choose --sections"
        )
    if not same_place(volume, truth):
        raise DataError(
            f"case {id}: prediction {volume.path} lies elsewhere than reference {truth.path}: "
            "their affines differ; resample one onto the other"
        )


def _score(
    prediction: Labelled,
    reference: Labelled,
    chosen: Sequence[Metric],
    names: Sequence[str],
    membrane: int,
    unmeasured: Collection[int],
) -> list[Row]:
    """All rows of one case."""
    spacing = reference.volume.spacing
    found, expected = classes_of(prediction), classes_of(reference)
    expected[np.isin(expected, list(unmeasured))] = IGNORE
    found[expected == IGNORE] = IGNORE
    highest = int(max(found[found != IGNORE].max(initial=0), expected[expected != IGNORE].max(initial=0)))
    if highest >= len(names):
        raise DataError(
            f"case {reference.id}: class {highest} occurs in {prediction.volume.path} or {reference.volume.path}, "
            f"known are {', '.join(f'{c} {name}' for c, name in enumerate(names))}"
        )
    rows = []
    kinds = {metric.takes for metric in chosen}
    values: dict[tuple[str, int], float] = {}
    if "class" in kinds:
        for c in sorted(set(range(1, len(names))) - set(unmeasured)):
            masks = found == c, expected == c
            values |= {(id, c): v for id, v in _values(chosen, "class", *masks, spacing).items()}
    if "membrane" in kinds and membrane not in unmeasured:
        axis = reference.volume.slice_axis or 0
        probability = _membrane_probability(prediction, found, membrane)
        truth = np.where(expected == IGNORE, IGNORE, expected == membrane).astype(np.uint8)
        sections_first = np.moveaxis(probability, axis, 0), np.moveaxis(truth, axis, 0)
        values |= {(id, membrane): v for id, v in _values(chosen, "membrane", *sections_first, None).items()}
    for metric in chosen:
        for c, name in enumerate(names):
            if (metric.id, c) in values:
                rows.append(Row(reference.id, name, metric.id, values[metric.id, c], metric.unit))
    return rows


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
