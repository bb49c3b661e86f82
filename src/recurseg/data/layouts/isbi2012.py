"""ISBI 2012 membranes: 4 x 4 x 50 nm sections of fly nerve cord, as TIFF volumes or as folders of sections."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from recurseg.data.formats import open_volume
from recurseg.data.layouts import paired_folders
from recurseg.data.layouts.files import As, group, is_stack_folder, refuse_as, volume_files
from recurseg.data.manifest import CaseEntry, DatasetManifest, Files, relative_path, relocate

SPACING = (50e-6, 4e-6, 4e-6)
"""Millimetres: sections 50 nm thick, pixels of 4 nm."""

_IMAGES, _LABELS = ("imgs", "images", "image"), ("labels", "label")


def recognise(root: Path, as_: As | None) -> DatasetManifest | None:
    """Recognises the stack by its labels, 0 for membrane (the positive class) and 255 for cell, in three forms.

    As it is distributed: `train-volume.tif`, `train-labels.tif`, `test-volume.tif`. In a folder called isbi2012...:
    sections in `train/imgs`, `train/labels` and `test/imgs` or `test`, or in `image` and `label`. What is there for
    the test has no label and is for prediction.
    """
    manifest = _volumes(root, as_) or _sections(root, as_)
    if manifest is None:
        return None
    manifest.modalities = ["EM"]
    manifest.classes = {0: "cell", 1: "membrane"}
    manifest.label_map = {255: 0, 0: 1}
    manifest.spacing = SPACING[1:] if as_ == "images" else SPACING
    manifest.notes.append("label 0 is membrane (class 1), 255 is cell (class 0); voxels are 4 x 4 x 50 nm")
    return manifest


def _volumes(root: Path, as_: As | None) -> DatasetManifest | None:
    train, labels, test = (_tiff(root, name) for name in ("train-volume", "train-labels", "test-volume"))
    if train is None or labels is None or not _is_membrane(labels):
        return None
    refuse_as(as_, root)
    cases = [CaseEntry(id="train", images={"EM": train.name}, label=labels.name)]
    if test is not None:
        cases.append(CaseEntry(id="test", images={"EM": test.name}, for_prediction=True))
    return DatasetManifest(name=root.name, layout="isbi2012", modalities=["EM"], cases=cases)


def _sections(root: Path, as_: As | None) -> DatasetManifest | None:
    if not re.sub(r"[^a-z0-9]", "", root.name.lower()).startswith("isbi2012"):
        return None
    for base in (root, root / "train"):
        images, labels = _folder(base, _IMAGES), _folder(base, _LABELS)
        if images and labels and is_stack_folder(images) and is_stack_folder(labels):
            break
    else:
        return None
    if not _is_membrane(volume_files(labels)[0]):
        return None
    manifest = paired_folders.recognise(base, as_)
    assert manifest is not None
    manifest = relocate(manifest, base, root)
    manifest.name = root.name
    manifest.layout = "isbi2012_em" if base == root else "isbi2012"
    for case in manifest.cases:
        case.images = {"EM": case.images["image"]}
    manifest.cases.extend(_test_cases(root, as_))
    return manifest


def _test_cases(root: Path, as_: As | None) -> list[CaseEntry]:
    test = _folder(root / "test", _IMAGES) or root / "test"
    if not test.is_dir() or not is_stack_folder(test):
        return []
    cases = []
    for name, files in group(test, as_).files.items():
        own: Files = (
            [relative_path(Path(f), root) for f in files]
            if isinstance(files, list)
            else relative_path(Path(files), root)
        )
        id = f"test_{Path(name).stem}" if name else "test"
        cases.append(CaseEntry(id=id, images={"EM": own}, for_prediction=True))
    return cases


def _folder(base: Path, names: tuple[str, ...]) -> Path | None:
    return next((base / name for name in names if (base / name).is_dir()), None)


def _tiff(root: Path, name: str) -> Path | None:
    return next((path for suffix in (".tif", ".tiff") if (path := root / f"{name}{suffix}").is_file()), None)


def _is_membrane(label: Path) -> bool:
    array = open_volume(label).array
    first = array[0] if len(array.shape) == 3 else array[...]
    return set(np.unique(first).tolist()) <= {0, 255}
