"""Montgomery and Shenzhen chest radiographs: `images/MCUCXR_0001_0.png`, lungs as `masks/MCUCXR_0001_0.png`."""

from __future__ import annotations

import re
from pathlib import Path

from recurseg.data.layouts import paired_folders
from recurseg.data.layouts.files import As, stem, volume_files
from recurseg.data.manifest import DatasetManifest


def recognise(root: Path, as_: As | None) -> DatasetManifest | None:
    """Recognises the radiographs by the names that both collections carry."""
    images, masks = root / "images", root / "masks"
    if as_ == "stack" or not (images.is_dir() and masks.is_dir()):
        return None
    files = volume_files(images)
    if not files or not all(re.fullmatch(r"(MCU|CHN)CXR_\d{4}_[01]", stem(f)) for f in files):
        return None
    manifest = paired_folders.recognise(root, "images")
    assert manifest is not None
    manifest.layout = "cxr_lung"
    manifest.modalities = ["CXR"]
    for case in manifest.cases:
        case.images = {"CXR": case.images["image"]}
    manifest.classes = {0: "background", 1: "lung"}
    manifest.label_map = {0: 0, 255: 1}
    manifest.notes.append("labels are {0, 255}: 255 is lung (class 1)")
    return manifest
