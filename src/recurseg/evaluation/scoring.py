"""From two sets of label maps to numbers: match, align, decode, measure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recurseg.data.case import IGNORE
from recurseg.errors import ConfigError, DataError, RecursegError
from recurseg.evaluation.alignment import align
from recurseg.evaluation.burden import Lesions, tally_classes
from recurseg.evaluation.cardiac import Cardiac
from recurseg.evaluation.coding import classes_of, settle_coding
from recurseg.evaluation.confusion import Confusion
from recurseg.evaluation.failures import Limit
from recurseg.evaluation.hearts import Frame, count_frame, measurable, measure_hearts
from recurseg.evaluation.lesions import SIZES, Rule, Size, named_lesions, sizes_of
from recurseg.evaluation.measuring import frames_of, inside, values_of
from recurseg.evaluation.metrics import METRICS, Metric, choose, lesion_metrics
from recurseg.evaluation.pairing import pair
from recurseg.evaluation.partition import membrane_class
from recurseg.evaluation.pooled import Pooled
from recurseg.evaluation.regions import notes_of, settle_regions
from recurseg.evaluation.result import Evaluation, Row
from recurseg.evaluation.sources import Labelled, predictions_side, references_side
from recurseg.evaluation.summary import mean_of
from recurseg.evaluation.targets import evaluate_answers, read_answers

if TYPE_CHECKING:
    from recurseg.data.dataset import Dataset

VOXEL_AVERAGES = ("dice:pooled", "iou:pooled")
"""Pooled metrics that stand beside the means over cases where there are lesions."""


def evaluate(
    predictions: Path | str | Mapping[str, np.ndarray],
    labels: Path | str | Dataset | Mapping[str, np.ndarray],
    *,
    metrics: Sequence[str] | None = None,
    also: Sequence[str] = (),
    spacing: Sequence[float] | None = None,
    class_names: Sequence[str] | None = None,
    sections: str | None = None,
    not_evaluated: Sequence[int] = (),
    regions: Mapping[str, Sequence[int]] | None = None,
    failures: float | str | None = None,
    clinical: bool | None = None,
    lesions: bool | None = None,
    lesion_rule: str = "any_overlap_26",
    lesion_sizes: Sequence[float] = SIZES,
    time_axis: int = 0,
) -> Evaluation:
    """Compares predicted with reference label maps, case by case and class by class.

    A cine is measured frame by frame: the case's value is the mean over its labelled frames.

    Args:
        predictions: A folder that `recurseg predict` wrote, a file or folder of label files, or arrays by case id:
            integers are labels, floats in 0..1 the probability of class 1.
        labels: A data set (folder, `dataset.yaml` or `Dataset`), a file or folder of label files, or arrays.
        metrics: Ids from `METRICS`; by default all that the inputs allow. Membrane metrics are in where a class is
            called "membrane", metrics in mm where the spacing is known, pooled ones where there are three classes,
            those of lesions as `lesions` says.
        also: Ids beside those by default.
        spacing: Millimetres per voxel, one number an axis (that of time may be left out), instead of what files say.
        class_names: Names by class, 0 first, instead of what the data set says.
        sections: "16-19" compares these sections of a stack (both ends counted, from 0); a prediction that
            has only these is taken as it is.
        not_evaluated: Classes without rows, beside those that the data set says. A voxel whose reference is one of
            them counts nowhere; elsewhere a prediction of one is a miss of what is there.
        regions: Name → classes that are measured as one mask beside the classes, such as
            `{"core": [1, 3, 4]}`; by default those of the data set.
        failures: Where failure begins: 0.9 counts the cases with a Dice below it, "hd95_mm=10" those with a value of
            this metric above 10.
        clinical: Whether to measure volumes, mass and ejection fraction of hearts. None does where classes are named
            as parts of the heart and a data set says whose they are, and leaves out what cannot be had; True makes
            that an error.
        lesions: Whether to count lesions, predicted and labelled, and those that were found. None does where a class
            or region is called lesion, and takes these apart; True takes all where none is called so.
        lesion_rule: What a lesion is and when it is found, such as "overlap_0.1_18"; see `lesions.Rule`.
        lesion_sizes: The mm³ up to which a lesion is small, and up to which it is medium.
        time_axis: Axis of the frames of arrays with four axes; files say it themselves.

    Returns:
        One row a case, class or region, and metric, with their summary, also by the tags of a data set's cases.
        Class 0 (background) has no rows; pooled metrics count it.

    Raises:
        DataError: A file cannot be read, grids differ, a case has no partner (named), a label value is unknown.
        ConfigError: An unknown metric, class or region, a wrong spacing or section range.
    """
    asked = choose(metrics) if metrics is not None else None
    further = choose(also) if also else []
    if (answers := read_answers(predictions)) is not None:
        return evaluate_answers(answers, labels)
    limit = None if failures is None else Limit.read(failures)
    for takes, what in {"image": "reconstructed images", "target": "classes of whole images"}.items():
        if others := [m.id for m in [*(asked or ()), *further] if m.takes == takes]:
            raise ConfigError(f"{', '.join(others)}: measures {what}; label maps have none")
    if spacing is not None and not all(0 < s < float("inf") for s in spacing):
        raise ConfigError(f"spacing {tuple(spacing)} must be positive millimetres")
    rule, sizes = Rule.read(lesion_rule), sizes_of(lesion_sizes)
    if time_axis not in range(4):
        raise ConfigError(f"time_axis {time_axis}: arrays of frames have the axes 0 to 3")
    predicted, expected = predictions_side(predictions, time_axis), references_side(labels, time_axis)
    pairs, unpredicted = pair(predicted, expected)
    notes = [*expected.notes, *unpredicted]
    aligned = [align(p, r, spacing, sections) for p, r in pairs]
    aligned, names, decided = settle_coding(
        aligned, list(class_names or expected.class_names or predicted.class_names)
    )
    notes += decided
    unmeasured = {*not_evaluated, *(c for _, r in aligned if r.case for c in r.case.not_evaluated)}
    notes += _notes_of(unmeasured, names)
    settled = settle_regions(expected.regions if regions is None else regions, names)
    notes += notes_of(settled, names)
    measured = {name: [c] for c, name in enumerate(names) if c and c not in unmeasured}
    masks = measured | settled
    called_so = named_lesions(masks)
    with_lesions, of_lesions = bool(called_so) if lesions is None else lesions, called_so or list(masks)
    named, in_mm = membrane_class(names), all(r.volume.spacing_known for _, r in aligned)
    membrane = next(((c, names[c]) for c in (named or 1,) if c < len(names) and c not in unmeasured), None)
    if with_lesions:
        further += [*lesion_metrics(rule), *choose(VOXEL_AVERAGES)]
    chosen, left_out = _allowed(asked, further, in_mm, several=len(names) > 2, membrane=named is not None)
    notes += left_out
    if limit and limit.metric not in (by_case := [m.id for m in chosen if m.takes != "classes"]):
        raise ConfigError(f"failures by {limit.metric}: it is not among {', '.join(by_case)}")
    if any(r.volume.time_axis is not None for _, r in aligned):
        notes.append("a cine's value is the mean over its labelled frames")
    if with_lesions:
        with_lesions, sizes, left_out = _countable([r for _, r in aligned], sizes)
        notes += left_out
    roles = _roles(names, unmeasured, [r for _, r in aligned], sections, clinical)
    pooled = [m.id for m in chosen if m.takes == "classes"]
    rows, counts, hearts, tallies = [], {}, [], {}
    for prediction, reference in aligned:
        values, confusion = [], Confusion(len(names))
        for number, p, r in frames_of(prediction, reference):
            found, known = _decoded(p, r, names, unmeasured)
            values.append(values_of(p, r, found, known, chosen, masks, of_lesions, membrane))
            if pooled:
                confusion.add(found, known)
            if roles and (known != IGNORE).any():
                hearts.append(count_frame(r, number, found, known, roles))
            if with_lesions:
                of = {name: (inside(masks[name], found), inside(masks[name], known)) for name in of_lesions}
                tallies[reference.id] = tally_classes(of, r.volume.spacing, rule, sizes)
        rows += [
            Row(reference.id, name, metric.id, mean_of(v[key] for v in values), metric.unit, name not in names)
            for metric in chosen
            for name in masks
            if (key := (metric.id, name)) in values[0]
        ]
        if pooled:
            counts[reference.id] = confusion.counts
    cardiac, told = _clinical(hearts, clinical)
    notes += told
    tags = {r.id: list(r.case.tags) for _, r in aligned if r.case and r.case.tags}
    whole = Pooled(pooled, names, counts, settled, sorted(unmeasured)) if pooled else None
    counted = Lesions(rule, sizes, tallies) if with_lesions else None
    return Evaluation(rows, notes, tags, limit, settled, whole, cardiac, counted)


def _allowed(
    asked: list[Metric] | None, further: list[Metric], in_mm: bool, *, several: bool, membrane: bool
) -> tuple[list[Metric], list[str]]:
    """The metrics that were asked for, or all that the inputs allow and further ones, with notes of what was not."""
    if asked is not None:
        if needing := [m.id for m in asked if m.needs_mm and not in_mm]:
            raise ConfigError(f"{', '.join(needing)} need a spacing and the files carry none: pass --spacing")
        return asked, []
    kinds = {"class": True, "classes": several, "membrane": membrane}
    wanted = {m.id: m for m in METRICS.values() if kinds.get(m.takes) and not m.same_as} | {m.id: m for m in further}
    listed = [id for id in METRICS if id in wanted]
    allowed = [wanted[id] for id in (*listed, *(id for id in wanted if id not in listed))]
    if in_mm:
        return allowed, []
    left_out = ", ".join(m.id for m in allowed if m.needs_mm)
    note = f"{left_out} left out: the files carry no spacing; pass --spacing to get them"
    return [m for m in allowed if not m.needs_mm], [note]


def _notes_of(unmeasured: Collection[int], names: Sequence[str]) -> list[str]:
    for c in sorted(unmeasured):
        if not 0 < c < len(names):
            known = ", ".join(f"{k} {name}" for k, name in enumerate(names) if k)
            raise ConfigError(f"class {c} cannot be left out of the evaluation: foreground classes are {known}")
    return [f"{names[c]} is not evaluated: voxels with this reference count nowhere" for c in sorted(unmeasured)]


def _decoded(
    prediction: Labelled, reference: Labelled, names: Sequence[str], unmeasured: Collection[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Classes of both sides, 255 on both where the reference is not measured."""
    found, expected = classes_of(prediction), classes_of(reference)
    expected[np.isin(expected, list(unmeasured))] = IGNORE
    found[expected == IGNORE] = IGNORE
    highest = int(max(found[found != IGNORE].max(initial=0), expected[expected != IGNORE].max(initial=0)))
    if highest >= len(names):
        raise DataError(
            f"case {reference.id}: class {highest} occurs in {prediction.volume.path} or {reference.volume.path}, "
            f"known are {', '.join(f'{c} {name}' for c, name in enumerate(names))}"
        )
    return found, expected


def _countable(references: Sequence[Labelled], sizes: dict[str, Size]) -> tuple[bool, dict[str, Size], list[str]]:
    """Whether lesions can be counted, the sizes that can be told apart, and notes of what cannot be had."""
    if any(r.volume.time_axis is not None for r in references):
        return False, {}, ["no number or load of lesions: a film has no one number of them"]
    left_out = "lesion load in ml and lesions by size left out"
    if not all(r.volume.spacing_known for r in references):
        return True, {}, [f"{left_out}: the files carry no spacing; pass --spacing to get them"]
    if any(r.volume.slice_axis is None for r in references):
        return True, {}, [f"{left_out}: lesions of a 2-D image have no volume"]
    return True, sizes, []


def _roles(
    names: Sequence[str],
    unmeasured: Collection[int],
    references: Sequence[Labelled],
    sections: str | None,
    clinical: bool | None,
) -> dict[str, int]:
    """Role → class of hearts that are to be measured; empty where that is not wanted, or cannot be and need not."""
    if clinical is False:
        return {}
    try:
        return measurable(names, unmeasured, references, sections)
    except RecursegError:
        if clinical:
            raise
        return {}


def _clinical(hearts: Sequence[Frame], clinical: bool | None) -> tuple[Cardiac | None, list[str]]:
    try:
        return measure_hearts(hearts, required=bool(clinical))
    except DataError as error:
        if clinical:
            raise
        return None, [f"no clinical numbers: {error}"]
