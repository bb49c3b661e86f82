"""Which phantoms there are, and writing one as files that any reader of the format understands."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recurseg.errors import ConfigError, ResourceError, did_you_mean

if TYPE_CHECKING:
    from recurseg.data.manifest import DatasetManifest

Size = tuple[int, int, int]


@dataclass(frozen=True)
class Phantom:
    """One kind of made-up data set.

    Attributes:
        name: What `recurseg phantom` calls it.
        summary: One line on what it shows and how it is written.
        cases: Cases where the user does not say.
        size: Slices, rows, columns where the user does not say; with 1 slice it makes pictures, never more slices.
        smallest: Least slices, rows, columns.
        write: `(folder, cases, size, seed)` → the manifest of the files that it wrote into the folder.
    """

    name: str
    summary: str
    cases: int
    size: Size
    smallest: Size
    write: Callable[[Path, int, Size, int], DatasetManifest]


def write_phantom(name: str, out: Path, *, cases: int | None = None, size: Size | None = None, seed: int = 0) -> Path:
    """Writes a procedural data set in a real format, with a `dataset.yaml` beside the files.

    The images are a pure function of (name, seed, case index, size). The folder appears when it is complete.

    Args:
        name: A name in `PHANTOMS`.
        out: Folder to make; it must not exist or be empty.
        cases: Number of cases; None is the phantom's own.
        size: Slices, rows, columns; None is the phantom's own.
        seed: Not negative.

    Returns:
        The folder.

    Raises:
        ConfigError: An unknown name; cases, size or seed that make no sense; a folder with files in it.
        ResourceError: The folder cannot be written or the disk is full.
    """
    from recurseg.data.manifest import MANIFEST_NAME, write_manifest

    if name not in PHANTOMS:
        raise ConfigError(f"unknown phantom '{name}'{did_you_mean(name, PHANTOMS)}")
    phantom = PHANTOMS[name]
    cases, size = phantom.cases if cases is None else cases, phantom.size if size is None else size
    if cases < 1:
        raise ConfigError(f"phantom {name}: {cases} cases asked for, at least 1 is needed")
    if len(size) != 3 or any(n < least for n, least in zip(size, phantom.smallest, strict=True)):
        raise ConfigError(f"phantom {name}: size {_shown(size)} is below the least, {_shown(phantom.smallest)}")
    if phantom.size[0] == 1 and size[0] > 1:
        raise ConfigError(f"phantom {name}: makes pictures of 1 slice, not {size[0]}; ask for more cases instead")
    if seed < 0:
        raise ConfigError(f"phantom {name}: seed {seed} is negative")
    out = Path(out)
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ConfigError(f"{out}: not an empty folder; name a new one for phantom {name}")
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.absolute().parent))
        try:
            write_manifest(phantom.write(unfinished, cases, size, seed), unfinished / MANIFEST_NAME)
            unfinished.chmod(0o755)
            if out.exists():
                out.rmdir()
            os.replace(unfinished, out)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise ResourceError(f"{out}: cannot be written: {error.strerror}: choose another folder") from None
    return out


def _shown(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size))


def _write_em(folder: Path, cases: int, size: Size, seed: int) -> DatasetManifest:
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
        notes=[f"procedural phantom em_membranes, seed {seed}, size {_shown(size)}"],
        cases=entries,
    )


def _write_brain(folder: Path, cases: int, size: Size, seed: int) -> DatasetManifest:
    """One folder a case: T1.nii.gz, IR.nii.gz, FLAIR.nii.gz, labels.nii.gz."""
    from recurseg.data.manifest import CaseEntry, DatasetManifest
    from recurseg.data.phantoms.brain_tissue import CLASSES, SIGNAL, brain_tissue

    entries = []
    for index in range(cases):
        images, label, spacing = brain_tissue(size=size, seed=seed, case=index)
        name = f"case_{index + 1:02d}"
        for file, array in {**images, "labels": label}.items():
            _write_nifti(folder / name / f"{file}.nii.gz", array, spacing)
        files = {modality: f"{name}/{modality}.nii.gz" for modality in images}
        entries.append(CaseEntry(id=name, patient=name, images=dict(files), label=f"{name}/labels.nii.gz"))
    return DatasetManifest(
        name="brain_tissue",
        modalities=list(SIGNAL),
        classes=dict(enumerate(CLASSES)),
        notes=[f"procedural phantom brain_tissue, seed {seed}, size {_shown(size)}"],
        cases=entries,
    )


def _write_tumour(folder: Path, cases: int, size: Size, seed: int) -> DatasetManifest:
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
        notes=[f"procedural phantom brain_tumour, seed {seed}, size {_shown(size)}"],
        cases=entries,
    )


def _write_chest(folder: Path, cases: int, size: Size, seed: int) -> DatasetManifest:
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
            f"procedural phantom chest_xray, seed {seed}, size {_shown(size)}",
            "lungs without heart and mediastinum, above the diaphragm; fluid and opacities in them are labelled lung",
        ],
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


def _write_nifti(path: Path, array: np.ndarray, spacing: tuple[float, ...]) -> None:
    """A NIfTI file, RAS, the origin in the middle of the grid."""
    import nibabel

    path.parent.mkdir(exist_ok=True)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [-(n - 1) / 2 * s for n, s in zip(array.shape, spacing, strict=True)]
    image = nibabel.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)


PHANTOMS: dict[str, Phantom] = {
    phantom.name: phantom
    for phantom in (
        Phantom(
            "em_membranes",
            "serial-section electron microscopy of nerve tissue, 4 x 4 x 50 nm: cell membranes (TIFF)",
            cases=1,
            size=(20, 256, 256),
            smallest=(1, 32, 32),
            write=_write_em,
        ),
        Phantom(
            "brain_tissue",
            "brain MR in T1, IR and FLAIR, 144 x 230 x 230 mm: CSF, grey and white matter (NIfTI)",
            cases=4,
            size=(32, 96, 96),
            smallest=(8, 32, 32),
            write=_write_brain,
        ),
        Phantom(
            "brain_tumour",
            "brain MR in FLAIR, T1, T1c and T2, 144 x 230 x 230 mm: tissues of a glioma, as in BraTS (NIfTI)",
            cases=8,
            size=(40, 120, 120),
            smallest=(8, 32, 32),
            write=_write_tumour,
        ),
        Phantom(
            "chest_xray",
            "chest radiographs of adults and children, a third with effusion, lesion or device: lungs (PNG)",
            cases=24,
            size=(1, 256, 256),
            smallest=(1, 64, 64),
            write=_write_chest,
        ),
    )
}
"""Name → phantom."""
