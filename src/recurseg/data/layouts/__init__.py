"""Folder shapes that are recognised as they lie, without renaming files: one module a shape, most specific first."""

from __future__ import annotations

from pathlib import Path

from recurseg.data.layouts import (
    acdc,
    brats,
    camvid,
    case_folders,
    cxr_lung,
    ibsr18,
    isbi2012,
    isbi2015_ms,
    mnist,
    mrbrains,
    ms_lesions,
    nnunet,
    paired_folders,
    plain_folder,
    sunnybrook,
)
from recurseg.data.layouts.colour import with_channels
from recurseg.data.layouts.files import As
from recurseg.data.manifest import DatasetManifest
from recurseg.errors import DataError

PUBLISHED = (isbi2012, ibsr18, mrbrains, cxr_lung, ms_lesions, isbi2015_ms, mnist, brats, camvid, acdc, sunnybrook)
GENERAL = (nnunet, paired_folders, case_folders, plain_folder)
"""Each has `recognise(root, as_) -> DatasetManifest | None`; the general ones say in `EXPECTS` what they look for."""


def recognise(root: Path, as_: As | None = None) -> DatasetManifest:
    """Finds out what a folder holds.

    Args:
        root: The data set's folder.
        as_: How to take folders of 2-D files; None decides by their names.

    Returns:
        A manifest whose paths are relative to `root`; its classes are empty where only the label files tell them.

    Raises:
        DataError: Nothing in the folder is known, or what is there does not fit together.
    """
    try:
        if not any(path.name[0] != "." for path in root.iterdir()):
            raise DataError(f"{root}: the folder is empty")
        for layout in (*PUBLISHED, *GENERAL):
            manifest = layout.recognise(root, as_)
            if manifest is not None:
                return with_channels(manifest, root) if layout in (paired_folders, plain_folder) else manifest
    except OSError as error:
        raise DataError(f"{error.filename or root}: cannot be read: {error.strerror}") from None
    expected = "; ".join(layout.EXPECTS for layout in GENERAL)
    raise DataError(f"{root}: no known layout, seen: {_seen(root)}; expected: {expected}; or write a dataset.yaml")


def single_file(path: Path) -> DatasetManifest:
    """A data set of one case without a label: the image at `path`."""
    return with_channels(plain_folder.single_file(path), path.parent)


def _seen(root: Path) -> str:
    names = sorted(path.name + "/" * path.is_dir() for path in root.iterdir() if path.name[0] != ".")
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
