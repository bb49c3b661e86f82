"""Checking a data set before anything is trained on it: geometry, intensities, labels, leakage, duplicates."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from recurseg.data.case import Case, Volume
from recurseg.data.check_report import CaseReport, CheckReport, Intensity
from recurseg.data.dataset import Progress, open_dataset
from recurseg.data.formats import DEFAULT_MAX_BYTES
from recurseg.data.labels import count_values
from recurseg.data.layouts.files import As
from recurseg.data.problems import dataset_problems, failure, fractions, intensity_problems, label_problems
from recurseg.data.slabs import slabs
from recurseg.errors import DataError


def check_dataset(
    path: Path | str,
    *,
    as_: As | None = None,
    max_bytes: int = DEFAULT_MAX_BYTES,
    progress: Progress | None = None,
) -> CheckReport:
    """Reads a whole data set; reports what is in it and what is wrong with it.

    Args:
        path: Folder, `dataset.yaml` or image file.
        as_: How to take folders of 2-D files.
        max_bytes: A file whose header claims more is refused.
        progress: Called before every case is opened, then before every file is read.

    Returns:
        Numbers for every case, and problems with the way to mend each. Slabs are read one by one, so volumes may be
        larger than memory.

    Raises:
        DataError: Nothing there, or no known layout.
        ConfigError: A mistake in `dataset.yaml`, or `as_` where it has no meaning.
    """
    dataset = open_dataset(path, as_=as_, max_bytes=max_bytes, on_error="collect", progress=progress)
    problems = [failure(broken.case, broken.message) for broken in dataset.failures]
    total = sum(len(case.images) + (case.label is not None) for case in dataset.cases)
    reports: list[CaseReport] = []
    contents: dict[str, list[str]] = {}
    repeats = list(dataset.manifest.channels)[1:]  # further channels of a file that the first one tells apart
    done = 0
    for case in dataset.cases:
        try:
            intensity = {}
            for modality, volume in case.images.items():
                if progress:
                    progress(done, total, case.id)
                intensity[modality], content = _measure(volume)
                if modality not in repeats:
                    contents.setdefault(content, []).append(f"{case.id} {modality}")
                done += 1
            counts: Mapping[int, int] | None = None
            if case.label is not None:
                if progress:
                    progress(done, total, case.id)
                counts = dataset.label_values.get(case.id) or count_values(case)
                done += 1
        except DataError as error:
            problems.append(failure(case.id, str(error)))
            continue
        shares = None
        if counts is not None and dataset.class_names:
            shares = fractions(case, counts, dataset.class_names)
            problems += label_problems(case, counts, dataset)
        reports.append(_report(case, intensity, shares, dataset.class_names))
        problems += intensity_problems(case, intensity)
    if progress:
        progress(total, total, "")
    problems += dataset_problems(dataset, reports, contents)
    manifest = dataset.manifest
    return CheckReport(
        name=manifest.name,
        root=str(dataset.root),
        layout=manifest.layout,
        modalities=dataset.modalities,
        classes=manifest.classes,
        label_map=manifest.label_map,
        splits={name: len(ids) for name, ids in manifest.splits.items()},
        notes=[note for note in dataset.notes if "no foreground" not in note],
        cases=reports,
        problems=sorted(problems, key=lambda problem: problem.severity),
    )


def _measure(volume: Volume) -> tuple[Intensity, str]:
    """Range of a volume's values, and a hash of its voxels."""
    content = hashlib.blake2b(repr(volume.shape).encode(), digest_size=16)
    low, high, total, finite, voxels = math.inf, -math.inf, 0.0, 0, 0
    for slab in slabs(volume):
        content.update(np.ascontiguousarray(slab).data)
        voxels += slab.size
        good = slab if slab.dtype.kind in "iub" else slab[np.isfinite(slab)]
        if good.size:
            low, high = min(low, float(good.min())), max(high, float(good.max()))
            total += float(good.sum(dtype=np.float64))
            finite += good.size
    if not finite:
        low = high = math.nan
    mean = total / finite if finite else math.nan
    return Intensity(minimum=low, maximum=high, mean=mean, not_finite=voxels - finite), content.hexdigest()


def _report(
    case: Case, intensity: dict[str, Intensity], fractions: dict[str, float] | None, class_names: list[str]
) -> CaseReport:
    reference = case.reference.frame(0)
    orientation = None
    if reference.affine is not None:
        from nibabel.orientations import aff2axcodes

        orientation = "".join(aff2axcodes(reference.affine))[: len(reference.shape)]
    return CaseReport(
        id=case.id,
        patient=case.patient,
        format=reference.format,
        shape=list(reference.shape),
        spacing_mm=list(reference.spacing),
        spacing_known=reference.spacing_known,
        orientation=orientation,
        intensity=intensity,
        fractions=fractions,
        frames=case.frames,
        frame_seconds=None if case.time_axis is None else case.spacing[case.time_axis],
        labelled_frames=list(case.labelled_frames),
        phases=dict(case.phases),
        target=None if case.target is None else class_names[case.target],
    )
