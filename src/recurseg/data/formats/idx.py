"""IDX files, the form in which MNIST is published: stacks of 8-bit images, and vectors of labels."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from recurseg.data.case import Volume
from recurseg.data.formats.header import check_budget, kept_axes, reading, squeeze_note
from recurseg.data.formats.lazy import RawArray
from recurseg.data.formats.spool import Spool
from recurseg.errors import DataError

SUFFIXES = ("-idx3-ubyte.gz", "-idx3-ubyte", ".idx3-ubyte.gz", ".idx3-ubyte")

_BYTES = 0x08
"""Code of unsigned bytes, the only values that the published files hold."""
_CHUNK = 2**22


def open_idx(path: Path, *, max_bytes: int) -> Volume:
    """Opens a stack of images `(n, H, W)`; reads its header alone.

    A plain file is mapped; a compressed one is unpacked to a temporary file at the first `[...]`.

    Raises:
        DataError: No IDX file of three axes of bytes, a header that claims more than `max_bytes`, or another number
            of bytes than it claims.
    """
    shape, offset = _header(path, axes=3)
    size = check_budget(path, shape, np.dtype(np.uint8), max_bytes)
    kept = kept_axes(path, shape)
    packed = _is_packed(path)
    if not packed:
        _check_size(path, path.stat().st_size - offset, size)
    file = Spool(path, size, partial(_voxels, path, offset, size)) if packed else path
    return Volume(
        array=RawArray(path, file, tuple(shape[axis] for axis in kept), np.dtype(np.uint8), 0 if packed else offset),
        spacing=(1.0,) * len(kept),
        affine=None,
        path=path,
        format="idx",
        stack_axis=0 if len(kept) == 3 else None,
        spacing_known=False,
        notes=squeeze_note(shape, kept),
    )


def read_labels(path: Path) -> np.ndarray:
    """Reads a vector of labels (`*-idx1-ubyte`, also compressed): uint8 `(n,)`.

    Raises:
        DataError: No IDX file of one axis of bytes, or another number of bytes than its header claims.
    """
    (count,), offset = _header(path, axes=1)
    return np.frombuffer(b"".join(_voxels(path, offset, count)), np.uint8)


def _header(path: Path, *, axes: int) -> tuple[tuple[int, ...], int]:
    """Length of each axis, and the byte at which the values begin."""
    length = 4 + 4 * axes
    with reading(path, "IDX"), _opened(path) as file:
        head = file.read(length)
    expected = bytes((0, 0, _BYTES, axes))
    if head[:4] != expected:
        raise DataError(
            f"{path}: is no IDX file of bytes with {axes} {'axis' if axes == 1 else 'axes'} (it begins with "
            f"{head[:4].hex(' ') or 'nothing'}, not {expected.hex(' ')}); copy or export it again"
        )
    if len(head) < length:
        raise DataError(f"{path}: truncated ({len(head)} of {length} bytes of its header); copy or export it again")
    return struct.unpack(f">{axes}I", head[4:]), length


def _voxels(path: Path, offset: int, size: int) -> Iterator[bytes]:
    """The values piece by piece; a DataError where there are more or fewer than `size`."""
    with reading(path, "IDX"), _opened(path) as file:
        file.seek(offset)
        found = 0
        while chunk := file.read(min(_CHUNK, size + 1 - found)):
            found += len(chunk)
            if found > size:
                break
            yield chunk
    _check_size(path, found, size)


def _check_size(path: Path, found: int, size: int) -> None:
    if found != size:
        what = "truncated" if found < size else "damaged"
        held = f"{found}" if found < size else f"more than {size}"
        raise DataError(
            f"{path}: {what} ({held} bytes of values where its header claims {size}); copy or export it again"
        )


def _is_packed(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def _opened(path: Path):
    return gzip.open(path) if _is_packed(path) else path.open("rb")
