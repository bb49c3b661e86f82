"""Lesions of multiple sclerosis, a folder a patient with several modalities, as four published sets come.

| set | in the folder of a patient |
|---|---|
| 3D-MR-MS (Lesjak et al. 2018) | `patient01_FLAIR.nii.gz` or `FLAIR.nii.gz`, `T1W`, `T1WKS`, `T2W`, `consensus_gt` |
| the same, of the brain alone, in MNI space | `FLAIR_N4_..._regtoMNI.nii.gz`, `T1`, `T1POST`, `T2`, `GOLD_STANDARD` |
| MSSEG (MICCAI 2016), in `Training/Center_01/` | `Preprocessed_Data/FLAIR_preprocessed.nii.gz`, `T1`, `T2`, `DP`, |
| | `GADO`, `Masks/Consensus.nii.gz`; or all in one folder, also as `3DFLAIR`, `3DT1`, `3DT1GADO`, `T2`, `DP` |
| MSSEG-2 (MICCAI 2021) | `flair_time01_on_middle_space.nii.gz`, `flair_time02_...`, `ground_truth.nii.gz` |

A modality has one name in all of them (and in `isbi2015_ms`), so that a network of one set can be tried on another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from recurseg.data.layouts.files import As, folders, images_of, modalities_of, put, refuse_as, stem, volume_files
from recurseg.data.manifest import CaseEntry, DatasetManifest, relative_path
from recurseg.errors import DataError


@dataclass(frozen=True)
class Release:
    """How the files of one set are named, and what its labels are.

    Attributes:
        layout: Its name.
        names: Pattern of a file's stem; its group says which part of the case the file is.
        telling: Pattern of the stems that no other data set has; a folder needs one of them.
        parts: Group of `names` → modality, or "label".
        lesion: What class 1 is called.
        notes: What a user should know.
    """

    layout: str
    names: str
    telling: str
    parts: dict[str, str]
    lesion: str = "lesion"
    notes: tuple[str, ...] = ()

    @property
    def modalities(self) -> list[str]:
        return list(dict.fromkeys(part for part in self.parts.values() if part != "label"))


RELEASES = (
    Release(
        "ms_lesions",
        r"(flair|t1post|t1|t2|gold_standard)_n4.*",
        r"(flair|t1post|t1|t2|gold_standard)_n4.*",
        {"flair": "FLAIR", "t1": "T1", "t1post": "T1POST", "t2": "T2", "gold_standard": "label"},
    ),
    Release(
        "ms_lesions",
        r"(?:NAME_)?(flair|t1w|t1wks|t2w|consensus_gt)",
        r"(?:NAME_)?(t1wks|consensus_gt)",
        {"flair": "FLAIR", "t1w": "T1", "t1wks": "T1POST", "t2w": "T2", "consensus_gt": "label"},
    ),
    Release(
        "msseg2016",
        r"(?:3d)?(flair|t1|t1gado|gado|t2|dp|pd|consensus)(?:_preprocessed)?",
        r"(flair|t1|gado|t2|dp|pd)_preprocessed|consensus|manualsegmentation_\d",
        {
            "flair": "FLAIR",
            "t1": "T1",
            "t1gado": "T1POST",
            "gado": "T1POST",
            "t2": "T2",
            "dp": "PD",
            "pd": "PD",
            "consensus": "label",
        },
        notes=("labels are the consensus of seven experts; the masks of each of them are left aside",),
    ),
    Release(
        "msseg2",
        r"(flair_time0[12]|ground_truth)(?:_on_middle_space)?",
        r"flair_time0[12].*",
        {"flair_time01": "FLAIR_time01", "flair_time02": "FLAIR_time02", "ground_truth": "label"},
        "new lesion",
        ("labels are the lesions that the second time point has and the first has not",),
    ),
)

_CENTRE = r"cent(?:er|re)_?\d+"
_SIDE = r"(?<![a-z])(train|test)"
_ABOVE = rf".*(?:{_SIDE}|msseg|miccai).*|{_CENTRE}"
_WITHIN = ("Preprocessed_Data", "Masks")
"""Folders of a patient's folder that are looked into."""

Found = tuple[Release, dict[str, Path]]
"""What a patient's folder holds: its release, and modality or label → file."""


def recognise(root: Path, as_: As | None) -> DatasetManifest | None:
    """Recognises the folders of patients, alone or in folders of centres and of training, or one patient's folder."""
    found = dict(_patients(root))
    if not any(set(release.modalities) & set(parts) for release, parts in found.values()):
        return None
    refuse_as(as_, root)
    releases = {release.layout: release for release, _ in found.values()}
    if len(releases) > 1:
        raise DataError(f"{root}: holds {' and '.join(sorted(releases))}: open their folders one by one")
    release = next(iter(releases.values()))
    splits: dict[str, list[str]] = {"train": [], "test": []}
    cases = []
    for folder, (_, parts) in found.items():
        case, side = _case(folder, parts, release, root)
        cases.append(case)
        if side:
            splits[side].append(case.id)
    modalities, notes = modalities_of(cases, release.modalities)
    return DatasetManifest(
        name=root.name,
        layout=release.layout,
        modalities=modalities,
        classes={0: "background", 1: release.lesion},
        splits=splits if all(splits.values()) else {},
        notes=[*release.notes, *notes],
        cases=cases,
    )


def _patients(folder: Path, depth: int = 3) -> Iterator[tuple[Path, Found]]:
    """The folders of patients: this one, or those inside and in folders of centres and of training."""
    if found := _parts(folder):
        yield folder, found
    elif depth:
        for inside in folders(folder):
            above = re.fullmatch(_ABOVE, inside.name, re.IGNORECASE)
            yield from _patients(inside, depth - 1 if above else 0)


def _parts(folder: Path) -> Found | None:
    """The release that a patient's folder belongs to, and modality or label → file."""
    places = [folder, *(folder / name for name in _WITHIN if (folder / name).is_dir())]
    files = [file for place in places for file in volume_files(place)]
    for release in RELEASES:
        names, telling = (
            re.compile(pattern.replace("NAME", re.escape(folder.name)), re.IGNORECASE)
            for pattern in (release.names, release.telling)
        )
        if not any(telling.fullmatch(stem(file)) for file in files):
            continue
        parts: dict[str, Path] = {}
        for file in files:
            if match := names.fullmatch(stem(file)):
                put(parts, release.parts[match[1].lower()], file, folder.name)
        if parts:
            return release, parts
    return None


def _case(folder: Path, parts: dict[str, Path], release: Release, root: Path) -> tuple[CaseEntry, str | None]:
    """The case of a folder, and which side of the set's own split it is on."""
    above = folder.relative_to(root).parts[:-1]
    sides = [match[1].lower() for name in above if (match := re.search(_SIDE, name, re.IGNORECASE))]
    side = sides[0] if sides else None
    centre = folder.parent.name if re.fullmatch(_CENTRE, folder.parent.name, re.IGNORECASE) else ""
    name = "_".join(filter(None, ["test" if side == "test" else "", centre, folder.name]))
    label = relative_path(parts["label"], root) if "label" in parts else None
    entry = CaseEntry(
        id=name,
        patient=name,
        images=images_of(parts, release.modalities, name, root),
        label=label,
        for_prediction=label is None and side == "test",
        tags=[centre] if centre else [],
    )
    return entry, side
