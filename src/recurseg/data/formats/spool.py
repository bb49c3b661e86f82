"""Temporary files for what cannot be sliced where it lies: decompressed once, removed with the array."""

from __future__ import annotations

import atexit
import math
import os
import shutil
import tempfile
import time
import uuid
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np

from recurseg.data.formats.header import readable_bytes
from recurseg.data.formats.lazy import DiskArray
from recurseg.errors import ResourceError

try:
    import fcntl
except ImportError:  # Windows: nothing is swept there
    fcntl = None

_PREFIX = "recurseg-spool-"


class Spool(os.PathLike[str]):
    """A temporary file that is filled when its path is first asked for, and removed with this object.

    Worker processes that were forked or got a pickled copy use the same file; only the process that made the
    spool removes it.

    Args:
        source: The file that is spooled, for messages.
        size: Bytes that will be written.
        chunks: Gives the raw voxels piece by piece, with errors already turned into those of `recurseg.errors`; what
            is missing to `size` is 0.
    """

    def __init__(self, source: Path, size: int, chunks: Callable[[], Iterable[bytes | memoryview]]) -> None:
        self.source, self.size, self.chunks = source, size, chunks
        self.path = _folder() / uuid.uuid4().hex
        weakref.finalize(self, _remove, self.path, os.getpid())

    def __fspath__(self) -> str:
        if not self.path.exists():
            self._make()
        return str(self.path)

    def _make(self) -> None:
        advice = f"free space in {self.path.parent.parent} or set TMPDIR to a larger disk"
        part = self.path.with_name(f"{self.path.name}.{uuid.uuid4().hex}")
        try:
            free = shutil.disk_usage(self.path.parent).free
            if free < self.size:
                raise ResourceError(
                    f"{self.source}: needs {readable_bytes(self.size)} of temporary disk, "
                    f"{readable_bytes(free)} are free; {advice}"
                )
            with part.open("wb") as handle:
                for chunk in self.chunks():
                    handle.write(chunk)
                handle.truncate(self.size)
            os.replace(part, self.path)
        except OSError as error:
            raise ResourceError(f"{self.source}: cannot be spooled ({error.strerror}); {advice}") from None
        finally:
            part.unlink(missing_ok=True)


def scratch(source: Path, shape: tuple[int, ...], dtype: np.dtype | type) -> DiskArray:
    """An array of zeros on disk, to fill in; its file goes with it.

    Args:
        source: What it is made from, for messages.
        shape: Its last axis runs fastest.
        dtype: Of a value.
    """
    dtype = np.dtype(dtype)
    return DiskArray(source, Spool(source, math.prod(shape) * dtype.itemsize, lambda: ()), shape, dtype)


def _remove(path: Path, owner: int) -> None:
    if os.getpid() == owner:
        with suppress(OSError):
            path.unlink()


@cache
def _folder() -> Path:
    """This program's spool folder, removed at exit; those that killed programs left behind are removed now."""
    try:
        base = Path(tempfile.gettempdir())
        for old in base.glob(f"{_PREFIX}*"):
            if _abandoned(old):
                shutil.rmtree(old, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        lock = (folder / "lock").open("wb")
    except OSError as error:
        raise ResourceError(
            f"no temporary folder ({error.strerror}): set TMPDIR to one that can be written"
        ) from None
    if fcntl:
        fcntl.flock(lock, fcntl.LOCK_EX)
    atexit.register(_close, lock, os.getpid())
    return folder


def _close(lock: BinaryIO, owner: int) -> None:
    lock.close()
    if os.getpid() == owner:
        shutil.rmtree(Path(lock.name).parent, ignore_errors=True)


def _abandoned(folder: Path) -> bool:
    """True where no living process, nor a worker of it, holds the folder's lock."""
    if not fcntl:
        return False
    try:
        if time.time() - folder.stat().st_mtime < 60:
            return False
        with (folder / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False
