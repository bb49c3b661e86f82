"""BraTS: brain tumours on FLAIR, T1, T1c and T2, a folder a patient, as in 2012-2015 and from 2017 on.

| release | in `HGG/NAME/`, `LGG/NAME/` or `NAME/` |
|---|---|
| 2012-2015 | `VSD.Brain.XX.O.MR_Flair.54512/*.mha` (`T1`, `T1c`, `T2`), `VSD.Brain_3more.XX.O.OT.54517/*.mha` |
| 2015, normalised as DeepMedic takes it | `Flair_subtrMeanDivStd.nii.gz`, `T1c_...`, `OTMultiClass.nii.gz` |
| 2017-2021 | `NAME_flair.nii.gz`, `NAME_t1`, `NAME_t1ce`, `NAME_t2`, `NAME_seg` |
| from 2023 on | `NAME-t2f.nii.gz`, `NAME-t1n`, `NAME-t1c`, `NAME-t2w`, `NAME-seg` |
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from recurseg.data.layouts.files import As, folders, images_of, modalities_of, put, refuse_as, stem, volume_files
from recurseg.data.manifest import CaseEntry, DatasetManifest, relative_path
from recurseg.errors import DataError

MODALITIES = ["FLAIR", "T1", "T1c", "T2"]
_PARTS = {
    "FLAIR": ("flair", "t2f"),
    "T1": ("t1", "t1n"),
    "T1c": ("t1c", "t1ce"),
    "T2": ("t2", "t2w"),
    "label": ("ot", "seg", "segm", "otmulticlass"),
}
"""Modality, or the label → what its file is called in one release or another."""
_WORD = {word: part for part, words in _PARTS.items() for word in words}

FOUR = {0: "background", 1: "necrosis", 2: "edema", 3: "non-enhancing", 4: "enhancing"}
THREE = {0: "background", 1: "necrosis", 2: "edema", 3: "enhancing"}


@dataclass(frozen=True)
class Release:
    """How files are named, and what their labels mean.

    Attributes:
        names: Pattern of a file's stem; its group says which part of the case the file is.
        classes: Class → name.
        label_map: File value → class; empty where values are classes.
        note: What the labels are, in words.
    """

    names: str
    classes: dict[int, str]
    label_map: dict[int, int]
    note: str


Found = tuple[Release, dict[str, Path]]
"""What a patient's folder holds: its release, and modality or label → file."""

_ALL = "labels: 1 necrosis, 2 edema, 3 non-enhancing core, 4 enhancing core"
RELEASES = (
    Release(r"VSD\.Brain.*\.(?:MR_)?(flair|t1c|t1|t2|ot)(?:\.\d+)?", FOUR, {}, _ALL),
    Release(r"(flair|t1c|t1|t2)_subtrMeanDivStd|(otmulticlass)", FOUR, {}, _ALL),
    Release(
        r"(?=brats)NAME_(flair|t1|t1ce|t2|seg)|W39_1998\.09\.19_(segm)",
        THREE,
        {0: 0, 1: 1, 2: 2, 4: 3},
        "labels: 1 necrosis and non-enhancing core together, 2 edema, 4 enhancing core (class 3)",
    ),
    Release(
        r"(?=brats)(?!brats-ped)NAME-(t2f|t1n|t1c|t2w|seg)",
        THREE,
        {},
        "labels: 1 necrosis and non-enhancing core together, 2 edema, 3 enhancing core",
    ),
)

_PATIENT = r"(brats_.*pat\d+)_\d+|(brats1[789]_.+)_\d+|(brats-\w+-\d+)-\d+"
"""A case's name and, apart from it, the visit."""
_GRADE = r"(?P<grade>[HL])GG?|HGG_LGG"
_UNLABELLED = r"valid|test|HGG_LGG"


def recognise(root: Path, as_: As | None) -> DatasetManifest | None:
    """Recognises the folders of patients, alone or in folders of grades and of training, or one patient's folder."""
    found = dict(_patients(root))
    if not found:
        return None
    refuse_as(as_, root)
    releases = {release.note: release for release, _ in found.values()}
    if len(releases) > 1:
        raise DataError(f"{root}: BraTS releases whose labels mean different things: open their folders one by one")
    (release,) = releases.values()
    repeated = {name for name, number in Counter(folder.name for folder in found).items() if number > 1}
    cases = [_case(folder, parts, root, folder.name in repeated) for folder, (_, parts) in found.items()]
    modalities, notes = modalities_of(cases, MODALITIES)
    enhancing = max(release.classes)
    return DatasetManifest(
        name=root.name,
        layout="brats",
        modalities=modalities,
        classes=release.classes,
        label_map=release.label_map,
        regions={
            "complete": list(range(1, enhancing + 1)),
            "core": [number for number in range(1, enhancing + 1) if release.classes[number] != "edema"],
            "enhancing": [enhancing],
        },
        notes=[release.note, *notes],
        cases=cases,
    )


def _patients(folder: Path, depth: int = 3) -> Iterator[tuple[Path, Found]]:
    """The folders of patients: this one, or those inside and in folders of grades and releases."""
    if parts := _parts(folder):
        yield folder, parts
    elif depth:
        for inside in folders(folder):
            above = re.fullmatch(rf"{_GRADE}|.*(?:brats|train|valid|test).*", inside.name, re.IGNORECASE)
            yield from _patients(inside, depth - 1 if above else 0)


def _parts(folder: Path) -> Found | None:
    """The release that a patient's folder belongs to, and modality or label → file."""
    files = volume_files(folder)
    files += [file for sub in folders(folder) if sub.name.startswith("VSD.Brain") for file in volume_files(sub)]
    for release in RELEASES:
        parts: dict[str, Path] = {}
        for file in files:
            match = re.fullmatch(release.names.replace("NAME", re.escape(folder.name)), stem(file), re.IGNORECASE)
            if match is None:
                continue
            put(parts, _WORD[next(word for word in match.groups() if word).lower()], file, folder.name)
        if parts:
            return release, parts
    return None


def _case(folder: Path, parts: dict[str, Path], root: Path, repeated: bool) -> CaseEntry:
    label = relative_path(parts["label"], root) if "label" in parts else None
    above = folder.parent.name
    grade = re.fullmatch(_GRADE, above, re.IGNORECASE)
    visit = re.fullmatch(_PATIENT, folder.name, re.IGNORECASE)
    unlabelled = re.search(_UNLABELLED, str(folder.relative_to(root)), re.IGNORECASE)
    prefix = f"{above}_" if repeated else ""
    return CaseEntry(
        id=prefix + folder.name,
        patient=prefix + (next(name for name in visit.groups() if name) if visit else folder.name),
        images=images_of(parts, MODALITIES, folder.name, root),
        label=label,
        for_prediction=label is None and unlabelled is not None,
        tags=[f"{grade['grade'].upper()}GG"] if grade and grade["grade"] else [],
    )
