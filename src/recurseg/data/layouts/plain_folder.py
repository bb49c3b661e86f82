"""A folder of images, or one file: with labels beside them (`X.png`, `X_mask.png`) or, for prediction, without."""

from __future__ import annotations

from pathlib import Path

from recurseg.data.formats import format_of
from recurseg.data.formats.hdf5 import datasets_in, split_address
from recurseg.data.formats.zarr import label_within
from recurseg.data.layouts.files import IMAGE_WORD, LABEL_WORD, As, Grouped, group, pair_key, patient_of, stem
from recurseg.data.layouts.nnunet import channels
from recurseg.data.manifest import CaseEntry, DatasetManifest, Files, relative_path
from recurseg.errors import DataError

EXPECTS = "a folder of images, or of images and labels named X and X_mask"


def recognise(root: Path, as_: As | None) -> DatasetManifest | None:
    """Recognises a folder that holds image files, numbered sections, DICOM series or folders of them."""
    if as_ is None and (numbered := _numbered_channels(root)):
        return numbered
    grouped = group(root, as_)
    if not grouped.files:
        return None
    if as_ is None and "" not in grouped.files and (pairs := _beside(root, grouped)):
        return pairs
    cases = []
    for key, files in grouped.files.items():
        name = key if isinstance(files, list) else stem(Path(files))
        name = name if key else root.name
        relative = [relative_path(Path(f), root) for f in files] if isinstance(files, list) else _one(files, root)
        label = _within(files, root) if isinstance(files, str) else None
        cases.append(CaseEntry(id=name, patient=patient_of(name), images={"image": relative}, label=label))
    labelled = any(case.label for case in cases)
    notes = [
        *grouped.notes,
        "labels are those inside the files" if labelled else "no labels: for prediction only",
    ]
    return DatasetManifest(name=root.name, layout="plain_folder", modalities=["image"], cases=cases, notes=notes)


def single_file(path: Path) -> DatasetManifest:
    """A data set of one case without a label: a file, or a dataset of an HDF5 file.

    Raises:
        DataError: An HDF5 file of several datasets, none of them called image: any could be a label.
    """
    file, dataset = split_address(path)
    if not dataset and format_of(file) == "hdf5" and len(held := datasets_in(file)) > 1 and "image" not in held:
        raise DataError(f"{file}: which dataset is the image, of {', '.join(held)}: name it as {file.name}:name")
    case = CaseEntry(id=stem(file), images={"image": f"{file.name}:{dataset}" if dataset else file.name})
    return DatasetManifest(name=case.id, layout="single_file", modalities=["image"], cases=[case])


def _one(files: str, root: Path) -> Files:
    return relative_path(Path(files), root)


def _within(file: str, root: Path) -> str | None:
    """The label that an HDF5 file or a Zarr store holds beside its image."""
    if format_of(file) == "zarr":
        label = label_within(Path(file))
        return None if label is None else relative_path(label, root)
    if format_of(file) != "hdf5" or not {"image", "label"} <= set(datasets_in(Path(file))):
        return None
    return f"{relative_path(Path(file), root)}:label"


def _beside(root: Path, grouped: Grouped) -> DatasetManifest | None:
    """Images and labels in one folder, told apart by a word in the name."""
    paths = [Path(files) for files in grouped.files.values() if isinstance(files, str)]
    labels = {p: pair_key(stem(p), LABEL_WORD) for p in paths if pair_key(stem(p), LABEL_WORD) != stem(p)}
    images: dict[str, Path] = {}
    for path in paths:
        if path not in labels:
            images[pair_key(stem(path), IMAGE_WORD)] = path
    if not set(labels.values()) & set(images):
        return None
    by_name: dict[str, Path] = {}
    for path, name in labels.items():
        if name not in images:
            raise DataError(f"label without an image: {path}, nothing beside it is called {name}")
        if name in by_name:
            raise DataError(f"two labels for one image: {by_name[name]} and {path}")
        by_name[name] = path
    cases = [
        CaseEntry(
            id=name or root.name,
            patient=patient_of(name or root.name),
            images={"image": relative_path(path, root)},
            label=relative_path(by_name[name], root) if name in by_name else None,
        )
        for name, path in images.items()
    ]
    note = "labels are the files beside the images with _seg, _mask, ... in their names"
    return DatasetManifest(name=root.name, layout="plain_folder", modalities=["image"], cases=cases, notes=[note])


def _numbered_channels(root: Path) -> DatasetManifest | None:
    """Volumes named `X_0000`, `X_0001`, every case with the same channels, as nnU-Net wants them for prediction."""
    cases = channels(root)
    sets = {frozenset(files) for files in cases.values()}
    if len(sets) != 1:
        return None
    numbers = sorted(next(iter(sets)))
    files = [path for own in cases.values() for path in own.values()]
    if numbers != [f"{n:04d}" for n in range(len(numbers))] or not all(stem(p)[-5:-4] == "_" for p in files):
        return None
    if not all(stem(path).endswith(tuple(numbers)) for path in files) or not files[0].name.endswith(
        (".nii", ".nii.gz")
    ):
        return None
    names = {n: f"channel {int(n)}" if len(numbers) > 1 else "image" for n in numbers}
    entries = []
    for name, own in cases.items():
        images: dict[str, Files] = {names[n]: relative_path(own[n], root) for n in numbers}
        entries.append(CaseEntry(id=name, patient=patient_of(name), images=images))
    return DatasetManifest(
        name=root.name,
        layout="plain_folder",
        modalities=list(names.values()),
        cases=entries,
        notes=["files X_0000, X_0001, ... are the channels of case X", "no labels: for prediction only"],
    )
