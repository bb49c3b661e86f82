"""Sunnybrook Cardiac Data (MICCAI 2009 left-ventricle challenge): 45 short-axis cines in DICOM, outlines as text.

Outlines: `.../SC-HF-I-01/contours-manual/IRCCI-expert/IM-0001-0048-icontour-manual.txt`, in any folder. Images, in
any folder: as the Cardiac Atlas Project publishes them, `SCD_IMAGES_01/SCD0000101/CINESAX_300/IM-0003-0048.dcm` with
`scd_patientdata.csv`; as the challenge did, `TrainingDataDICOM/SC-HF-I-01/DICOM/IM-0001-0048.dcm`; or as they are
passed on, `challenge_training/SC-HF-I-1/IM-0004-0048.dcm`, all series of a patient side by side. The last number is
that of the image in the short-axis series, 20 frames for each slice, from base to apex.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from recurseg.data.formats.contours import polygon_area, read_contour
from recurseg.data.formats.header import reading
from recurseg.data.layouts.files import As, natural, refuse_as
from recurseg.data.manifest import CaseEntry, DatasetManifest, relative_path
from recurseg.errors import DataError

FRAMES = 20
"""Frames of each slice."""
TABLE = "scd_patientdata.csv"
"""Which folder of the Cardiac Atlas Project (`PatientID`) is which patient of the challenge (`OriginalID`)."""
_DEPTH = 3
"""Folders that may lie around those of the patients."""
_PATIENT = re.compile(r"SC-(HF-I|HF-NI|HYP|N)-0*(\d+)", re.IGNORECASE)
_ATLAS = re.compile(r"SCD\d{7}")
_OUTLINE = re.compile(r"IM-\d+-(\d+)-icontour-manual\.txt")
_IMAGE = re.compile(r"(IM-\d+)-(\d+)\.dcm", re.IGNORECASE)

Numbered = dict[int, Path]
"""Number of the image → its file, or that of its outline."""


def recognise(root: Path, as_: As | None) -> DatasetManifest | None:
    """Recognises patients by their outlines: each labelled phase, a stack from base to apex, is a case.

    Class 1 is the cavity of the left ventricle with its papillary muscles, as in ACDC: what the inner outlines
    enclose. Outer outlines, which only end-diastole has, and those of papillary muscles are left aside. The phase
    with the larger cavity is end-diastole.
    """
    found = [(patient, path) for path in _named(root, "SC-*") if (patient := _patient(path.name))]
    outlines = {patient: own for patient, folder in found if (own := _outlines(folder))}
    if not outlines:
        return None
    refuse_as(as_, root)
    series = _series([*found, *_atlas_patients(root)])
    images = {patient: _short_axis(own, series[patient]) for patient, own in outlines.items()}
    aside = [patient for patient, own in images.items() if not own]
    if len(aside) == len(images):
        raise DataError(f"{root}: outlines without the images of their numbers: add the short-axis series (CINESAX)")
    notes = ["inner outlines are the left ventricle, the larger phase is end-diastole; outer outlines are left aside"]
    if aside:
        notes.append(f"left aside, as their outlined images are not here: {', '.join(aside)}")
    return DatasetManifest(
        name=root.name,
        layout="sunnybrook",
        modalities=["cine"],
        classes={0: "background", 1: "left ventricle"},
        notes=notes,
        cases=[
            _case(patient, phase, numbers, outlines[patient], images[patient], root)
            for patient in sorted(images.keys() - set(aside), key=natural)
            for phase, numbers in _phases(outlines[patient]).items()
        ],
    )


def _named(root: Path, pattern: str) -> list[Path]:
    """What is called so, here or below up to `_DEPTH` folders."""
    return [path for depth in range(_DEPTH + 1) for path in sorted(root.glob("*/" * depth + pattern))]


def _patient(name: str) -> str | None:
    """A patient's name as the outlines spell it, SC-HF-I-01 for SC-HF-I-1; None for what is no patient."""
    match = _PATIENT.fullmatch(name.strip())
    return f"SC-{match[1].upper()}-{int(match[2]):02d}" if match else None


def _outlines(folder: Path) -> Numbered:
    """The inner outlines of a patient."""
    found = (folder / "contours-manual" / "IRCCI-expert").glob("*.txt")
    return {int(match[1]): path for path in sorted(found) if (match := _OUTLINE.fullmatch(path.name))}


def _atlas_patients(root: Path) -> Iterator[tuple[str, Path]]:
    """The folders of the Cardiac Atlas Project, beside the names of their patients in the challenge."""
    found = [path for path in _named(root, "SCD*") if _ATLAS.fullmatch(path.name)]
    tables = _named(root, TABLE)
    if found and not tables:
        raise DataError(f"{root}: no {TABLE} says who {found[0].name} is: put it here from where the images come")
    names: dict[str, str] = {}
    for table in tables:
        with (
            reading(table, "a table of PatientID and OriginalID"),
            table.open(newline="", encoding="utf-8-sig") as file,
        ):
            names |= {row["PatientID"].strip(): row["OriginalID"] for row in csv.DictReader(file)}
    for folder in found:
        if patient := _patient(names.get(folder.name, "")):
            yield patient, folder


def _series(found: list[tuple[str, Path]]) -> dict[str, list[Numbered]]:
    """The series of every patient; the short-axis ones alone where their folders say so."""
    series: dict[str, list[Numbered]] = defaultdict(list)
    for patient, folder in found:
        own: dict[tuple[Path, str], Numbered] = defaultdict(dict)
        for path in folder.rglob("*.[dD][cC][mM]"):
            if match := _IMAGE.fullmatch(path.name):
                own[path.parent, match[1]][int(match[2])] = path
        named = {key: images for key, images in own.items() if key[0].name.upper().startswith("CINESAX")}
        series[patient] += (named or own).values()
    return series


def _short_axis(outlines: Numbered, series: list[Numbered]) -> Numbered:
    """The series with every outlined image, of several the longest, as it has the most slices; empty without one."""
    return max((images for images in series if outlines.keys() <= images.keys()), key=len, default={})


def _phases(outlines: Numbered) -> dict[str, list[int]]:
    """Phase → its images in slice order. The frame with the largest area in all is ED; of the others, one a slice."""
    areas = {number: polygon_area(read_contour(path)) for number, path in outlines.items()}
    frames: dict[int, list[int]] = defaultdict(list)
    for number in areas:
        frames[_place(number)[1]].append(number)
    widest = max(frames.values(), key=lambda numbers: sum(areas[number] for number in numbers))
    falling = sorted(areas.keys() - set(widest), key=lambda number: -areas[number])
    smallest = {_place(number)[0]: number for number in falling}
    return {"ED": sorted(widest)} | ({"ES": sorted(smallest.values())} if smallest else {})


def _case(
    patient: str, phase: str, numbers: list[int], outlines: Numbered, images: Numbered, root: Path
) -> CaseEntry:
    """A phase from its first to its last outlined slice; slices between them may have no outline."""
    by_slice = dict(_place(number) for number in numbers)
    usual = next(iter(by_slice.values()))
    slices = range(min(by_slice), max(by_slice) + 1)
    stack = [FRAMES * place + by_slice.get(place, usual) for place in slices]
    return CaseEntry(
        id=f"{patient}_{phase}",
        patient=patient,
        images={"cine": [relative_path(images[number], root) for number in stack if number in images]},
        label=[relative_path(outlines[number], root) for number in numbers],
        phases={phase: 0},
        tags=[patient.removeprefix("SC-").rsplit("-", 1)[0]],
    )


def _place(number: int) -> tuple[int, int]:
    """The slice from 0, and the frame from 1, of an image of the series."""
    return (number - 1) // FRAMES, (number - 1) % FRAMES + 1
