"""What the command line promises whatever the command: one line, one exit code, one JSON document."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer

from recurseg import __version__
from recurseg.cli import main as cli
from recurseg.errors import ConfigError, DataError, InterruptedRun, ResourceError


class OutOfMemoryError(RuntimeError):
    """Named as torch names it."""


RAISED = {
    "config": (ConfigError("unknown key 'lrr'"), 2, "ConfigError", "error: unknown key 'lrr'"),
    "data": (DataError("case 12: label grid\ndiffers"), 3, "DataError", "error: case 12: label grid differs"),
    "resource": (ResourceError("disk full"), 4, "ResourceError", "error: disk full"),
    "stopped": (InterruptedRun("step 40 is kept"), 5, "InterruptedRun", "interrupted: step 40 is kept"),
    "ctrl-c": (KeyboardInterrupt(), 5, "InterruptedRun", "interrupted: no half-written file is left"),
    "memory": (MemoryError(), 4, "ResourceError", "error: out of memory"),
    "gpu memory": (OutOfMemoryError("CUDA out of memory"), 4, "ResourceError", "error: out of memory"),
    "cpu memory": (
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"),
        4,
        "ResourceError",
        "error: out of memory",
    ),
    "full disk": (
        OSError(errno.ENOSPC, "No space left on device", "out/a.nii"),
        4,
        "ResourceError",
        "error: no space left on the disk for out/a.nii",
    ),
    "read-only disk": (
        OSError(errno.EROFS, "Read-only file system", "out"),
        4,
        "ResourceError",
        "error: no permission for out",
    ),
    "forbidden": (PermissionError(errno.EACCES, "denied", "x"), 4, "ResourceError", "error: no permission for x"),
}


@pytest.fixture
def command(monkeypatch):
    """Puts a function in the place of all commands."""

    def install(function):
        app = typer.Typer(add_completion=False)
        app.callback()(lambda: None)
        app.command("work")(function)
        monkeypatch.setattr(cli, "build_command", lambda: typer.main.get_command(app))

    monkeypatch.delenv("RECURSEG_DEBUG", raising=False)
    return install


def raising(error):
    def work(json_: Annotated[bool, typer.Option("--json")] = False) -> None:
        raise error

    return work


@pytest.mark.parametrize("case", RAISED)
def test_a_failure_is_one_line_on_stderr_with_its_exit_code(case, command, capsys):
    error, code, _, line = RAISED[case]
    command(raising(error))
    assert cli.main(["work"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(line)
    assert err.count("\n") == 1


@pytest.mark.parametrize("case", RAISED)
def test_with_json_a_failure_is_one_document_on_stdout(case, command, capsys):
    error, code, kind, line = RAISED[case]
    command(raising(error))
    assert cli.main(["work", "--json"]) == code
    out, err = capsys.readouterr()
    found = json.loads(out)["error"]
    assert (found["code"], found["kind"]) == (code, kind)
    assert found["message"].startswith(line.split(": ", 1)[1])
    assert err == ""


def test_an_interrupted_training_says_how_to_go_on(monkeypatch, capsys):
    app = typer.Typer(add_completion=False)
    app.callback()(lambda: None)

    @app.command()
    def train(out: Annotated[Path, typer.Option()]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "build_command", lambda: typer.main.get_command(app))
    assert cli.main(["train", "--out", "my run"]) == 5
    assert "go on with 'recurseg train --resume --out 'my run''" in capsys.readouterr().err


def test_a_defect_is_one_line_and_its_traceback_lies_in_a_file(command, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    command(raising(ZeroDivisionError("division by zero")))
    assert cli.main(["work"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("internal error: ZeroDivisionError: division by zero: please report it; details in ")
    assert err.count("\n") == 1
    details = Path(err.rsplit("details in ", 1)[1].strip()).read_text()
    assert "Traceback (most recent call last)" in details
    assert f"recurseg {__version__}" in details


def test_debug_shows_the_traceback_and_keeps_the_exit_code(command, capsys, monkeypatch):
    command(raising(DataError("bad")))
    monkeypatch.setenv("RECURSEG_DEBUG", "1")
    assert cli.main(["work"]) == 3
    assert "Traceback" in capsys.readouterr().err


def work(
    data: Path,
    as_: Annotated[Literal["stack", "images"] | None, typer.Option("--as")] = None,
    steps: Annotated[int, typer.Option(min=1)] = 3,
) -> None:
    typer.echo(f"{data} {as_} {steps}")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["wrok"], "error: unknown command 'wrok'; did you mean 'work'?"),
        (["work", "d", "--step", "5"], "error: unknown option '--step'; did you mean '--steps'?"),
        (["work", "d", "--as", "stak"], "error: --as cannot be 'stak'; did you mean 'stack'?"),
        (["work", "d", "--as", "q"], "error: --as cannot be 'q'; known: images, stack"),
        (["work", "d", "--steps", "many"], "error: --steps: input should be a valid integer"),
        (["work", "d", "--steps"], "error: option '--steps' requires an argument"),
        (["work"], "error: missing argument"),
        (["work", "d", "e"], "error: got unexpected extra argument"),
        (["--foo"], "error: unknown option '--foo'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_command_line_names_the_nearest_known_word(arguments, line, command, capsys):
    command(work)
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(line)
    assert err.count("\n") == 1
    assert "--help)" in err


def test_a_wrong_command_line_with_json_is_a_document_too(command, capsys):
    command(work)
    assert cli.main(["work", "d", "--step", "5", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "ConfigError"


def test_a_command_that_works_returns_0(command, capsys):
    command(work)
    assert cli.main(["work", "d", "--as", "stack"]) == 0
    assert capsys.readouterr().out == "d stack 3\n"


def test_warnings_of_libraries_stay_off_the_terminal(command, capfd):
    def noisy() -> None:
        import logging

        warnings.warn("use the other function", FutureWarning, stacklevel=2)
        logging.getLogger("nibabel.global").warning("pixdim[1,2,3] should be positive")

    command(noisy)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert cli.main(["work"]) == 0
    assert capfd.readouterr() == ("", "")


def test_sigterm_ends_like_ctrl_c(command, capsys):
    def terminated() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    command(terminated)
    assert cli.main(["work"]) == 5
    assert capsys.readouterr().err.startswith("interrupted:")
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_reader_that_has_seen_enough_is_no_error():
    program = "import sys; from recurseg.cli.main import main; sys.exit(main(['--help']))"
    found = subprocess.run(
        ["bash", "-c", f'{sys.executable} -c "{program}" | true; exit ${{PIPESTATUS[1]}}'],
        capture_output=True,
        text=True,
    )
    assert found.stderr == ""


def test_without_arguments_the_help_is_shown(capsys):
    assert cli.main([]) == 0
    assert "Usage:" in capsys.readouterr().out


def test_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"recurseg {__version__}\n"


def test_the_help_lists_every_command_with_a_sentence(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("NO_COLOR", "1")
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for names in cli.PANELS.values():
        for name in names:
            assert re.search(rf"│ {name} +\w", shown), name


@pytest.mark.parametrize("name", [name for names in cli.PANELS.values() for name in names])
def test_every_command_has_help_and_json(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    assert cli.main([name, "--help"]) == 0
    assert "--json" in capsys.readouterr().out
