"""What every reader checks before it reads a voxel: budget, axes, geometry; and errors in one line."""

from __future__ import annotations

import gzip
import logging
import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from recurseg.errors import DataError, RecursegError, ResourceError

DEFAULT_MAX_BYTES = 32 * 2**30
"""The most bytes that one image may claim in its header: 32 GiB."""


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turns whatever a decoder raises inside the block into one line that names `path`.

    Decoders raise nearly anything on damaged input, hence the broad clause: this is the border behind which
    only errors of `recurseg.errors` are known.
    """
    try:
        yield
    except RecursegError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: does not exist; check the path") from None
    except PermissionError:
        raise DataError(f"{path}: no permission to read it; change its mode or owner") from None
    except MemoryError:
        raise ResourceError(f"{path}: does not fit into memory; close other programs or crop it") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise DataError(f"{path}: truncated or damaged ({reason}); copy or export it again") from None
    except Exception as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise DataError(f"{path}: cannot be read as {kind} ({reason}); copy or export it again") from None


@contextmanager
def quiet(library: str) -> Iterator[None]:
    """Keeps a library's log silent inside the block: what it would say about a file is left to the error."""
    log = logging.getLogger(library)
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        log.setLevel(level)


def check_budget(path: Path, shape: Sequence[int], dtype: np.dtype, max_bytes: int) -> int:
    """Returns the bytes of an array of `shape`; a DataError where they exceed `max_bytes`. Allocates nothing."""
    claimed = math.prod(int(n) for n in shape) * dtype.itemsize
    if claimed <= 0:
        raise DataError(f"{path}: its header claims an empty image {tuple(shape)}; export it again")
    if claimed > max_bytes:
        raise DataError(
            f"{path}: its header claims {readable_bytes(claimed)}, more than the budget of "
            f"{readable_bytes(max_bytes)}; if that is true raise max_bytes, else export it again"
        )
    return claimed


def check_length(path: Path, needed: int) -> None:
    """A DataError where the file has fewer bytes than its header claims."""
    size = path.stat().st_size
    if size < needed:
        raise DataError(
            f"{path}: truncated ({size} of {needed} bytes that its header claims); copy or export it again"
        )


def kept_axes(path: Path, shape: Sequence[int]) -> tuple[int, ...]:
    """The axes of a file's array that stay once axes of length 1 are squeezed, at least two.

    Raises:
        DataError: A fourth or later axis is longer than 1, or more than three axes.
    """
    if len(shape) > 3 and any(n > 1 for n in shape[3:]):
        raise DataError(
            f"{path}: has {len(shape)} axes {tuple(shape)} where a 3-D image is meant; "
            "save each frame or channel as a file of its own"
        )
    kept = [axis for axis, n in enumerate(shape) if n != 1]
    for axis in range(len(shape)):
        if len(kept) < 2 and axis not in kept:
            kept.append(axis)
    if len(kept) < 2:
        raise DataError(f"{path}: has shape {tuple(shape)} where a 2-D or 3-D image is meant; export it again")
    return tuple(sorted(kept))


def squeeze_note(shape: Sequence[int], kept: Sequence[int]) -> tuple[str, ...]:
    """Says which axes of length 1 were squeezed, if any."""
    if len(kept) == len(shape):
        return ()
    return (f"length-1 axis squeezed: {tuple(shape)} read as {tuple(shape[a] for a in kept)}",)


def squeezed_affine(affine: np.ndarray, kept: Sequence[int]) -> np.ndarray:
    """The affine with the columns of kept axes first; a squeezed axis without extent gets a unit normal."""
    spatial = [a for a in kept if a < 3]
    order = spatial + [a for a in range(3) if a not in spatial]
    result = affine.astype(np.float64, copy=True)
    result[:3, :3] = affine[:3, order]
    if len(spatial) == 2 and not result[:3, 2].any():
        normal = np.cross(result[:3, 0], result[:3, 1])
        length = np.linalg.norm(normal)
        result[:3, 2] = normal / length if length > 0 else 0.0
    return result


def check_affine(path: Path, affine: np.ndarray) -> tuple[float, ...]:
    """Returns the voxel size along the three columns of an affine.

    Args:
        path: The file, for the message.
        affine: 4×4 matrix from index to world.

    Raises:
        DataError: Not finite, a column of zeros, singular, or columns that are not orthogonal beyond 1e-3.
    """
    matrix = affine[:3, :3]
    if not np.isfinite(affine).all():
        raise DataError(f"{path}: its affine holds NaN or infinity; set its geometry anew and save it again")
    lengths = np.linalg.norm(matrix, axis=0)
    if not lengths.all():
        raise DataError(f"{path}: its affine has voxels of size zero; set its geometry anew and save it again")
    cosines = (matrix / lengths).T @ (matrix / lengths) - np.eye(3)
    if abs(np.linalg.det(matrix / lengths)) < 1e-3:
        raise DataError(f"{path}: its affine is singular; set its geometry anew and save it again")
    if np.abs(cosines).max() > 1e-3:
        raise DataError(f"{path}: its affine is sheared (axes not orthogonal); resample it to an orthogonal grid")
    return tuple(float(length) for length in lengths)


def check_spacing(path: Path, spacing: Sequence[float]) -> tuple[float, ...]:
    """Returns `spacing` as floats; a DataError where a voxel size is zero, negative or not finite."""
    if not all(math.isfinite(s) and s > 0 for s in spacing):
        shown = ", ".join(f"{s:g}" for s in spacing)
        raise DataError(f"{path}: voxel spacing ({shown}) must be positive; correct it and save the file again")
    return tuple(float(s) for s in spacing)


def readable_bytes(count: float) -> str:
    """`1536` as `1.5 KiB`."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024:
            return f"{count:.4g} {unit}"
        count /= 1024
    return f"{count:.4g} PiB"
