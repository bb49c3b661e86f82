"""Colour images: their channels become the modalities red, green and blue."""

from __future__ import annotations

from pathlib import Path

from recurseg.data.formats import is_colour, zarr
from recurseg.data.formats.folder import image_files
from recurseg.data.manifest import DatasetManifest, Files

CHANNELS = {"red": 0, "green": 1, "blue": 2}
LOOKED_AT = 16
"""Files of a data set that are looked into, spread over all of them."""


def with_channels(manifest: DatasetManifest, root: Path) -> DatasetManifest:
    """The manifest with a modality a channel where its only one holds colour images, or Zarr images of several.

    Args:
        manifest: As recognised.
        root: Folder that its paths start from.
    """
    if len(manifest.modalities) > 1:
        return manifest
    (modality,) = manifest.modalities
    files = [file for case in manifest.cases for file in _images(case.images[modality], root)]
    channels = next(filter(None, map(_channels, files[:: len(files) // LOOKED_AT + 1])), None)
    if channels is None:
        return manifest
    cases = [
        case.model_copy(update={"images": dict.fromkeys(channels, case.images[modality])}) for case in manifest.cases
    ]
    names = ", ".join(list(channels)[:-1]) + f" and {list(channels)[-1]}"
    note = f"{'colour images' if channels is CHANNELS else 'images of several channels'}: their channels are the "
    update = {"modalities": list(channels), "channels": channels, "cases": cases}
    return manifest.model_copy(update={**update, "notes": [*manifest.notes, f"{note}modalities {names}"]})


def _channels(file: Path) -> dict[str, int] | None:
    """The channels of an image by name, where it has several."""
    if zarr.is_store(file):
        return {name: number for number, name in enumerate(zarr.channels_in(file))} or None
    return CHANNELS if is_colour(file) else None


def _images(files: Files, root: Path) -> list[Path]:
    """The 2-D files that a case's image is made of, as far as it is."""
    if isinstance(files, list):
        return [root / name for name in files]
    path = root / files
    return image_files(path) if path.is_dir() and not zarr.is_store(path) else [path]
