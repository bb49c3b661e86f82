"""Every error that a user can cause: one line that says what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RecursegError(Exception):
    """Base of all errors a user can cause; the command line prints the message and exits with `exit_code`."""

    exit_code = 1


class ConfigError(RecursegError):
    """A wrong option, recipe, name or combination of them."""

    exit_code = 2


class DataError(RecursegError):
    """Input data that cannot be used as it is."""

    exit_code = 3


class ResourceError(RecursegError):
    """Memory, disk space or write permission is missing."""

    exit_code = 4


class InterruptedRun(RecursegError):
    """Stopped by the user; what was done is kept and can be resumed."""

    exit_code = 5


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns `"; did you mean 'x'?"` for the nearest known name, else the list of known names."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(known)}"
