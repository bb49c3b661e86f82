"""Importing recurseg and asking for help stay light: nothing of weight is loaded for them."""

import subprocess
import sys

import pytest

import recurseg

HEAVY = ("torch", "monai", "matplotlib", "nibabel", "SimpleITK", "skimage", "scipy", "PIL", "numpy")


def loaded_by(program: str) -> set[str]:
    shown = "import sys; print('\\nLOADED', *sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", f"{program}\n{shown}"], capture_output=True, text=True, check=True
    ).stdout
    return {name.partition(".")[0] for name in found.rsplit("LOADED", 1)[1].split()}


def test_import_recurseg_loads_no_heavy_library():
    assert loaded_by("import recurseg").isdisjoint(HEAVY)


@pytest.mark.parametrize("command", [[], *([name] for name in ("train", "predict", "evaluate", "phantom"))])
def test_help_loads_no_heavy_library(command):
    program = f"from recurseg.cli.main import main; main({[*command, '--help']})"
    assert loaded_by(program).isdisjoint(HEAVY)


@pytest.mark.parametrize("name", recurseg.__all__)
def test_every_public_name_is_there_and_documented(name):
    assert getattr(recurseg, name).__doc__
    assert name in dir(recurseg)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'segment'"):
        recurseg.segment  # noqa: B018
