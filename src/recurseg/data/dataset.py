"""Opening a data set: a folder or a `dataset.yaml` becomes a list of cases that are known to fit together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from recurseg.data import layouts
from recurseg.data.case import IGNORE, Case
from recurseg.data.case_files import open_case
from recurseg.data.dataset_notes import missing_modalities, notes_of_readers
from recurseg.data.formats import DEFAULT_MAX_BYTES
from recurseg.data.formats.hdf5 import split_address
from recurseg.data.formats.zarr import is_store
from recurseg.data.grid import grid_problem
from recurseg.data.labels import class_labels, complete_map, count_values, infer_classes
from recurseg.data.layouts.files import As, natural
from recurseg.data.manifest import MANIFEST_NAME, CaseEntry, DatasetManifest, read_manifest
from recurseg.data.slabs import slabs
from recurseg.errors import ConfigError, DataError

OnError = Literal["raise", "collect"]
Progress = Callable[[int, int, str], None]
"""Called with items done, items in all, and the name of the case at hand."""


@dataclass(frozen=True)
class Failure:
    """A case that cannot be used, and why; `case` is empty where the whole data set is meant."""

    case: str
    message: str


@dataclass(frozen=True)
class Dataset:
    """Cases and what is known about them together.

    Attributes:
        root: Folder that the manifest's paths start from.
        manifest: The data set as data; `classes` and `label_map` filled in where labels were looked into.
        cases: The usable cases.
        notes: What was decided while reading.
        failures: What is not usable; empty unless errors were collected.
        label_values: Case id → file value → voxels, for the labels that were counted while opening.
    """

    root: Path
    manifest: DatasetManifest
    cases: list[Case]
    notes: list[str]
    failures: list[Failure] = field(default_factory=list)
    label_values: Mapping[str, Mapping[int, int]] = field(default_factory=dict)

    @property
    def class_names(self) -> list[str]:
        """Class names, index = class; empty without labels."""
        return [self.manifest.classes[index] for index in range(len(self.manifest.classes))]

    @property
    def to_learn_from(self) -> list[Case]:
        """The cases without those that are there for prediction only."""
        aside = {entry.id for entry in self.manifest.cases if entry.for_prediction}
        return [case for case in self.cases if case.id not in aside]

    @property
    def classifies(self) -> bool:
        """Whether cases have a class as a whole (`Case.target`) where others have label files."""
        cases = self.to_learn_from
        return any(case.target is not None for case in cases) and all(case.label is None for case in cases)

    @property
    def modalities(self) -> list[str]:
        """Modalities in the order of the input channels."""
        return list(self.manifest.modalities)

    @property
    def regions(self) -> dict[str, list[int]]:
        """Name → classes that are measured together as one mask."""
        return dict(self.manifest.regions)


def open_dataset(
    path: Path | str,
    *,
    as_: As | None = None,
    max_bytes: int = DEFAULT_MAX_BYTES,
    with_labels: bool = True,
    on_error: OnError = "raise",
    progress: Progress | None = None,
) -> Dataset:
    """Opens a data set; reads headers, and label files only where nothing else says what their values mean.

    Args:
        path: A folder with a known layout or a `dataset.yaml` in it, such a file itself, or one image file.
        as_: How to take a folder of 2-D files: one "stack", separate "images", or frames of a "sequence"; None
            decides by their names.
        max_bytes: A file whose header claims more is refused; `max_case_bytes` of the manifest goes first.
        with_labels: False leaves label files alone, as prediction does.
        on_error: "raise" stops at the first case that is not usable, "collect" puts it under `failures`.
        progress: Called before every case with cases done, cases in all and the case's id.

    Returns:
        The data set; nothing of its images is in memory.

    Raises:
        DataError: Nothing there, no known layout, an unreadable file, grids that differ, two cases with one id,
            labels that are not labels, or no foreground in any of them. A modality that a case has no file for is no
            error but a note (see `require_complete`).
        ConfigError: A mistake in `dataset.yaml`, or `as_` where it has no meaning.
    """
    root, manifest = find_manifest(Path(path), as_)
    _refuse_repeated_ids(manifest, root)
    if not with_labels:
        manifest = manifest.model_copy(
            update={"cases": [entry.model_copy(update={"label": None}) for entry in manifest.cases]}
        )
    budget = manifest.max_case_bytes or max_bytes
    cases: list[Case] = []
    failures: list[Failure] = []
    counts: dict[str, dict[int, int]] = {}
    for number, entry in enumerate(manifest.cases):
        if progress:
            progress(number, len(manifest.cases), entry.id)
        try:
            case = open_case(manifest, entry, root, max_bytes=budget)
            if case.label is not None and not manifest.classes:
                counts[case.id] = count_values(case)
            problem = grid_problem(case)
            if problem:
                raise DataError(problem)
            cases.append(case)
        except DataError as error:
            message = str(error) if f"case {entry.id}" in str(error) else f"case {entry.id}: {error}"
            if on_error == "raise":
                raise DataError(message) from None
            failures.append(Failure(entry.id, message))
    notes = list(manifest.notes)
    if counts:
        try:
            manifest, decided = _name_classes(manifest, counts, root)
            notes += decided
        except DataError as error:
            if on_error == "raise":
                raise
            failures.append(Failure("", str(error)))
    if manifest.classes:
        label_map = complete_map(manifest.label_map, len(manifest.classes))
        cases = [replace(case, label_map=label_map) for case in cases]
        if problem := _class_255(cases, label_map):
            if on_error == "raise":
                raise DataError(problem)
            failures.append(Failure("", problem))
    notes += missing_modalities(cases) + notes_of_readers(cases)
    return Dataset(root, manifest, cases, notes, failures, counts)


def find_manifest(path: Path, as_: As | None = None) -> tuple[Path, DatasetManifest]:
    """The folder that a data set's paths start from, and its manifest, read or recognised.

    Raises:
        DataError: Nothing there, or no known layout.
        ConfigError: A mistake in `dataset.yaml`, or `as_` beside one.
    """
    path = path.expanduser().absolute()
    if is_store(path):
        return path.parent, layouts.single_file(path)
    written = path / MANIFEST_NAME if path.is_dir() else path
    if written.suffix in (".yaml", ".yml") and written.is_file():
        if as_ is not None:
            raise ConfigError(f"{written}: says itself what its files are; '--as {as_}' cannot change it")
        return written.parent, read_manifest(written)
    if path.is_dir():
        return path, layouts.recognise(path.resolve() if not path.name else path, as_)
    file, _ = split_address(path)
    if file.is_file():
        return file.parent, layouts.single_file(path)
    raise DataError(f"{path}: no such file or folder")


def require_labels(dataset: Dataset) -> None:
    """Makes sure that every case has a label file, or in a data set for classification a class.

    Args:
        dataset: Its cases that are there for prediction are left aside.

    Raises:
        DataError: An image without its label or class, or no case at all.
    """
    cases, classifies = dataset.to_learn_from, dataset.classifies
    if not cases:
        raise DataError(f"{dataset.root}: no usable case")
    for case in cases:
        if classifies and case.target is None:
            raise DataError(
                f"case {case.id}: image without its class ({case.reference.path}): "
                "add its target or leave the case out in the dataset.yaml"
            )
        if not classifies and case.label is None:
            raise DataError(
                f"case {case.id}: image without its label ({case.reference.path}): "
                "add the label or leave the case out in a dataset.yaml"
            )


def require_complete(dataset: Dataset, model: str = "the model") -> None:
    """Makes sure that every case has an image of every modality.

    Args:
        dataset: Its cases that are there for prediction are left aside.
        model: What needs them, for the message.

    Raises:
        DataError: A modality is missing.
    """
    for case in dataset.to_learn_from:
        if case.missing:
            raise DataError(
                f"case {case.id}: no file for modality {case.missing[0]}: {model} needs every modality: "
                "add the file, or leave the case or the modality out in a dataset.yaml"
            )


def require_trainable(dataset: Dataset) -> None:
    """Makes sure that a data set can be trained on, reading labels until the first foreground voxel.

    Raises:
        DataError: An image without its label, a label value that nobody explained, or no foreground anywhere; for
            classification, an image without its class, or a single class for all of them.
    """
    require_labels(dataset)
    if dataset.classifies:
        targets = {case.target for case in dataset.to_learn_from if case.target is not None}
        if len(targets) == 1:
            name = dataset.class_names[targets.pop()]
            raise DataError(f"{dataset.root}: every case is of class {name}: add cases of another class")
        return
    for case in dataset.to_learn_from:
        assert case.label is not None
        for slab in slabs(case.label):
            classes = class_labels(case, slab)
            if ((classes > 0) & (classes != IGNORE)).any():
                return
    raise DataError(f"{dataset.root}: no case has any foreground: every label holds only {dataset.class_names[0]}")


def _refuse_repeated_ids(manifest: DatasetManifest, root: Path) -> None:
    seen: dict[str, CaseEntry] = {}
    for entry in manifest.cases:
        other = seen.setdefault(entry.id, entry)
        if other is not entry:
            raise DataError(
                f"{root}: two cases have the id {entry.id}: {_first_file(other)} and {_first_file(entry)}"
            )


def _first_file(entry: CaseEntry) -> str:
    files = next(iter(entry.images.values()))
    return files[0] if isinstance(files, list) else files


def _class_255(cases: list[Case], label_map: Mapping[int, int]) -> str | None:
    """Says, in one line, where 255 is a class and also fills the frames without a label."""
    case = next((case for case in cases if case.label and case.label.given_frames is not None), None)
    if case is None or label_map[IGNORE] == IGNORE:
        return None
    return (
        f"case {case.id}: label value 255 is class {label_map[IGNORE]}, yet 255 marks frames without a label: "
        "write the label files with other values"
    )


def _name_classes(
    manifest: DatasetManifest, counts: Mapping[str, Mapping[int, int]], root: Path
) -> tuple[DatasetManifest, list[str]]:
    """The manifest with the classes that its label files show."""
    if manifest.label_map:
        last = max((target for target in manifest.label_map.values() if target != IGNORE), default=1)
        names = {index: f"class {index}" if index else "background" for index in range(last + 1)}
        return manifest.model_copy(update={"classes": names}), []
    try:
        found = infer_classes({value for own in counts.values() for value in own})
    except DataError as error:
        raise DataError(f"{root}: {error}") from None
    update = {"classes": dict(enumerate(found.names)), "label_map": found.values}
    healthy = sorted((case for case, own in counts.items() if not set(own) - {0}), key=natural)
    notes = [f"case {case} has no foreground (healthy)" for case in healthy[:5]]
    if len(healthy) > 5:
        notes.append(f"and {len(healthy) - 5} more cases have no foreground")
    return manifest.model_copy(update=update), [*found.notes, *notes]
