"""What the values in predicted and reference files mean: the class of every voxel on both sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from recurseg.data.case import IGNORE, Case, Volume
from recurseg.data.labels import class_labels, complete_map, count_values, infer_classes
from recurseg.evaluation.sources import Labelled

Pair = tuple[Labelled, Labelled]
MASK = {0: 0, IGNORE: 1}


def settle_coding(pairs: Sequence[Pair], class_names: Sequence[str]) -> tuple[list[Pair], list[str], list[str]]:
    """Gives both sides of every pair a label map.

    What predictions.json or the data set says holds. A side that says nothing takes the other side's coding where
    its values fit; else values that have a name are classes, {0, 255} is a mask, and other values are classes in
    ascending order.

    Args:
        pairs: (prediction, reference).
        class_names: Names by class, as far as known.

    Returns:
        The pairs with label maps, class names, and notes of what was decided.
    """
    predicted = _values([p for p, _ in pairs if not p.label_map])
    expected = _values([r for _, r in pairs if r.case is None])
    known = next((r for _, r in pairs if r.case is not None), None)
    stated = next((p for p, _ in pairs if p.label_map), None)
    notes: list[str] = []
    names = list(class_names)
    if known is not None:
        reference_map = None
        given = complete_map(known.label_map, max(len(names), 2))
    elif stated is not None:
        reference_map = given = complete_map(stated.label_map, max(len(names), 2))
    elif _named(expected | predicted, names) and (len(names) > 2 or expected != set(MASK)):
        reference_map = given = complete_map({}, len(names))
    else:
        reference_map = given = _inferred([expected, predicted], 0, notes, "reference")
    prediction_map: Mapping[int, int]
    if IGNORE in predicted and predicted <= set(MASK) and given.get(IGNORE, IGNORE) == IGNORE:
        prediction_map = MASK
        notes.append("predicted masks are {0, 255}: 255 is class 1")
    elif predicted <= set(given):
        prediction_map = given
    else:
        prediction_map = {}
        if known is not None or stated is not None:
            notes.append("predictions do not use the labels' coding: their values are taken as classes")
    settled = [
        (
            p if p.label_map else replace(p, label_map=prediction_map),
            r if r.case is not None or reference_map is None else replace(r, label_map=reference_map),
        )
        for p, r in pairs
    ]
    return settled, _complete_names(names, settled, predicted | expected), notes


def _named(values: set[int], names: Sequence[str]) -> bool:
    return bool(names) and values - {IGNORE} <= set(range(len(names)))


def _inferred(sides: list[set[int]], which: int, notes: list[str], name: str) -> dict[int, int]:
    own, union = sides[which], set().union(*sides)
    if own == {0, IGNORE}:
        notes.append(f"{name} masks are {{0, 255}}: 255 is class 1")
        return dict(MASK)
    others = union - {IGNORE} if sides[1 - which] == {0, IGNORE} and IGNORE not in own else union
    if others <= {0}:
        return {}
    found = infer_classes(others)
    notes.extend(note for note in found.notes if note not in notes)
    return complete_map(found.values, len(found.names))


def _complete_names(names: list[str], pairs: Sequence[Pair], values: set[int]) -> list[str]:
    if names:
        return names
    mapped = {c for pair in pairs for side in pair for c in side.label_map.values()}
    classes = (mapped or values) - {IGNORE}
    count = max(max(classes, default=1) + 1, 2)
    return ["background", *("foreground" if count == 2 else f"class {c}" for c in range(1, count))]


def _values(items: Sequence[Labelled]) -> set[int]:
    found: set[int] = set()
    for item in items:
        if not is_probability(item.volume):
            found |= set(count_values(_as_case(item)))
    return found


def is_probability(volume: Volume) -> bool:
    """Whether a float map holds fractions between 0 and 1 rather than labels."""
    if np.dtype(volume.array.dtype).kind != "f":
        return False
    array = volume.array[...]
    return bool(array.size and array.min() >= 0 and array.max() <= 1 and (array != np.rint(array)).any())


def classes_of(item: Labelled) -> np.ndarray:
    """Reads a label map as classes (uint8 or int64), 255 where ignored; a probability is class 1 from 0.5 up."""
    if is_probability(item.volume):
        return (item.volume.array[...] >= 0.5).astype(np.uint8)
    return class_labels(_as_case(item))


def _as_case(item: Labelled) -> Case:
    return Case(item.id, {}, label=item.volume, label_map=item.label_map)
