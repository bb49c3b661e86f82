"""Writes films of the heart as the ACDC challenge does, and what it leaves out: the contours of every frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recurseg.data.manifest import CaseEntry, DatasetManifest, write_manifest

from .cardiac_cine import CLASSES, Cine, cardiac_cine
from .cardiac_scanner import SCANNERS
from .writing import Size, shown

MODALITY = "MR"
CINE_MANIFEST, ALL_FRAMES_MANIFEST = "cine.yaml", "cine_all_frames.yaml"


def write_acdc(folder: Path, cases: int, size: Size, seed: int, *, scanner: str | None = None) -> DatasetManifest:
    """Writes a folder a patient in ACDC's official form, and two manifests beside the one that it returns.

    | manifest | a case is | its label |
    |---|---|---|
    | `dataset.yaml` (returned) | a frame, end-diastole or end-systole | `NAME_frameNN_gt.nii.gz` |
    | `cine.yaml` | a patient's film | those of the two frames; the others are ignored |
    | `cine_all_frames.yaml` | a patient's film | `NAME_4d_gt.nii.gz`, every frame |

    Args:
        folder: Empty.
        cases: Patients.
        size: Slices, rows, columns.
        seed: Not negative.
        scanner: "scanner_a" or "scanner_b" for all patients; None: half and half, with a split for each.
    """
    frames, films, contoured = [], [], []
    for index in range(cases):
        cine, name = cardiac_cine(size=size, seed=seed, case=index, scanner=scanner), f"patient{index + 1:03d}"
        phases = {"ED": 0, "ES": cine.end_systole}
        _write_patient(folder / name, cine, phases)
        common = {"patient": name, "tags": [cine.heart.group, cine.scanner]}
        labels = {frame: f"{name}/{name}_frame{frame + 1:02d}_gt.nii.gz" for frame in phases.values()}
        frames += [
            CaseEntry(
                id=f"{name}_frame{frame + 1:02d}",
                images={MODALITY: f"{name}/{name}_frame{frame + 1:02d}.nii.gz"},
                label=labels[frame],
                phases={phase: 0},
                **common,
            )
            for phase, frame in phases.items()
        ]
        film = CaseEntry(
            id=name, images={MODALITY: f"{name}/{name}_4d.nii.gz"}, label=labels, phases=phases, **common
        )
        films.append(film)
        contoured.append(film.model_copy(update={"label": f"{name}/{name}_4d_gt.nii.gz"}))
    notes = [f"procedural phantom cardiac_cine, seed {seed}, size {shown(size)}"]
    write_manifest(_manifest(films, notes), folder / CINE_MANIFEST)
    write_manifest(_manifest(contoured, notes), folder / ALL_FRAMES_MANIFEST)
    return _manifest(frames, notes)


def _manifest(cases: list[CaseEntry], notes: list[str]) -> DatasetManifest:
    members = {scanner: [case.id for case in cases if scanner in case.tags] for scanner in SCANNERS}
    return DatasetManifest(
        name="cardiac_cine",
        modalities=[MODALITY],
        classes=dict(enumerate(CLASSES)),
        splits=members if all(members.values()) else {},
        notes=notes,
        cases=cases,
    )


def _write_patient(folder: Path, cine: Cine, phases: dict[str, int]) -> None:
    folder.mkdir()
    _write(folder / f"{folder.name}_4d.nii.gz", cine.image, cine)
    _write(folder / f"{folder.name}_4d_gt.nii.gz", cine.label, cine)
    for frame in phases.values():
        name = f"{folder.name}_frame{frame + 1:02d}"
        _write(folder / f"{name}.nii.gz", cine.image[..., frame], cine)
        _write(folder / f"{name}_gt.nii.gz", cine.label[..., frame], cine)
    info = {"ED": 1, "ES": cine.end_systole + 1, "Group": cine.heart.group, "NbFrame": cine.image.shape[3]}
    (folder / "Info.cfg").write_text("".join(f"{key}: {value}\n" for key, value in info.items()))


def _write(path: Path, array: np.ndarray, cine: Cine) -> None:
    """NIfTI with the origin in the middle; x runs to the left, y to the back, so that viewers show it as here."""
    import nibabel

    affine = np.diag([-cine.spacing[0], -cine.spacing[1], cine.spacing[2], 1])
    affine[:3, 3] = -affine[:3, :3] @ (np.array(array.shape[:3]) - 1) / 2
    image = nibabel.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm", "sec")
    if array.ndim == 4:
        image.header.set_zooms((*cine.spacing, cine.seconds))
    nibabel.save(image, path)
