"""Opening the files of one case as its manifest says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from recurseg.data.case import Case, Volume
from recurseg.data.formats import DEFAULT_MAX_BYTES, contours, format_of, open_volume
from recurseg.data.formats.dicom import open_series
from recurseg.data.formats.folder import open_folder
from recurseg.data.formats.hdf5 import split_address
from recurseg.data.label_frames import join_frames
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
        DataError: A modality that the manifest does not name, a file is missing or cannot be read, or a frame that
            the images do not have.
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
    label = _open_label(entry, next(iter(images.values())), root, manifest, max_bytes)
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
        phases=dict(entry.phases),
        target=entry.target,
    )
    for phase, frame in case.phases.items():
        if frame >= case.frames:
            held = "no frames: 0 is its only one" if case.time_axis is None else f"frames 0-{case.frames - 1}"
            raise DataError(f"case {case.id}: phase {phase} is frame {frame}, {case.reference.path} has {held}")
    return case if entry.sections is None else _only(case, *entry.sections)


def _open(files: Files, root: Path, manifest: DatasetManifest, max_bytes: int, channel: int | None = None) -> Volume:
    paths = [root / name for name in ([files] if isinstance(files, str) else files)]
    for path in paths:
        if not split_address(path)[0].exists():
            raise DataError(f"{path}: no such file")
    if isinstance(files, str):
        volume = open_volume(paths[0], max_bytes=max_bytes, channel=channel)
    elif format_of(paths[0]) == "dicom":
        volume = open_series(paths[0].parent, files=paths, max_bytes=max_bytes)
    else:
        volume = open_folder(paths[0].parent, files=paths, max_bytes=max_bytes, channel=channel)
    return _with_spacing(volume, manifest.spacing)


def _open_label(
    entry: CaseEntry, image: Volume, root: Path, manifest: DatasetManifest, max_bytes: int
) -> Volume | None:
    """The label of an image: a volume of its own, one of each labelled frame, or outlines of its sections."""
    if entry.label is None:
        return None
    if isinstance(entry.label, dict):
        stored = manifest.model_copy(update={"spacing": None})
        frames = {frame: _open(file, root, stored, max_bytes) for frame, file in sorted(entry.label.items())}
        return _with_spacing(join_frames(frames, image), manifest.spacing)
    if isinstance(entry.label, list) and entry.label[0].endswith(contours.SUFFIX):
        sections = next(iter(entry.images.values()))
        images = [sections] if isinstance(sections, str) else sections
        return contours.open_contours([root / name for name in entry.label], [Path(name) for name in images], image)
    return _open(entry.label, root, manifest, max_bytes)


def _with_spacing(volume: Volume, spacing: tuple[float, ...] | None) -> Volume:
    """The volume with the manifest's spacing, which of a cine may leave out the time."""
    if spacing is None:
        return volume
    axis = volume.time_axis
    if axis is not None and len(spacing) == len(volume.shape) - 1:
        spacing = (*spacing[:axis], volume.spacing[axis], *spacing[axis:])
    if len(spacing) != len(volume.shape):
        raise DataError(
            f"{volume.path}: has {len(volume.shape)} axes {volume.shape}, spacing in dataset.yaml has {len(spacing)}"
        )
    changed = replace(volume, spacing=tuple(spacing), spacing_known=True)
    if volume.affine is None:
        return changed
    affine, new, old = volume.affine.copy(), changed.frame(0).spacing, volume.frame(0).spacing
    affine[:3, : len(new)] *= np.asarray(new) / np.asarray(old)
    return replace(changed, affine=affine)


def _only(case: Case, first: int, last: int) -> Case:
    """The case with some of its sections, under its own id."""
    axis = case.slice_axis
    if axis is None or not first <= last < case.shape[axis]:
        held = "is a single 2-D image" if axis is None else f"has sections 0-{case.shape[axis] - 1}"
        raise DataError(f"case {case.id}: {case.reference.path} {held}, not {first}-{last}: correct its sections")
    return replace(case.sections(first, last + 1), id=case.id)
