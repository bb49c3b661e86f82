"""Colour images: their channels become the modalities red, green and blue."""

from __future__ import annotations

from pathlib import Path

from recurseg.data.formats import is_colour
from recurseg.data.formats.folder import image_files
from recurseg.data.manifest import DatasetManifest, Files

CHANNELS = {"red": 0, "green": 1, "blue": 2}
LOOKED_AT = 16
"""Files of a data set that are looked into, spread over all of them."""


def with_channels(manifest: DatasetManifest, root: Path) -> DatasetManifest:
    """The manifest with three modalities where its only one holds colour images; else as it is.

    Args:
        manifest: As recognised.
        root: Folder that its paths start from.
    """
    if len(manifest.modalities) > 1:
        return manifest
    (modality,) = manifest.modalities
    files = [file for case in manifest.cases for file in _images(case.images[modality], root)]
    if not any(is_colour(file) for file in files[:: len(files) // LOOKED_AT + 1]):
        return manifest
    cases = [
        case.model_copy(update={"images": dict.fromkeys(CHANNELS, case.images[modality])}) for case in manifest.cases
    ]
    note = "colour images: their channels are the modalities red, green and blue"
    update = {"modalities": list(CHANNELS), "channels": CHANNELS, "cases": cases, "notes": [*manifest.notes, note]}
    return manifest.model_copy(update=update)


def _images(files: Files, root: Path) -> list[Path]:
    """The 2-D files that a case's image is made of, as far as it is."""
    if isinstance(files, list):
        return [root / name for name in files]
    path = root / files
    return image_files(path) if path.is_dir() else [path]
