"""Opening the files of one case as its manifest says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from recurseg.data.case import Case, Volume
from recurseg.data.formats import DEFAULT_MAX_BYTES, open_volume
from recurseg.data.formats.folder import open_folder
from recurseg.data.manifest import CaseEntry, DatasetManifest, Files
from recurseg.errors import DataError, did_you_mean


def open_case(manifest: DatasetManifest, entry: CaseEntry, root: Path, *, max_bytes: int = DEFAULT_MAX_BYTES) -> Case:
    """Opens the files of one case; a modality without a file is left out of its images.

    Args:
        manifest: Says modalities, spacing and label values.
        entry: The case.
        root: Folder that paths start from.
        max_bytes: A file whose header claims more is refused.

    Raises:
        DataError: A modality that the manifest does not name, or a file is missing or cannot be read.
    """
    for modality in entry.images:
        if modality not in manifest.modalities:
            known = did_you_mean(modality, manifest.modalities)
            raise DataError(f"case {entry.id}: modality {modality} is not one of the data set's{known}")
    images = {
        modality: _open(entry.images[modality], root, manifest, max_bytes, manifest.channels.get(modality))
        for modality in manifest.modalities
        if modality in entry.images
    }
    label = None if entry.label is None else _open(entry.label, root, manifest, max_bytes)
    volumes = [*images.values(), *([label] if label else [])]
    case = Case(
        entry.id,
        images,
        label,
        entry.patient or entry.id,
        dict(manifest.label_map),
        notes=tuple(dict.fromkeys(note for volume in volumes for note in volume.notes)),
        not_evaluated=tuple(manifest.not_evaluated),
        tags=tuple(entry.tags),
        modalities=tuple(manifest.modalities),
    )
    return case if entry.sections is None else _only(case, *entry.sections)


def _open(files: Files, root: Path, manifest: DatasetManifest, max_bytes: int, channel: int | None = None) -> Volume:
    paths = [root / name for name in ([files] if isinstance(files, str) else files)]
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: no such file")
    if isinstance(files, str):
        volume = open_volume(paths[0], max_bytes=max_bytes, channel=channel)
    else:
        volume = open_folder(paths[0].parent, files=paths, max_bytes=max_bytes, channel=channel)
    return volume if manifest.spacing is None else _with_spacing(volume, manifest.spacing)


def _with_spacing(volume: Volume, spacing: tuple[float, ...]) -> Volume:
    if len(spacing) != len(volume.shape):
        raise DataError(
            f"{volume.path}: has {len(volume.shape)} axes {volume.shape}, spacing in dataset.yaml has {len(spacing)}"
        )
    affine = volume.affine
    if affine is not None:
        affine = affine.copy()
        axes = len(spacing)
        affine[:3, :axes] *= np.asarray(spacing) / np.asarray(volume.spacing)
    return replace(volume, spacing=tuple(spacing), affine=affine, spacing_known=True)


def _only(case: Case, first: int, last: int) -> Case:
    """The case with some of its sections, under its own id."""
    axis = case.slice_axis
    if axis is None or not first <= last < case.shape[axis]:
        held = "is a single 2-D image" if axis is None else f"has sections 0-{case.shape[axis] - 1}"
        raise DataError(f"case {case.id}: {case.reference.path} {held}, not {first}-{last}: correct its sections")
    return replace(case.sections(first, last + 1), id=case.id)
