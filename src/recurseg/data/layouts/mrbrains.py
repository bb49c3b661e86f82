"""MRBrainS: brain tissue on T1, T1 inversion recovery and FLAIR, a folder a patient, as in 2013 and in 2018.

2013: `TrainingData/1/T1.nii`, `T1_IR.nii`, `T2_FLAIR.nii`, `LabelsForTraining.nii`; `TestData/1/...` without labels.
2018: `training/1/segm.nii.gz`, and in `training/1/pre/` `reg_T1.nii.gz` (or `T1`), `reg_IR.nii.gz` (or `IR`) and
`FLAIR.nii.gz`.
"""

from __future__ import annotations

import re
from pathlib import Path

from recurseg.data.case import IGNORE
from recurseg.data.layouts.files import As, folders, modalities_of, refuse_as, stem, volume_files
from recurseg.data.manifest import CaseEntry, DatasetManifest, Files, relative_path
from recurseg.errors import DataError

MODALITIES = {"T1": ("T1", "reg_T1"), "T1_IR": ("T1_IR", "reg_IR", "IR"), "FLAIR": ("T2_FLAIR", "FLAIR")}
"""Modality → what its file is called."""

EIGHT = {0: 0, 1: 2, 2: 2, 3: 3, 4: 3, 5: 1, 6: 1, 7: 4, 8: 4}
"""Labels → classes: cortical and deep grey matter, white matter and its lesions, CSF outside and in the ventricles,
cerebellum and brain stem."""
TISSUES = {0: "background", 1: "CSF", 2: "GM", 3: "WM"}
REST = 4
_LABELS = ("LabelsForTraining", "segm", "LabelsForTesting")
_NAMES = {*_LABELS, *(name for names in MODALITIES.values() for name in names)}


def recognise(root: Path, as_: As | None) -> DatasetManifest | None:
    """Recognises the folders of patients, alone or in folders for training and test, or one patient's folder."""
    inside = folders(root)
    sides = [sub for word in ("train", "test") for sub in inside if re.match(word, sub.name, re.IGNORECASE)]
    found = {folder: _files(folder) for folder in [root, *inside, *(f for side in sides for f in folders(side))]}
    if not any(_is_patient(files) for files in found.values()):
        return None
    if _is_patient(found[root]):
        found = {root: found[root]}
    patients = {folder: files for folder, files in found.items() if _NAMES & set(files)}
    refuse_as(as_, root)
    label = next((name for name in _LABELS if any(name in files for files in patients.values())), None)
    cases = [_case(folder, files, label, root) for folder, files in patients.items()]
    modalities, notes = modalities_of(cases, list(MODALITIES))
    manifest = DatasetManifest(
        name=root.name, layout="mrbrains", modalities=modalities, classes=dict(TISSUES), cases=cases, notes=notes
    )
    if label in ("LabelsForTraining", "segm"):
        others = {9: IGNORE, 10: IGNORE} if label == "segm" else {}
        manifest.classes[REST] = "cerebellum and brain stem"
        manifest.label_map = EIGHT | others
        manifest.not_evaluated = [REST]
        manifest.notes.append("eight labels are grouped to CSF, GM, WM and, not evaluated, cerebellum and brain stem")
        if others:
            manifest.notes.append("labels 9 (infarct) and 10 (other) are ignored in losses and metrics")
    elif label is not None:
        manifest.notes.append("only LabelsForTesting is there: cerebellum and brain stem are background in it")
    return manifest


def _files(folder: Path) -> dict[str, Path]:
    """Name without suffix → file, of the folder and of what was preprocessed in it."""
    own = {stem(path): path for path in volume_files(folder)}
    pre = folder / "pre"
    return {**({stem(path): path for path in volume_files(pre)} if pre.is_dir() else {}), **own}


def _is_patient(files: dict[str, Path]) -> bool:
    return {"T1_IR", "T2_FLAIR"} <= set(files) or ("segm" in files and bool({"IR", "reg_IR"} & set(files)))


def _case(folder: Path, files: dict[str, Path], label: str | None, root: Path) -> CaseEntry:
    images: dict[str, Files] = {}
    for modality, names in MODALITIES.items():
        if path := next((files[name] for name in names if name in files), None):
            images[modality] = relative_path(path, root)
    if not images:
        raise DataError(f"case {folder.name}: label without an image in {folder}")
    tested = folder != root and re.match("test", folder.parent.name, re.IGNORECASE) is not None
    own = files.get(label or "")
    id = f"test_{folder.name}" if tested else folder.name
    return CaseEntry(
        id=id,
        patient=id,
        images=images,
        label=relative_path(own, root) if own else None,
        for_prediction=tested and own is None,
    )
