"""Label files: which values they hold, and what class each value is."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from recurseg.data.case import IGNORE, Case
from recurseg.data.slabs import slabs
from recurseg.errors import DataError

MAX_VALUES = 255
"""A file with more distinct values than this is an image, not a label."""

_GREY_LEVELS = 64
"""255 beside smaller values than this means "ignore"; beside larger ones classes are grey levels and 255 is one."""
_TABLE = 2**16


@dataclass(frozen=True)
class ClassMap:
    """What label values mean.

    Attributes:
        names: Class names, index = class.
        values: File value → class; empty where values are classes.
        notes: What was decided.
    """

    names: list[str]
    values: dict[int, int]
    notes: list[str]


def class_labels(case: Case, array: Any = None) -> np.ndarray:
    """Turns label values into classes.

    Args:
        case: Its `label_map` says which file value is which class; empty means values are classes.
        array: Label values of any shape, for example a part of `case.label.array`; by default the whole label.

    Returns:
        int64 classes in the shape and axis order of `array`; 255 (`recurseg.data.case.IGNORE`) is ignored by losses
        and metrics.

    Raises:
        DataError: The case has no label, or holds a value that is not an integer or that nobody explained.
    """
    if case.label is None:
        raise DataError(f"case {case.id}: no label file")
    values = as_integers(case.label.array[...] if array is None else np.asarray(array), case)
    if values.size == 0:
        return values
    low, high = int(values.min()), int(values.max())
    mapping = case.label_map or {value: value for value in range(IGNORE + 1)}
    if low < 0 or high >= _TABLE:
        unknown = sorted(set(np.unique(values).tolist()) - set(mapping))
        if unknown:
            raise _unknown_value(unknown[0], case)
        classes = np.empty_like(values)
        for value, target in mapping.items():
            classes[values == value] = target
        return classes
    table = np.full(high + 1, -1, dtype=np.int64)
    for value, target in mapping.items():
        if 0 <= value <= high:
            table[value] = target
    classes = table[values]
    if classes.min() < 0:
        raise _unknown_value(int(values[classes < 0][0]), case)
    return classes


def as_integers(array: np.ndarray, case: Case) -> np.ndarray:
    """Label values as int64; floats are fine where they are whole numbers.

    Raises:
        DataError: A value is not a whole number.
    """
    if array.dtype.kind in "iub":
        return array.astype(np.int64)
    if array.dtype.kind != "f":
        raise DataError(f"case {case.id}: label {_file(case)} holds {array.dtype} values, not integers")
    whole = np.isfinite(array) & (array == np.rint(array))
    if not whole.all():
        odd = array[~whole].flat[0]
        raise DataError(
            f"case {case.id}: label {_file(case)} holds {odd:g}, labels are whole numbers: "
            "is this an image, or a label that was interpolated?"
        )
    return array.astype(np.int64)


def count_values(case: Case) -> dict[int, int]:
    """Counts the voxels of every value in a case's label files, slab by slab.

    Args:
        case: Must have a label; of a cine, the frames that have one are counted.

    Returns:
        File value → number of voxels, ascending.

    Raises:
        DataError: Not whole numbers, or more than 255 different values.
    """
    assert case.label is not None
    counts: dict[int, int] = {}
    parts = [case.label] if case.label.given_frames is None else map(case.label.frame, case.labelled_frames)
    for slab in itertools.chain.from_iterable(map(slabs, parts)):
        whole = as_integers(slab, case).ravel()
        if whole.min() >= 0 and whole.max() < _TABLE:
            binned = np.bincount(whole)
            values = np.flatnonzero(binned)
            numbers = binned[values]
        else:
            values, numbers = np.unique(whole, return_counts=True)
        for value, number in zip(values.tolist(), numbers.tolist(), strict=True):
            counts[value] = counts.get(value, 0) + number
        if len(counts) > MAX_VALUES:
            raise DataError(
                f"case {case.id}: label {_file(case)} has more than {MAX_VALUES} different values: "
                "it looks like an image; are images and labels swapped?"
            )
    return dict(sorted(counts.items()))


def infer_classes(values: set[int]) -> ClassMap:
    """Decides what label values mean where nobody said it.

    Args:
        values: Every value that occurs in the label files of a data set.

    Returns:
        0 is background; {0, 255} and any gap are closed to classes 0, 1, 2, ...; 255 beside small values is ignored.

    Raises:
        DataError: A negative value, too many values, or nothing but background.
    """
    if min(values) < 0:
        raise DataError(
            f"label value {min(values)} is negative: say which class it is under label_map in a dataset.yaml "
            f"('recurseg check DATA --write dataset.yaml' makes one; class {IGNORE} is ignored)"
        )
    foreground = sorted(values - {0})
    ignored = IGNORE in foreground and len(foreground) > 1 and foreground[-2] < _GREY_LEVELS
    if ignored:
        foreground.remove(IGNORE)
    if not foreground:
        raise DataError("no label has any foreground: every label file holds only background (0)")
    if len(foreground) >= MAX_VALUES:
        raise DataError(f"the label files hold {len(foreground)} different classes: they look like images")
    notes = [f"label value {IGNORE} is ignored in losses and metrics"] if ignored else []
    if foreground == [IGNORE]:
        return ClassMap(["background", "foreground"], {0: 0, IGNORE: 1}, ["labels are {0, 255}: 255 is class 1"])
    names = ["background"]
    names += ["foreground"] if len(foreground) == 1 else [f"label {value}" for value in foreground]
    if foreground == list(range(1, len(foreground) + 1)):
        return ClassMap(names, {}, notes)
    mapping = {0: 0, **{value: index for index, value in enumerate(foreground, start=1)}}
    said = ", ".join(f"{value} is class {index}" for value, index in mapping.items() if value)
    return ClassMap(names, mapping, [f"label values have gaps: {said}", *notes])


def complete_map(label_map: Mapping[int, int], classes: int) -> dict[int, int]:
    """The map with nothing left open: identity where empty, and 255 ignored unless it is a class.

    Args:
        label_map: As in the manifest.
        classes: Number of classes.
    """
    explicit = dict(label_map) or {index: index for index in range(classes)}
    return explicit if IGNORE in explicit else {**explicit, IGNORE: IGNORE}


def _unknown_value(value: int, case: Case) -> DataError:
    known = ", ".join(str(known) for known in sorted(case.label_map) if known != IGNORE) or "0 to 255"
    return DataError(
        f"case {case.id}: label {_file(case)} holds value {value}, known are {known}: "
        "mend the file or name the value under classes and label_map in dataset.yaml"
    )


def _file(case: Case) -> str:
    return str(case.label.path) if case.label is not None else ""
