"""Wrong options, commands and values in recurseg's own words, with the nearest known one."""

from __future__ import annotations

import re
from typing import Any

from recurseg.errors import did_you_mean


def is_usage_error(error: Any) -> bool:
    """Tells whether typer raised this because the command line does not parse."""
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def explain_usage(error: Any) -> str:
    """Returns one line for a command line that does not parse.

    Args:
        error: The exception typer raised. Its classes moved between versions, so its attributes are what counts.
    """
    context = getattr(error, "ctx", None)
    text = " ".join(error.format_message().split())
    option = getattr(error, "option_name", None)
    command = re.search(r"No such command '(.*?)'", text)
    choice = re.search(r"Invalid value for (.+?): .*?'(.*)' is not one of (.+?)\.?$", text)
    if command and context:
        line = f"unknown command '{command[1]}'{did_you_mean(command[1], context.command.commands)}"
    elif option and context and text.startswith("No such option"):
        line = f"unknown option '{option}'{did_you_mean(option, _options(context))}"
    elif choice:
        known = re.findall(r"'(.*?)'", choice[3])
        line = f"{_plain(choice[1])} cannot be '{choice[2]}'{did_you_mean(choice[2], known)}"
    else:
        line = _rephrase(text)
    path = context.command_path if context else "recurseg"
    return f"{line} ({path} --help)"


def _options(context: Any) -> list[str]:
    return [name for parameter in context.command.get_params(context) for name in parameter.opts if name[0] == "-"]


def _rephrase(text: str) -> str:
    invalid = re.match(r"Invalid value for (.+?): (?:Value error, )?(.+)", text)
    line = f"{_plain(invalid[1])}: {_lower(invalid[2])}" if invalid else _lower(text)
    return line.rstrip(".")


def _plain(hint: str) -> str:
    return hint.replace("'", "")


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
