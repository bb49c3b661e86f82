"""nnU-Net's raw data: `imagesTr/X_0000.nii.gz` (channel by number), `labelsTr/X.nii.gz`, `dataset.json`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from recurseg.data.case import IGNORE
from recurseg.data.layouts.files import As, patient_of, refuse_as, stem, volume_files
from recurseg.data.manifest import CaseEntry, DatasetManifest, Files, relative_path
from recurseg.errors import DataError

EXPECTS = "imagesTr/X_0000.nii.gz and labelsTr/X.nii.gz (nnU-Net)"


def recognise(root: Path, as_: As | None) -> DatasetManifest | None:
    """Recognises the training part; names of channels and classes come from `dataset.json` where it is there."""
    images, labels = root / "imagesTr", root / "labelsTr"
    if not (images.is_dir() and labels.is_dir()):
        return None
    refuse_as(as_, root)
    cases = channels(images)
    if not cases:
        raise DataError(f"{images}: no image files")
    by_name = {stem(path): path for path in volume_files(labels)}
    for name, path in by_name.items():
        if name not in cases:
            raise DataError(f"label without an image: {path}, nothing in {images} is called {name}")
    document = _document(root / "dataset.json")
    numbers = sorted({number for files in cases.values() for number in files}, key=int)
    given = document.get("channel_names") or document.get("modality") or {}
    modality = {n: str(given.get(str(int(n)), f"channel {int(n)}" if len(numbers) > 1 else "image")) for n in numbers}
    classes, label_map, notes = _classes(document)
    if (root / "imagesTs").is_dir():
        notes.append("imagesTs is left aside: it has no labels")
    found = []
    for name, files in cases.items():
        own: dict[str, Files] = {modality[n]: relative_path(path, root) for n, path in files.items()}
        label = relative_path(by_name[name], root) if name in by_name else None
        found.append(CaseEntry(id=name, patient=patient_of(name), images=own, label=label))
    return DatasetManifest(
        name=str(document.get("name") or root.name),
        layout="nnunet",
        modalities=list(modality.values()),
        classes=classes,
        label_map=label_map,
        cases=found,
        notes=notes,
    )


def channels(folder: Path) -> dict[str, dict[str, Path]]:
    """Case → channel number → file, for files named `X_0000`, `X_0001`; files without a number are channel 0000."""
    cases: dict[str, dict[str, Path]] = {}
    for path in volume_files(folder):
        match = re.fullmatch(r"(.+)_(\d{4})", stem(path))
        name, number = (match[1], match[2]) if match else (stem(path), "0000")
        cases.setdefault(name, {})[number] = path
    return cases


def _document(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a JSON file: {error}") from None
    if not isinstance(document, dict):
        raise DataError(f"{path}: not nnU-Net's dataset.json")
    return document


def _classes(document: dict[str, Any]) -> tuple[dict[int, str], dict[int, int], list[str]]:
    """Class → name and file value → class from either version of dataset.json; none where it cannot say."""
    classes: dict[int, str] = {}
    ignored: int | None = None
    for key, value in (document.get("labels") or {}).items():
        name, number = (value, key) if str(key).isdecimal() else (key, value)
        if not str(number).isdecimal():
            return {}, {}, ["dataset.json defines overlapping regions: classes are taken from the label files"]
        if name == "ignore":
            ignored = int(number)
        else:
            classes[int(number)] = str(name)
    if sorted(classes) != list(range(len(classes))):
        return {}, {}, ["labels of dataset.json have gaps: classes are taken from the label files"]
    if ignored is None:
        return dict(sorted(classes.items())), {}, []
    label_map = {**{number: number for number in sorted(classes)}, ignored: IGNORE}
    return dict(sorted(classes.items())), label_map, [f"label value {ignored} is ignored in losses and metrics"]
