"""Single 2-D images (PNG, WebP, JPEG, BMP, GIF) through Pillow, as arrays (row, column)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from recurseg.data.case import Deferred, Volume
from recurseg.data.formats.header import check_budget, reading
from recurseg.data.formats.writing import finished
from recurseg.errors import DataError

SUFFIXES = (".png", ".webp", ".jpg", ".jpeg", ".bmp", ".gif")
EQUAL_CHANNELS = "colour channels are equal: read as grey"
"""Note of a file stored in colour; reading it is a ColourError where its channels differ."""

_TYPES = {"1": "u1", "L": "u1", "P": "u1", "I;16": "u2", "I;16B": "u2", "I;16L": "u2", "I": "i4", "F": "f4"}
_LOSSY_BLUR = 2
"""Grey levels by which the channels of a grey image differ once a lossy format has coded them as luma and chroma."""
_GREY = {*_TYPES, "LA"} - {"P"}
_COLOUR = ("RGB", "RGBA", "LA", "PA")
_NOTES = {
    "1": ("1-bit image: read as values 0 and 1",),
    "P": ("palette image: palette indices are the values",),
    "PA": ("palette image: palette indices are the values",),
    "LA": ("alpha channel left out",),
}


class ColourError(DataError):
    """A colour image where grey is meant."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path}: is a colour image where grey is meant; convert it to grey, or say in a dataset.yaml which "
            "modality is which of its channels (channels: {red: 0, green: 1, blue: 2})"
        )


def open_image(path: Path, *, max_bytes: int, channel: int | None = None) -> Volume:
    """Opens one 2-D image file; reads its header alone.

    1-bit and palette images keep their index values; colour modes are read as grey where the channels are equal.

    Args:
        path: The file.
        max_bytes: Budget of its pixels.
        channel: 0 red, 1 green or 2 blue of a colour image; of a grey one, all are its grey values.

    Raises:
        DataError: Not an image, several frames, a colour space without grey, or a header that claims more than
            `max_bytes`.
    """
    with reading(path, "an image"), _opened(path) as image:
        mode, (width, height), frames = image.mode, image.size, getattr(image, "n_frames", 1)
        stored = "u2" if mode == "I" and image.format == "PNG" else _TYPES.get(mode, "u1")
    if channel is None and mode not in _TYPES and mode not in _COLOUR:
        raise ColourError(path)
    if frames > 1:
        raise DataError(f"{path}: holds {frames} frames; save them as a TIFF stack or a folder of files")
    dtype = np.dtype(stored)
    if channel is None or mode in _GREY:
        read, planes = partial(_read, path, dtype), len(mode) if mode in _COLOUR else 1
        notes = _NOTES.get(mode, (EQUAL_CHANNELS,) if mode in _COLOUR else ())
    else:
        read, planes, notes = partial(_read_channel, path, channel), 3, ()
    check_budget(path, (height, width, planes), dtype, max_bytes)
    return Volume(
        array=Deferred((height, width), dtype, read),
        spacing=(1.0, 1.0),
        affine=None,
        path=path,
        format="image",
        spacing_known=False,
        notes=notes,
    )


def write_image(path: Path, labels: np.ndarray) -> Path:
    """Writes `(H, W)` uint8 or uint16 labels as PNG, compressed without loss."""
    from PIL import Image

    with finished(path) as part:
        Image.fromarray(labels).save(part, format="PNG")
    return path


def one_channel(
    path: Path, pixels: np.ndarray, channel_axis: int, channel: int | None = None, *, tolerance: int = 0
) -> np.ndarray:
    """One channel of a colour image, or the middle of channels that are equal; alpha (2nd or 4th) is left out.

    Args:
        path: The file, for the message.
        pixels: The image with its channels.
        channel_axis: Axis of the channels.
        channel: 0 red, 1 green, 2 blue; None means that the image is grey.
        tolerance: How far channels may lie apart in formats that blur grey a little.

    Raises:
        ColourError: No channel is given and they differ.
    """
    channels = np.moveaxis(pixels, channel_axis, 0)
    if len(channels) <= 2:
        return channels[0]
    if channel is not None:
        return channels[channel]
    ordered = np.sort(channels[:3], axis=0)
    if (ordered[2] - ordered[0]).max(initial=0) > tolerance:
        raise ColourError(path)
    return ordered[1]


def _read(path: Path, dtype: np.dtype, index) -> np.ndarray:
    with reading(path, "an image"), _opened(path) as image:
        pixels = np.asarray(image)
        blur = _LOSSY_BLUR if image.format in ("JPEG", "WEBP") else 0
    if pixels.ndim == 3:
        pixels = pixels[..., 0] if image.mode == "PA" else one_channel(path, pixels, -1, tolerance=blur)
    return np.array(pixels[index], dtype=dtype)


def _read_channel(path: Path, channel: int, index) -> np.ndarray:
    with reading(path, "an image"):
        return np.array(_colours(path, path.stat().st_mtime_ns)[..., channel][index])


@lru_cache(maxsize=1)
def _colours(path: Path, _modified: int) -> np.ndarray:
    """uint8 `(H, W, 3)`; kept until another file is read, as its channels are asked for one after the other."""
    with _opened(path) as image:
        return np.asarray(image.convert("RGB"))


_limit = threading.Lock()


@contextmanager
def _opened(path: Path) -> Iterator:
    """The image, header read; Pillow's own limit on pixels stands aside for the budget that readers check."""
    from PIL import Image

    with _limit:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(path)
        finally:
            Image.MAX_IMAGE_PIXELS = before
    with image:
        yield image
