"""Multiple-sclerosis lesions: a folder a patient with FLAIR, T1, T1POST, T2 and the consensus GOLD_STANDARD."""

from __future__ import annotations

from pathlib import Path

from recurseg.data.layouts.files import As, folders, modalities_of, refuse_as, volume_files
from recurseg.data.manifest import CaseEntry, DatasetManifest, Files, relative_path
from recurseg.errors import DataError

MODALITIES = ["FLAIR", "T1", "T1POST", "T2"]


def recognise(root: Path, as_: As | None) -> DatasetManifest | None:
    """Recognises the folder of patients, or one patient's folder, by the first words of the file names."""
    found = {folder: _parts(folder) for folder in [root, *folders(root)]}
    if not any(len({*MODALITIES} & set(parts)) > 1 and {"T1POST", "GOLD"} & set(parts) for parts in found.values()):
        return None
    found = {folder: parts for folder, parts in found.items() if {*MODALITIES, "GOLD"} & set(parts)}
    refuse_as(as_, root)
    cases = []
    for folder, parts in found.items():
        images: dict[str, Files] = {m: relative_path(parts[m], root) for m in MODALITIES if m in parts}
        if not images:
            raise DataError(f"case {folder.name}: label without an image in {folder}")
        gold = parts.get("GOLD")
        label = relative_path(gold, root) if gold else None
        cases.append(CaseEntry(id=folder.name, patient=folder.name, images=images, label=label))
    modalities, notes = modalities_of(cases, MODALITIES)
    return DatasetManifest(
        name=root.name,
        layout="ms_lesions",
        modalities=modalities,
        classes={0: "background", 1: "lesion"},
        notes=notes,
        cases=cases,
    )


def _parts(folder: Path) -> dict[str, Path]:
    """First word of the name → file."""
    return {path.name.split("_")[0].split(".")[0]: path for path in volume_files(folder)}
