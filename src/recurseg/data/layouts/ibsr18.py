"""IBSR18: T1 brains as `IBSR_NN/IBSR_NN.nii.gz`, tissue as `IBSR_NN/IBSR_NN_seg.nii.gz`."""

from __future__ import annotations

import re
from pathlib import Path

from recurseg.data.layouts.files import As, folders, refuse_as
from recurseg.data.manifest import CaseEntry, DatasetManifest, relative_path
from recurseg.errors import DataError


def recognise(root: Path, as_: As | None) -> DatasetManifest | None:
    """Recognises the folder of patients, or one patient's folder."""
    found = [folder for folder in (folders(root) or [root]) if re.fullmatch(r"IBSR_\d+", folder.name)]
    if not any(_image(folder) for folder in found):
        return None
    refuse_as(as_, root)
    cases = []
    for folder in found:
        image, label = _image(folder), _label(folder)
        if image is None:
            raise DataError(f"case {folder.name}: label without an image, no {folder.name}.nii.gz in {folder}")
        cases.append(
            CaseEntry(
                id=folder.name,
                patient=folder.name,
                images={"T1": relative_path(image, root)},
                label=relative_path(label, root) if label else None,
            )
        )
    return DatasetManifest(
        name=root.name,
        layout="ibsr18",
        modalities=["T1"],
        classes={0: "background", 1: "CSF", 2: "GM", 3: "WM"},
        cases=cases,
    )


def _image(folder: Path) -> Path | None:
    return _first(folder, folder.name)


def _label(folder: Path) -> Path | None:
    return _first(folder, f"{folder.name}_seg")


def _first(folder: Path, name: str) -> Path | None:
    return next((p for suffix in (".nii.gz", ".nii") if (p := folder / f"{name}{suffix}").is_file()), None)
