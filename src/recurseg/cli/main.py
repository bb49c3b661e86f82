"""The command `recurseg`: collects the commands, and ends every failure in one line and a documented exit code."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.core import TyperGroup

from recurseg import __version__
from recurseg.cli.failures import Failure, explain_failure
from recurseg.cli.terminal import quiet_libraries, terminate_like_interrupt

PANELS = {
    "Look around": ("demo", "models", "phantom"),
    "From data to results": ("check", "plan", "train", "predict", "evaluate", "compare", "explain"),
    "Papers, insight, speed": ("reproduce", "bench"),
}
"""Heading in the help → commands; each is the function of the same name in `recurseg.cli.<name>`."""


def build_command() -> TyperGroup:
    """Returns the whole command line as one command object."""
    app = typer.Typer(
        name="recurseg",
        add_completion=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(recurseg)
    for panel, names in PANELS.items():
        for name in names:
            module = importlib.import_module(f"recurseg.cli.{name}")
            app.command(name, rich_help_panel=panel)(getattr(module, name))
    command = typer.main.get_command(app)
    assert isinstance(command, TyperGroup)
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        argv: Arguments without the program name; None takes those of the process.

    Returns:
        Exit code: 0 done, 1 a defect of recurseg, 2 usage or configuration, 3 input data, 4 memory, disk or
        permission, 5 interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    debug = os.environ.get("RECURSEG_DEBUG", "") not in ("", "0")
    with quiet_libraries(unless=debug), terminate_like_interrupt():
        try:
            with build_command().make_context("recurseg", list(arguments)) as context:
                context.command.invoke(context)
            sys.stdout.flush()
        except typer.Exit as done:
            return done.exit_code
        except BrokenPipeError:  # the reader, such as `head`, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except (Exception, KeyboardInterrupt) as error:
            if debug:
                traceback.print_exception(error)
            return _report(explain_failure(error, arguments), as_json="--json" in arguments)
    return 0


def _report(failure: Failure, *, as_json: bool) -> int:
    print(failure.as_json() if as_json else failure.as_line(), file=sys.stdout if as_json else sys.stderr)
    return failure.code


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"recurseg {__version__}")
        raise typer.Exit


def recurseg(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Biomedical image segmentation with networks that carry context through recurrence or slice attention.

    `recurseg demo` shows all of it on embedded data; `recurseg train DATA --out RUN` trains on yours.
    """
