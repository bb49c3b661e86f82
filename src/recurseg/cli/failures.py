"""Why a command ended early: an exception becomes an exit code and one line that says what to do."""

from __future__ import annotations

import errno
import json
import platform
import shlex
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import typer

from recurseg import __version__
from recurseg.cli.usage import explain_usage, is_usage_error
from recurseg.errors import ConfigError, InterruptedRun, RecursegError, ResourceError

_NO_PLACE = (errno.ENOSPC, errno.EDQUOT)
_NO_WRITING = (errno.EROFS, errno.EACCES, errno.EPERM)


@dataclass(frozen=True)
class Failure:
    """The end of a command that did not do what was asked.

    Attributes:
        code: Exit code.
        kind: Name of the error class, such as "DataError"; "InternalError" for a defect of recurseg.
        message: One line: what, where, what to do.
    """

    code: int
    kind: str
    message: str

    def as_line(self) -> str:
        """Returns the line for people, `error: ...` or `interrupted: ...`."""
        start = {"InterruptedRun": "interrupted", "InternalError": "internal error"}.get(self.kind, "error")
        return f"{start}: {self.message}"

    def as_json(self) -> str:
        """Returns the document that `--json` prints."""
        return json.dumps({"error": {"code": self.code, "kind": self.kind, "message": self.message}})


def explain_failure(error: BaseException, arguments: Sequence[str]) -> Failure:
    """Says what ended a command.

    Args:
        error: What was raised.
        arguments: Command line without the program name.

    Returns:
        Exit code, kind and line. A defect's traceback goes to a file that the line names.
    """
    if isinstance(error, RecursegError):
        return Failure(error.exit_code, type(error).__name__, _one_line(error))
    if is_usage_error(error):
        return Failure(ConfigError.exit_code, ConfigError.__name__, explain_usage(error))
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return Failure(InterruptedRun.exit_code, InterruptedRun.__name__, _way_on(arguments))
    lacking = _lacking_resource(error)
    if lacking:
        return Failure(ResourceError.exit_code, ResourceError.__name__, lacking)
    return Failure(1, "InternalError", _file_report(error, arguments))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _way_on(arguments: Sequence[str]) -> str:
    if "train" not in arguments[:1]:
        return "no half-written file is left: run the same command again"
    run = next((value for option, value in pairwise(arguments) if option in ("--out", "-o")), "RUN")
    go_on = shlex.join(["recurseg", "train", "--resume", "--out", run])
    return f"what was trained up to the last checkpoint is kept: go on with '{go_on}'"


def _lacking_resource(error: BaseException) -> str | None:
    if _is_out_of_memory(error):
        return "out of memory: close other programs or use smaller windows or batches"
    if isinstance(error, OSError) and error.errno in _NO_PLACE:
        return f"no space left on the disk{_of(error)}: free some or choose another folder"
    if isinstance(error, OSError) and error.errno in _NO_WRITING:
        return f"no permission{_of(error)}: change it or choose another folder"
    return None


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        words in text for words in ("out of memory", "can't allocate memory", "not enough memory")
    )


def _of(error: OSError) -> str:
    return f" for {error.filename}" if error.filename else ""


def _file_report(error: BaseException, arguments: Sequence[str]) -> str:
    head = (
        f"recurseg {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
        f"recurseg {shlex.join(arguments)}\n\n"
    )
    summary = f"{type(error).__name__}: {_one_line(error)}"
    details = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="recurseg-", suffix=".txt", encoding="utf-8", delete=False
        ) as file:
            file.write(head + details)
    except OSError:
        print(details, file=sys.stderr)
        return f"{summary}: please report it with the details above"
    return f"{summary}: please report it; details in {file.name}"
