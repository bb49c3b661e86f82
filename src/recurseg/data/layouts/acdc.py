"""ACDC: cine MR of the heart, contoured at end-diastole (ED) and end-systole (ES); patients of five groups.

| release | files |
|---|---|
| official | `patient001/{Info.cfg, patient001_4d.nii.gz, patient001_frame01.nii.gz, patient001_frame01_gt.nii.gz}` |
| HDF5, as for weak supervision | `patient001_frame01.h5` with `image` and `label`; its `scribble` is left aside |

Folders of patients may lie in `training` and `testing`. A case is a frame that was contoured; `--as sequence` makes
the whole film of a patient one case, 255 (ignored) in the frames that nobody contoured.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recurseg.data.formats import format_of, open_volume
from recurseg.data.formats.hdf5 import datasets_in
from recurseg.data.layouts.files import As, folders, refuse_as, stem, volume_files
from recurseg.data.manifest import CaseEntry, DatasetManifest, relative_path
from recurseg.errors import ConfigError, DataError

MODALITY = "MR"
CLASSES = {0: "background", 1: "right ventricle", 2: "myocardium", 3: "left ventricle"}

_CAVITY = 3
_GROUPS = ("DCM", "HCM", "MINF", "NOR", "RV")
_GROUP_SIZE = 20
"""Patients 001-100 are numbered by group."""


@dataclass(frozen=True)
class Patient:
    """The files of one patient; frames are numbered from 1, as in their names.

    Attributes:
        name: "patient001".
        film: The 4-D file.
        images: Frame → image.
        labels: Frame → contours.
        info: What `Info.cfg` says, such as "ED", "ES" and "Group".
        split: "train" or "test" where the folder above says so.
    """

    name: str
    film: Path | None
    images: dict[int, Path]
    labels: dict[int, Path]
    info: dict[str, str]
    split: str | None = None

    @property
    def group(self) -> str | None:
        number = int(self.name.removeprefix("patient")) - 1
        known = 0 <= number < _GROUP_SIZE * len(_GROUPS)
        return self.info.get("Group", _GROUPS[number // _GROUP_SIZE] if known else None)

    def phases(self) -> dict[str, int]:
        """ED and ES → frame: as `Info.cfg` says, else ED is frame 1 or that of the larger cavity."""
        try:
            return {name: int(self.info[name]) for name in ("ED", "ES") if name in self.info} or self._by_frames()
        except ValueError:
            said = f"ED {self.info.get('ED')}, ES {self.info.get('ES')}"
            raise DataError(f"{self.name}/Info.cfg: says {said} where numbers of frames are meant") from None

    def _by_frames(self) -> dict[str, int]:
        frames = sorted(self.images)
        if 1 not in frames and len(frames) == 2 and set(frames) <= set(self.labels):
            frames.sort(key=lambda frame: -np.count_nonzero(open_volume(self.labels[frame]).array[...] == _CAVITY))
        elif frames[:1] != [1]:
            return {"ES": frames[0]} if len(frames) == 1 else {}
        return dict(zip(("ED", "ES"), frames, strict=False))


def recognise(root: Path, as_: As | None) -> DatasetManifest | None:
    """Recognises the folders of patients, alone or in `training` and `testing`, and the folder of HDF5 files."""
    patients = sorted(_official(root), key=lambda patient: patient.name) or _hdf5(root)
    if not patients:
        return None
    if as_ != "sequence":
        refuse_as(as_, root)
    cases, notes = [], []
    splits: dict[str, list[str]] = {"train": [], "test": []}
    for patient in patients:
        own = _film(patient, root) if as_ == "sequence" else _frames(patient, root)
        cases += own
        if patient.split:
            splits[patient.split] += [case.id for case in own]
    if not cases:
        kind = (
            ("films patientNNN_4d", "") if as_ == "sequence" else ("single frames", "; '--as sequence' takes films")
        )
        raise ConfigError(f"{root}: ACDC without {kind[0]}{kind[1]}")
    if as_ == "sequence":
        notes.append("a case is the film of a patient, as asked; frames without contours are ignored in the loss")
    else:
        films = sum(patient.film is not None for patient in patients)
        notes.append("a case is a contoured frame" + ("; '--as sequence' takes whole films" if films else ""))
    return DatasetManifest(
        name=root.name,
        layout="acdc",
        modalities=[MODALITY],
        classes=dict(CLASSES),
        splits=splits if all(splits.values()) else {},
        notes=notes,
        cases=cases,
    )


def _official(root: Path) -> Iterator[Patient]:
    for folder in _patient_folders(root):
        film, images, labels = None, {}, {}
        for path in volume_files(folder):
            match = re.fullmatch(rf"{folder.name}_(?:(4d)|frame(\d+)(_gt)?)", stem(path))
            if match and match[1]:
                film = path
            elif match:
                (labels if match[3] else images)[int(match[2])] = path
        if film or images:
            above = re.match(r"train|test", folder.parent.name, re.IGNORECASE) if folder != root else None
            yield Patient(folder.name, film, images, labels, _info(folder), above and above[0].lower())


def _patient_folders(folder: Path, depth: int = 3) -> Iterator[Path]:
    """This folder where it is called like a patient, or those inside and in folders of releases and parts."""
    if re.fullmatch(r"patient\d+", folder.name):
        yield folder
    elif depth:
        for inside in folders(folder):
            if re.search(r"^patient\d+$|acdc|database|train|test", inside.name, re.IGNORECASE):
                yield from _patient_folders(inside, depth - 1)


def _hdf5(root: Path) -> list[Patient]:
    patients: dict[str, Patient] = {}
    for path in volume_files(root):
        match = re.fullmatch(r"(patient\d+)_frame(\d+)", stem(path))
        if match is None or format_of(path) != "hdf5":
            continue
        held = datasets_in(path)
        if "image" not in held:
            continue
        own = patients.setdefault(match[1], Patient(match[1], None, {}, {}, {}))
        own.images[int(match[2])] = path
        if "label" in held:
            own.labels[int(match[2])] = path.with_name(f"{path.name}:label")
    return list(patients.values())


def _info(folder: Path) -> dict[str, str]:
    """The lines `ED: 1` of a patient's `Info.cfg`; empty where there is none."""
    path = folder / "Info.cfg"
    if not path.is_file():
        return {}
    pairs = (line.split(":", 1) for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    return {pair[0].strip(): pair[1].strip() for pair in pairs if len(pair) == 2}


def _frames(patient: Patient, root: Path) -> list[CaseEntry]:
    phases = patient.phases()
    return [
        CaseEntry(
            id=f"{patient.name}_frame{frame:02d}",
            patient=patient.name,
            images={MODALITY: relative_path(image, root)},
            label=relative_path(patient.labels[frame], root) if frame in patient.labels else None,
            for_prediction=frame not in patient.labels and patient.split == "test",
            tags=[patient.group] if patient.group else [],
            phases={name: 0 for name, at in phases.items() if at == frame},
        )
        for frame, image in sorted(patient.images.items())
    ]


def _film(patient: Patient, root: Path) -> list[CaseEntry]:
    if patient.film is None:
        return []
    label = {frame - 1: relative_path(path, root) for frame, path in sorted(patient.labels.items())}
    return [
        CaseEntry(
            id=patient.name,
            patient=patient.name,
            images={MODALITY: relative_path(patient.film, root)},
            label=label or None,
            for_prediction=not label and patient.split == "test",
            tags=[patient.group] if patient.group else [],
            phases={name: at - 1 for name, at in patient.phases().items()},
        )
    ]
