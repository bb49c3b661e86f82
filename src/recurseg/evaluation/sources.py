"""Where predictions and references come from: folders, files, data sets or arrays, each as a list of `Labelled`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recurseg.data.case import Case, Volume
from recurseg.data.manifest import MANIFEST_NAME
from recurseg.errors import DataError
from recurseg.evaluation.partition import membrane_class

if TYPE_CHECKING:
    from recurseg.data.dataset import Dataset

INDEX_NAME = "predictions.json"


@dataclass(frozen=True)
class Labelled:
    """One label map of one side, predicted or reference, in its file's own values.

    Attributes:
        id: The case it belongs to.
        volume: The label map; float values in 0..1 are the probability of class 1.
        label_map: File value → class; empty where nothing says so.
        probability: Map of the probability of membrane (class 1 where no class is called so), where it was saved.
        case: The data set's case of a reference, where there is one.
    """

    id: str
    volume: Volume
    label_map: Mapping[int, int] = field(default_factory=dict)
    probability: Volume | None = None
    case: Case | None = None


@dataclass(frozen=True)
class Side:
    """All label maps of one side; `whole` says that a partner for each of them is expected."""

    items: list[Labelled]
    class_names: list[str] = field(default_factory=list)
    whole: bool = True
    notes: list[str] = field(default_factory=list)
    regions: dict[str, list[int]] = field(default_factory=dict)


def predictions_side(source: Path | str | Mapping[str, np.ndarray], time_axis: int) -> Side:
    """Reads predictions: arrays by case, a folder that `recurseg predict` wrote, or plain label files.

    Args:
        source: Of them.
        time_axis: Axis of the frames of arrays with four axes.

    Raises:
        DataError: Where there is nothing to evaluate or a named file is missing.
    """
    if isinstance(source, Mapping):
        return Side([_from_array(id, array, time_axis) for id, array in source.items()])
    path = Path(source)
    index = path if path.name == INDEX_NAME else path / INDEX_NAME
    if index.is_file():
        return _indexed(index)
    return Side(_plain(path))


def references_side(source: Path | str | Dataset | Mapping[str, np.ndarray], time_axis: int) -> Side:
    """Reads references: arrays by case, a data set, or plain label files.

    Args:
        source: Of them.
        time_axis: Axis of the frames of arrays with four axes.

    Raises:
        DataError: Where there is no label.
    """
    if isinstance(source, Mapping):
        return Side([_from_array(id, array, time_axis) for id, array in source.items()])
    if isinstance(source, (str, Path)):
        path = Path(source)
        if not path.exists():
            raise DataError(f"{path}: does not exist: pass a data set, or a folder or file of labels")
        dataset = labelled_dataset(path)
        return Side(_plain(path)) if dataset is None else _from_dataset(dataset)
    return _from_dataset(source)


def labelled_dataset(path: Path) -> Dataset | None:
    """The data set at a path; None where its files are label files alone."""
    from recurseg.data.dataset import open_dataset

    if path.suffix in (".yaml", ".yml") or (path / MANIFEST_NAME).is_file() or not label_files(path):
        return open_dataset(path)
    try:
        dataset = open_dataset(path)
    except DataError:
        return None
    return dataset if any(case.label is not None for case in dataset.cases) else None


def _from_dataset(dataset: Dataset) -> Side:
    items = [
        Labelled(case.id, case.label, case.label_map, case=case) for case in dataset.cases if case.label is not None
    ]
    if not items:
        raise DataError(f"{dataset.root}: no case has a label: nothing to compare with")
    names, notes = list(dataset.class_names), list(dataset.notes)
    return Side(items, names, whole=False, notes=notes, regions=dataset.regions)


def _from_array(id: str, array: np.ndarray, time_axis: int) -> Labelled:
    array = np.asarray(array)
    if array.ndim not in (2, 3, 4):
        raise DataError(f"case {id}: an array of shape {array.shape} is no label map of 2 or 3 axes, or its frames")
    time = range(4)[time_axis] if array.ndim == 4 else None
    volume = Volume(
        array=array,
        spacing=(1.0,) * array.ndim,
        affine=None,
        path=Path(id),
        format="array",
        stack_axis=None if array.ndim == 2 else int(time == 0),
        spacing_known=False,
        time_axis=time,
    )
    return Labelled(id, volume)


def _indexed(index: Path) -> Side:
    from recurseg.data.formats import open_written
    from recurseg.evaluation.probabilities import class_probability

    try:
        document = json.loads(index.read_text(encoding="utf-8"))
        if document.get("task") == "regression":
            raise DataError(f"{index}: completed images, no labels: a run measures them itself, in metrics.json")
        label_map = {int(value): int(target) for value, target in (document.get("label_map") or {}).items()}
        class_names = list(document.get("class_names") or [])
        membrane = membrane_class(class_names) or 1
        items = []
        for id, entry in document["cases"].items():
            label, maps = open_written(index.parent / entry["label"]), entry.get("probabilities")
            probability = class_probability(index.parent / maps, label, membrane) if maps else None
            items.append(Labelled(id, label, label_map, probability))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{index}: not an index of predictions ({error}): write it with 'recurseg predict'") from None
    if not items:
        raise DataError(f"{index}: lists no predicted case")
    return Side(items, class_names)


def _plain(path: Path) -> list[Labelled]:
    """Label files without an index: one stack where file names are consecutive numbers, else one case a file."""
    from recurseg.data.formats import open_volume
    from recurseg.data.formats import stem_of as stem
    from recurseg.data.formats.zarr import is_store

    if path.is_file() or is_store(path):
        return [Labelled(stem(path), open_volume(path))]
    files = label_files(path)
    if not files:
        raise DataError(f"{path}: no label file in it: pass a folder or file of labels")
    if len(files) > 1 and _consecutive([stem(f) for f in files]):
        return [Labelled(path.resolve().name, open_volume(path))]
    return [Labelled(stem(file), open_volume(file)) for file in files]


def label_files(path: Path) -> list[Path]:
    from recurseg.data.formats import format_of
    from recurseg.data.formats.zarr import is_store

    if path.is_file() or is_store(path):
        return [path]
    if not path.is_dir():
        raise DataError(f"{path}: does not exist: pass a folder or file of label maps")
    return sorted(f for f in path.iterdir() if (f.is_file() or is_store(f)) and format_of(f) and f.name[0] != ".")


def _consecutive(stems: Sequence[str]) -> bool:
    if not all(re.fullmatch(r"\d+", s) for s in stems):
        return False
    numbers = sorted(map(int, stems))
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))
