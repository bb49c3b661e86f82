"""`log.jsonl`: what happened in a training, one event a line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from recurseg.data.files import write_text


class Log:
    """Appends events to a file; a line that a kill cut short is left out when reading.

    Args:
        path: The file; None for a process that leaves the writing to another one.
        resume_at: Events of later steps are dropped: the resumed training writes them again.
    """

    def __init__(self, path: Path | None, resume_at: int = 0) -> None:
        self.file = None
        if path is None:
            return
        kept = [event for event in read_log(path) if event.get("step", 0) <= resume_at]
        write_text(path, "".join(json.dumps(event) + "\n" for event in kept))
        self.file = path.open("a", encoding="utf-8", buffering=1)

    def write(self, event: str, **values: Any) -> None:
        """Appends one event, such as `write("step", step=3, loss=0.5)`."""
        if self.file:
            self.file.write(json.dumps({"event": event, **values}) + "\n")

    def close(self) -> None:
        if self.file:
            os.fsync(self.file.fileno())
            self.file.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """All whole events of a log; none where the file is missing."""
    if not path.exists():
        return []
    events = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            events.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return events
