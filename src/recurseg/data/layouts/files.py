"""File names: which files are volumes, which belong together, and how a folder's files make cases."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from recurseg.data.formats import format_of, name_of, open_volume
from recurseg.data.formats.zarr import is_store
from recurseg.data.manifest import CaseEntry, Files, relative_path
from recurseg.errors import ConfigError, DataError

As = Literal["stack", "images", "sequence"]

LABEL_WORD = (
    r"(?:segmentations?|segs?|labels?|lbls?|masks?|annotations?|annots?|annotated|gt|ground[_-]?truths?|truths?|targets?"
    r"|manual|y)"
)
IMAGE_WORD = r"(?:images?|imgs?|raw|volumes?|vols?|scans?|inputs?|data|frames?|x)"
_PATIENT = re.compile(r"((?:patient|subject|subj|sub|pat)[-_]?\d+)(?=[-_.])", re.IGNORECASE)


@dataclass(frozen=True)
class Grouped:
    """The cases that a folder's files make: case id → files (`""`: the folder is one stack), and why."""

    files: dict[str, Files]
    notes: list[str] = field(default_factory=list)


def stem(path: Path) -> str:
    """File name without its suffix, `.nii.gz` and `.ome.tif` being one suffix; a folder's whole name."""
    return name_of(path)


def natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key by which `2` comes before `10`."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def folders(root: Path) -> list[Path]:
    """The folders directly inside, in natural order, hidden ones and Zarr stores left out."""
    return sorted(
        (p for p in root.iterdir() if p.is_dir() and p.name[0] != "." and not is_store(p)),
        key=lambda p: natural(p.name),
    )


def volume_files(folder: Path) -> list[Path]:
    """The image files and Zarr stores directly inside, in natural order, hidden ones left out."""
    return sorted(
        (
            p
            for p in folder.iterdir()
            if p.name[0] != "." and format_of(p) not in (None, "dicom") and (p.is_file() or is_store(p))
        ),
        key=lambda p: natural(p.name),
    )


def is_section(path: Path) -> bool:
    """Whether the file is one 2-D image (a TIFF is looked into, it may hold a whole stack)."""
    return format_of(path) == "image" or (format_of(path) == "tiff" and len(open_volume(path).shape) == 2)


def is_dicom_folder(folder: Path) -> bool:
    """Whether the folder holds a DICOM series."""
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name[0] != ".":
            with path.open("rb") as file:
                return path.suffix.lower() == ".dcm" or file.read(132)[128:] == b"DICM"
    return False


def is_consecutive(stems: list[str]) -> bool:
    """Whether stems are numbers without a gap, two or more."""
    if len(stems) < 2 or not all(s.isdecimal() for s in stems):
        return False
    numbers = sorted(int(s) for s in stems)
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def entries(folder: Path) -> list[Path]:
    """What can be a volume: the image files of a folder or, where it has none, its folders of sections."""
    if is_dicom_folder(folder):
        return [folder]
    files = volume_files(folder)
    if files:
        return files
    return [sub for sub in folders(folder) if is_dicom_folder(sub) or is_stack_folder(sub)]


def is_stack_folder(folder: Path) -> bool:
    """Whether the folder's files are the numbered sections of one stack."""
    files = volume_files(folder)
    return is_consecutive([stem(f) for f in files]) and is_section(files[0])


def group(folder: Path, as_: As | None) -> Grouped:
    """Decides how the files of one folder make cases.

    Args:
        folder: Holds image files, or folders of sections.
        as_: What the user said; None decides by the names: consecutive numbers are one stack.

    Raises:
        ConfigError: `as_` was given for files that are volumes already.
    """
    found = entries(folder)
    if not found:
        return Grouped({})
    names = [stem(path) for path in found]
    flat = found[0].is_file() and all(format_of(path) in ("image", "tiff") for path in found)
    flat = flat and is_section(found[0])
    if as_ in ("stack", "sequence") and not flat:
        raise ConfigError(f"{folder}: '--as {as_}' is for folders of 2-D image files, this one holds volumes")
    if as_ == "stack":
        files: Files = str(folder) if is_consecutive(names) else [str(path) for path in found]
        return Grouped({"": files}, [f"{len(found)} files are one stack, as asked"])
    if as_ == "sequence":
        return _sequences(folder, found)
    if as_ is None and flat and is_consecutive(names):
        return Grouped({"": str(folder)}, [f"{len(found)} consecutively numbered files are one stack"])
    notes = []
    if flat and as_ is None and len(found) > 1 and all(name.isdecimal() for name in names):
        notes.append("numbered files with gaps are separate images; '--as stack' makes one stack of them")
    return Grouped({path.name: str(path) for path in found}, notes)


def _sequences(folder: Path, found: list[Path]) -> Grouped:
    sequences: dict[str, list[str]] = {}
    for path in found:
        parts = re.fullmatch(r"(.*?)[-_. ]*(\d+)", stem(path))
        if parts is None:
            raise ConfigError(f"{path}: '--as sequence' needs file names that end in a frame number")
        sequences.setdefault(parts[1], []).append(str(path))
    kind = "sequence" if len(sequences) == 1 else "sequences"
    return Grouped(dict(sequences), [f"{len(found)} files are {len(sequences)} {kind}, as asked"])


def pair_key(name: str, word: str) -> str:
    """The name without a leading or trailing word such as `_seg`, which is what image and label have in common."""
    short = re.sub(rf"(?:^|[-_. ]+){word}$", "", name, flags=re.IGNORECASE)
    if short == name:
        short = re.sub(rf"^{word}[-_. ]+", "", name, flags=re.IGNORECASE)
    return short


def patient_of(case_id: str) -> str:
    """The patient that a case id names: `patient07` for `patient07_visit2`, else the id itself."""
    match = _PATIENT.match(case_id)
    return match[1] if match else case_id


def modalities_of(cases: Sequence[CaseEntry], known: Sequence[str]) -> tuple[list[str], list[str]]:
    """The known modalities that any case has, in their order, and a note about those that none has."""
    had = {modality for case in cases for modality in case.images}
    absent = [modality for modality in known if modality not in had]
    return [m for m in known if m in had], [f"no case has {', '.join(absent)}"] if absent else []


def put(parts: dict[str, Path], part: str, file: Path, case: str) -> None:
    """Notes the file of a modality, or of the label, of a case.

    Raises:
        DataError: There is one already.
    """
    if part in parts:
        raise DataError(f"case {case}: two files for {part}: {parts[part]} and {file}: remove one")
    parts[part] = file


def images_of(parts: Mapping[str, Path], modalities: Sequence[str], case: str, root: Path) -> dict[str, Files]:
    """The images of a case in the order of the modalities, relative to the data set's folder.

    Raises:
        DataError: There is none of them, but files of other parts.
    """
    images: dict[str, Files] = {name: relative_path(parts[name], root) for name in modalities if name in parts}
    if not images:
        raise DataError(f"case {case}: label without an image: {next(iter(parts.values()))}")
    return images


def refuse_as(as_: As | None, root: Path) -> None:
    """Says that `--as` has no meaning for a layout of volumes.

    Raises:
        ConfigError: `as_` is `stack` or `sequence`.
    """
    if as_ in ("stack", "sequence"):
        raise ConfigError(f"{root}: '--as {as_}' is for folders of 2-D image files, this one holds volumes")
