"""ISBI 2012 membranes: 4 x 4 x 50 nm sections of fly nerve cord as `image/NN.png`, `label/NN.png`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recurseg.data.formats import open_volume
from recurseg.data.layouts import paired_folders
from recurseg.data.layouts.files import As, is_stack_folder, volume_files
from recurseg.data.manifest import DatasetManifest

SPACING = (50e-6, 4e-6, 4e-6)
"""Millimetres: sections 50 nm thick, pixels of 4 nm."""


def recognise(root: Path, as_: As | None) -> DatasetManifest | None:
    """Recognises the stack by its folder's name and its labels: 0 is membrane (the positive class), 255 cell."""
    image, label = root / "image", root / "label"
    if not root.name.lower().startswith("isbi2012") or not (image.is_dir() and label.is_dir()):
        return None
    if not (is_stack_folder(image) and is_stack_folder(label)) or not _is_membrane(volume_files(label)[0]):
        return None
    manifest = paired_folders.recognise(root, as_)
    assert manifest is not None
    manifest.layout = "isbi2012_em"
    manifest.modalities = ["EM"]
    for case in manifest.cases:
        case.images = {"EM": case.images["image"]}
    manifest.classes = {0: "cell", 1: "membrane"}
    manifest.label_map = {255: 0, 0: 1}
    manifest.spacing = SPACING[1:] if as_ == "images" else SPACING
    manifest.notes.append("label 0 is membrane (class 1), 255 is cell (class 0); voxels are 4 x 4 x 50 nm")
    return manifest


def _is_membrane(label: Path) -> bool:
    return set(np.unique(open_volume(label).array[...]).tolist()) <= {0, 255}
