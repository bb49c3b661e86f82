"""Writing a text file as a whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from recurseg.errors import ResourceError


def write_text(path: Path | str, write: Callable[[IO[str]], Any]) -> Path:
    """Calls `write(stream)` on a temporary file beside `path` and renames it to `path`.

    Raises:
        ResourceError: Where the folder cannot be written to.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8", newline="") as stream:
            write(stream)
        os.replace(temporary, path)
    except OSError as error:
        raise ResourceError(f"{path}: cannot be written ({error.strerror}): choose another place") from None
    finally:
        temporary.unlink(missing_ok=True)
    return path
