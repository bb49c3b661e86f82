"""Results appear under their final name whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recurseg.errors import ConfigError, RecursegError, ResourceError


class CannotWriteError(ResourceError):
    """The folder of results cannot be written or its disk is full: no other result can be written there either."""


@contextmanager
def finished(path: Path) -> Iterator[Path]:
    """Gives a temporary name beside `path` to write to, and renames it when the block ends well.

    The temporary name keeps the suffix, as writers choose the format by it.

    Raises:
        ResourceError: The folder cannot be made or written, or the disk is full.
    """
    part = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def finished_folder(path: Path, names: set[str]) -> Iterator[Path]:
    """As `finished`, for a folder that will hold files of these names.

    Raises:
        ConfigError: `path` exists and holds other files, which would be lost.
        ResourceError: As for `finished`.
    """
    if path.exists() and (not path.is_dir() or {f.name for f in path.iterdir()} - names):
        raise ConfigError(f"{path}: exists and holds other files; choose another output folder")
    part = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")
    old = path.with_name(f"{part.name}.old")
    with writing(path):
        part.mkdir(parents=True)
        try:
            yield part
            if path.exists():
                os.replace(path, old)
            os.replace(part, path)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(part, ignore_errors=True)
            if old.exists() and not path.exists():
                os.replace(old, path)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what the system or a writer refuses inside the block into one line that names `path`."""
    try:
        yield
    except RecursegError:
        raise
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:160]
        raise CannotWriteError(
            f"{path}: cannot be written ({reason}); free disk space or choose an output folder that can be written"
        ) from None
