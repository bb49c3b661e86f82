"""How each phantom becomes files: in the formats, and under the names, that real data sets of its kind have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from recurseg.data.manifest import CaseEntry, DatasetManifest

Size = tuple[int, int, int]
"""Slices, rows, columns."""


def shown(size: tuple[int, ...]) -> str:
    """A size as the user writes it: 20x256x256."""
    return "x".join(map(str, size))


def write_em(folder: Path, cases: int, size: Size, seed: int) -> DatasetManifest:
    """One stack as image.tif and label.tif; several as images/NAME.tif and labels/NAME.tif."""
    from recurseg.data.manifest import CaseEntry, DatasetManifest
    from recurseg.data.phantoms.em_membranes import CELL, MEMBRANE, SPACING, em_membranes

    entries = []
    for index in range(cases):
        image, label = em_membranes(size=size, seed=seed, case=index)
        stem = f"stack_{index + 1:02d}"
        files = ("image.tif", "label.tif") if cases == 1 else (f"images/{stem}.tif", f"labels/{stem}.tif")
        for array, file in zip((image, label), files, strict=True):
            _write_tiff(folder / file, array, SPACING)
        entries.append(CaseEntry(id="stack" if cases == 1 else stem, images={"EM": files[0]}, label=files[1]))
    return DatasetManifest(
        name="em_membranes",
        modalities=["EM"],
        classes={0: "cell", 1: "membrane"},
        label_map={CELL: 0, MEMBRANE: 1},
        notes=[f"procedural phantom em_membranes, seed {seed}, size {shown(size)}"],
        cases=entries,
    )


def write_brain(folder: Path, cases: int, size: Size, seed: int) -> DatasetManifest:
    """One folder a case: T1.nii.gz, IR.nii.gz, FLAIR.nii.gz, labels.nii.gz."""
    from recurseg.data.manifest import DatasetManifest
    from recurseg.data.phantoms.brain_tissue import CLASSES, SIGNAL, brain_tissue

    entries = []
    for index in range(cases):
        images, label, spacing = brain_tissue(size=size, seed=seed, case=index)
        entries.append(_write_case(folder, f"case_{index + 1:02d}", images, label, spacing))
    return DatasetManifest(
        name="brain_tissue",
        modalities=list(SIGNAL),
        classes=dict(enumerate(CLASSES)),
        notes=[f"procedural phantom brain_tissue, seed {seed}, size {shown(size)}"],
        cases=entries,
    )


def write_tumour(folder: Path, cases: int, size: Size, seed: int) -> DatasetManifest:
    """One folder a case, as in BraTS since 2018: NAME_flair.nii.gz, and so _t1, _t1ce, _t2 and _seg."""
    from recurseg.data.manifest import CaseEntry, DatasetManifest
    from recurseg.data.phantoms.brain_tumour import CLASSES, REGIONS, SIGNAL, brain_tumour

    suffixes = dict(zip(SIGNAL, ("flair", "t1", "t1ce", "t2"), strict=True))
    entries = []
    for index in range(cases):
        images, label, spacing, tags = brain_tumour(size=size, seed=seed, case=index)
        name = f"case_{index + 1:03d}"
        files = {modality: f"{name}/{name}_{suffix}.nii.gz" for modality, suffix in suffixes.items()}
        for modality, file in files.items():
            _write_nifti(folder / file, images[modality], spacing)
        seg = f"{name}/{name}_seg.nii.gz"
        _write_nifti(folder / seg, label, spacing)
        entries.append(CaseEntry(id=name, patient=name, images=dict(files), label=seg, tags=list(tags)))
    return DatasetManifest(
        name="brain_tumour",
        modalities=list(SIGNAL),
        classes=dict(enumerate(CLASSES)),
        regions=REGIONS,
        notes=[f"procedural phantom brain_tumour, seed {seed}, size {shown(size)}"],
        cases=entries,
    )


def write_lesions(folder: Path, cases: int, size: Size, seed: int) -> DatasetManifest:
    """One folder a patient: FLAIR.nii.gz, T1.nii.gz, T2.nii.gz, labels.nii.gz."""
    from recurseg.data.manifest import DatasetManifest
    from recurseg.data.phantoms.ms_lesions import CLASSES, SIGNAL, ms_lesions

    entries = []
    for index in range(cases):
        images, label, spacing, _ = ms_lesions(size=size, seed=seed, case=index)
        entries.append(_write_case(folder, f"patient_{index + 1:03d}", images, label, spacing))
    return DatasetManifest(
        name="ms_lesions",
        modalities=list(SIGNAL),
        classes=dict(enumerate(CLASSES)),
        notes=[f"procedural phantom ms_lesions, seed {seed}, size {shown(size)}"],
        cases=entries,
    )


def write_chest(folder: Path, cases: int, size: Size, seed: int) -> DatasetManifest:
    """images/NAME.png and masks/NAME.png."""
    from PIL import Image

    from recurseg.data.manifest import CaseEntry, DatasetManifest
    from recurseg.data.phantoms.chest_xray import LUNG, chest_xray

    entries = []
    for index in range(cases):
        image, label, tags = chest_xray(size=size, seed=seed, case=index)
        name = f"chest_{index + 1:03d}"
        files = (f"images/{name}.png", f"masks/{name}.png")
        for array, file in zip((image, label), files, strict=True):
            (folder / file).parent.mkdir(exist_ok=True)
            Image.fromarray(array).save(folder / file)
        entries.append(CaseEntry(id=name, patient=name, images={"CXR": files[0]}, label=files[1], tags=list(tags)))
    return DatasetManifest(
        name="chest_xray",
        modalities=["CXR"],
        classes={0: "background", 1: "lung"},
        label_map={0: 0, LUNG: 1},
        notes=[
            f"procedural phantom chest_xray, seed {seed}, size {shown(size)}",
            "lungs without heart and mediastinum, above the diaphragm; fluid and opacities in them are labelled lung",
        ],
        cases=entries,
    )


def write_cardiac(folder: Path, cases: int, size: Size, seed: int, *, scanner: str | None) -> DatasetManifest:
    """One folder a patient, as in ACDC, with films and the contours of every frame."""
    from recurseg.data.phantoms.cardiac_files import write_acdc

    return write_acdc(folder, cases, size, seed, scanner=scanner)


def write_pathfinder(folder: Path, cases: int, size: Size, seed: int, *, length: int) -> DatasetManifest:
    """A folder a class, apart/NAME.png and connected/NAME.png, as readers of classified pictures expect."""
    from PIL import Image

    from recurseg.data.manifest import CaseEntry, DatasetManifest
    from recurseg.data.phantoms.pathfinder import CLASSES, pathfinder

    entries = []
    for name in CLASSES:
        (folder / name).mkdir()
    for index in range(cases):
        image, target = pathfinder(length=length, size=size, seed=seed, case=index)
        name = f"path_{index + 1:05d}"
        file = f"{CLASSES[target]}/{name}.png"
        Image.fromarray(image).save(folder / file)
        entries.append(CaseEntry(id=name, images={"picture": file}, target=target))
    return DatasetManifest(
        name="pathfinder",
        modalities=["picture"],
        classes=dict(enumerate(CLASSES)),
        notes=[f"procedural phantom pathfinder, contours of {length} paddles, seed {seed}, size {shown(size)}"],
        cases=entries,
    )


def _write_tiff(path: Path, array: np.ndarray, spacing: tuple[float, ...]) -> None:
    """A multi-page TIFF as ImageJ writes it, spacing (millimetres) given in micrometres."""
    import tifffile

    path.parent.mkdir(exist_ok=True)
    section, row, column = (1000 * mm for mm in spacing)
    tifffile.imwrite(
        path,
        array,
        imagej=True,
        resolution=(1 / column, 1 / row),
        metadata={"axes": "ZYX", "spacing": section, "unit": "um"},
    )


def _write_case(
    folder: Path, name: str, images: dict[str, np.ndarray], label: np.ndarray, spacing: tuple[float, ...]
) -> CaseEntry:
    """A folder of the case's own: MODALITY.nii.gz of each image, and labels.nii.gz."""
    from recurseg.data.manifest import CaseEntry

    for file, array in {**images, "labels": label}.items():
        _write_nifti(folder / name / f"{file}.nii.gz", array, spacing)
    files: dict[str, str | list[str]] = {modality: f"{name}/{modality}.nii.gz" for modality in images}
    return CaseEntry(id=name, patient=name, images=files, label=f"{name}/labels.nii.gz")


def _write_nifti(path: Path, array: np.ndarray, spacing: tuple[float, ...]) -> None:
    """A NIfTI file, RAS, the origin in the middle of the grid."""
    import nibabel

    path.parent.mkdir(exist_ok=True)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [-(n - 1) / 2 * s for n, s in zip(array.shape, spacing, strict=True)]
    image = nibabel.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)
