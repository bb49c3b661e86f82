"""Mending what can be mended safely: labels resampled, squeezed and mapped to classes in a new data set folder."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from recurseg.data.case import IGNORE, Case
from recurseg.data.case_files import open_case
from recurseg.data.dataset import Progress, open_dataset
from recurseg.data.formats import DEFAULT_MAX_BYTES, write_like
from recurseg.data.grid import grid_problem
from recurseg.data.labels import class_labels, complete_map
from recurseg.data.layouts.files import As
from recurseg.data.manifest import MANIFEST_NAME, CaseEntry, relative_path, relocate, write_manifest
from recurseg.errors import ConfigError, DataError, ResourceError

MAX_LOST = 0.1
"""Share of a label's foreground that may fall outside its image; more means that a header is wrong."""


@dataclass(frozen=True)
class Mended:
    """A new data set.

    Attributes:
        manifest: Its `dataset.yaml`.
        done: What was mended.
        left: What a person has to mend; these cases are not in the new data set.
    """

    manifest: Path
    done: list[str]
    left: list[str]


def mend_dataset(
    path: Path | str,
    out: Path | str,
    *,
    as_: As | None = None,
    max_bytes: int = DEFAULT_MAX_BYTES,
    progress: Progress | None = None,
) -> Mended:
    """Writes labels that fit their images into a new folder; images stay where they are and are referred to.

    Labels on another grid are resampled to the image's (nearest neighbour; voxels outside the label's field are
    ignored in losses and metrics), lose axes of length 1, and get classes as values.

    Args:
        path: Folder or `dataset.yaml` to mend.
        out: New folder, or an empty one.
        as_: How to take folders of 2-D files.
        max_bytes: A file whose header claims more is refused.
        progress: Called with cases done, cases in all, and the case at hand.

    Raises:
        DataError: The data set has no labels or no usable case.
        ConfigError: `out` is not empty.
        ResourceError: `out` cannot be written to.
    """
    out = Path(out).expanduser().absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out}: is not empty: name a new folder")
    dataset = open_dataset(path, as_=as_, max_bytes=max_bytes, on_error="collect")
    manifest = dataset.manifest
    if not manifest.classes:
        whole = next((failure.message for failure in dataset.failures), f"{dataset.root}: no labels")
        raise DataError(f"{whole}; nothing that '--fix' can mend")
    label_map = complete_map(manifest.label_map, len(manifest.classes))
    building = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    done, left, entries = [], [], []
    try:
        (building / "labels").mkdir(parents=True)
        for number, entry in enumerate(manifest.cases):
            if progress:
                progress(number, len(manifest.cases), entry.id)
            try:
                files = entry.model_copy(update={"sections": None})  # whole, so that sections stay what they are
                case = open_case(manifest, files, dataset.root, max_bytes=manifest.max_case_bytes or max_bytes)
                mended, what = _mend_case(replace(case, label_map=label_map), entry, building)
            except DataError as error:
                left.append(str(error) if entry.id in str(error) else f"case {entry.id}: {error}")
                continue
            entries.append((entry, mended))
            if what:
                done.append(f"case {entry.id}: {what}")
        if not entries:
            raise DataError(f"{dataset.root}: no case can be mended: {left[0]}")
        kept = {entry.id for entry, _ in entries}
        moved = relocate(manifest.model_copy(update={"cases": [e for e, _ in entries]}), dataset.root, out)
        cases = [
            case.model_copy(update={"label": label or case.label})
            for case, (_, label) in zip(moved.cases, entries, strict=True)
        ]
        update = {
            "cases": cases,
            "layout": "manifest",
            "label_map": {},
            "notes": [f"labels of {manifest.name} on the grid of the images, values are classes"],
            "splits": {name: [i for i in ids if i in kept] for name, ids in manifest.splits.items()},
        }
        write_manifest(moved.model_copy(update=update), building / MANIFEST_NAME)
        if out.exists():
            out.rmdir()
        os.replace(building, out)
    except OSError as error:
        raise ResourceError(f"{out}: cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return Mended(out / MANIFEST_NAME, done, left)


def _mend_case(case: Case, entry: CaseEntry, building: Path) -> tuple[str | None, str]:
    """Writes one mended label; its path in the new data set, and what was done."""
    problem = grid_problem(replace(case, label=None))
    if problem:
        raise DataError(problem)
    if case.label is None or entry.label is None:
        return None, ""
    classes = class_labels(case)
    what = ["values mapped to classes"] if any(v != c for v, c in case.label_map.items() if v in _seen(case)) else []
    if grid_problem(case):
        classes = _resample(case, classes)
        what.insert(0, "label resampled to the image grid")
    if any("squeezed" in note for note in case.label.notes):
        what.insert(0, "length-1 axis squeezed")
    written = write_like(building / "labels" / case.id, classes.astype(np.uint8), case.reference)
    return relative_path(written, building), ", ".join(what)


def _seen(case: Case) -> set[int]:
    assert case.label is not None
    return {int(value) for value in np.unique(case.label.array[...])}


def _resample(case: Case, classes: np.ndarray) -> np.ndarray:
    """Classes on the image's grid by way of the world; nearest neighbour."""
    from scipy.ndimage import affine_transform

    label, image = case.label, case.reference
    assert label is not None
    if label.affine is None or image.affine is None or classes.ndim != 3:
        raise DataError(grid_problem(case) or "")
    to_label = np.linalg.inv(label.affine) @ image.affine
    resampled = affine_transform(
        classes, to_label, output_shape=image.shape, order=0, mode="grid-constant", cval=IGNORE
    )
    before = np.count_nonzero((classes > 0) & (classes != IGNORE)) * float(np.prod(label.spacing))
    after = np.count_nonzero((resampled > 0) & (resampled != IGNORE)) * float(np.prod(image.spacing))
    if after < before * (1 - MAX_LOST):
        raise DataError(
            f"case {case.id}: {1 - after / before:.0%} of the foreground in {label.path} falls outside its image: "
            "one of the two headers is wrong; correct it by hand"
        )
    return resampled
