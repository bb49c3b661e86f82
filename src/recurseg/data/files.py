"""Files that are whole or not there: written under a temporary name and renamed."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from recurseg.errors import ResourceError


def require_writable(folder: Path) -> None:
    """Makes sure, before any work, that a folder can be written, without making it.

    Raises:
        ResourceError: It cannot: no permission, a read-only disk, or a file is in the way.
    """
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise ResourceError(f"--out {folder}: cannot be written ({error.strerror}): choose another folder") from None


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically. Raises ResourceError as `write_bytes` does."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file atomically.

    Raises:
        ResourceError: If the folder cannot be written or the disk is full.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise ResourceError(f"{path}: cannot be written: {error.strerror or error}: choose another folder") from error


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file atomically. Raises ResourceError as `write_text` does."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
