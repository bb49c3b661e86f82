"""Every error that a user can cause: one line that says what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError


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


def first_problem(error: ValidationError, model: type[BaseModel]) -> str:
    """Returns what is wrong in a document and at which key, of the first of its mistakes.

    Args:
        error: What reading the document as `model` raised.
        model: The whole document's.
    """
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"unknown key '{place}'{did_you_mean(str(problem['loc'][-1]), _known_at(model, problem['loc'][:-1]))}"
    message = problem["msg"].removeprefix("Value error, ")
    if not place:
        return message
    if problem["type"] != "value_error":
        message = f"{message[0].lower()}{message[1:]}, not {reprlib.repr(problem['input'])}"
    return f"{place}: {message}" + (": write it in quotes" if problem["type"] == "string_type" else "")


def _known_at(model: Any, place: Iterable[str | int]) -> Iterable[str]:
    """The keys of the part of a document at `place`."""
    for part in place:
        if isinstance(part, str) and part in model.model_fields:
            found = model.model_fields[part].annotation
            model = next((a for a in getattr(found, "__args__", ()) if hasattr(a, "model_fields")), found)
    return model.model_fields
