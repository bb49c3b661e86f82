"""ISBI 2015 longitudinal challenge: lesions of multiple sclerosis, several time points a patient, two raters.

`training/training01/preprocessed/training01_01_flair_pp.nii`, `_mprage_pp`, `_t2_pp`, `_pd_pp`, and in
`training/training01/masks/` `training01_01_mask1.nii`, `_mask2.nii`; `testdata_website/test01/...` without masks.
The scans in `orig`, which lie on other grids than the masks, are left aside.

A case is a time point, `training01_02` the second of patient `training01`. The label is rater 1's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from recurseg.data.layouts.files import As, folders, images_of, modalities_of, put, refuse_as, stem, volume_files
from recurseg.data.manifest import CaseEntry, DatasetManifest, relative_path

MODALITIES = {"FLAIR": "flair_pp", "T1": "mprage_pp", "T2": "t2_pp", "PD": "pd_pp"}
"""Modality → what its file's name ends with."""
LABEL, OTHER_RATER = "mask1", "mask2"

_PART = {ending: modality for modality, ending in MODALITIES.items()} | {LABEL: LABEL, OTHER_RATER: OTHER_RATER}
_NAME = rf"((?P<patient>(?:training|test)\d+)_\d+)_(?P<part>{'|'.join(_PART)})"
_ABOVE = r".*(?:isbi|train|test).*|preprocessed|masks"
"""Folders that are looked into."""


def recognise(root: Path, as_: As | None) -> DatasetManifest | None:
    """Recognises the challenge's files by their names, whichever of its folders is opened."""
    found: dict[str, dict[str, Path]] = {}
    patients: dict[str, str] = {}
    for file in _files(root):
        if match := re.fullmatch(_NAME, stem(file), re.IGNORECASE):
            id = match[1].lower()
            patients[id] = match["patient"].lower()
            put(found.setdefault(id, {}), _PART[match["part"].lower()], file, id)
    if not any(set(MODALITIES) & set(parts) for parts in found.values()):
        return None
    refuse_as(as_, root)
    cases = [_case(id, patients[id], found[id], root) for id in sorted(found)]
    modalities, notes = modalities_of(cases, list(MODALITIES))
    notes.insert(0, f"{len(cases)} time points of {len(set(patients.values()))} patients, a case each")
    if any(OTHER_RATER in parts for parts in found.values()):
        notes.append(
            f"labels are rater 1's ({LABEL}); for rater 2's, write the data set down with "
            f"'recurseg check DATA --write dataset.yaml' and change {LABEL} to {OTHER_RATER} there"
        )
    return DatasetManifest(
        name=root.name,
        layout="isbi2015_ms",
        modalities=modalities,
        classes={0: "background", 1: "lesion"},
        notes=notes,
        cases=cases,
    )


def _files(folder: Path, depth: int = 4) -> Iterator[Path]:
    """The volumes of a folder and of those inside that belong to the challenge."""
    yield from volume_files(folder)
    for inside in folders(folder) if depth else ():
        if re.fullmatch(_ABOVE, inside.name, re.IGNORECASE):
            yield from _files(inside, depth - 1)


def _case(id: str, patient: str, parts: dict[str, Path], root: Path) -> CaseEntry:
    label = relative_path(parts[LABEL], root) if LABEL in parts else None
    return CaseEntry(
        id=id,
        patient=patient,
        images=images_of(parts, list(MODALITIES), id, root),
        label=label,
        for_prediction=label is None and patient.startswith("test"),
    )
