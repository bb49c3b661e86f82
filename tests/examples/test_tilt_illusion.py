"""The tilt illusion: its script runs, and what it tells can be so."""

import json
import runpy
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "tilt_illusion.py"


@pytest.fixture(scope="module")
def tilt(tmp_path_factory):
    """The folder that a quick run of the tilt illusion writes."""
    out = tmp_path_factory.mktemp("tilt")
    command = [sys.executable, SCRIPT, out, "--quick"]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    return out


def test_the_tilt_illusion_is_drawn_and_told_before_and_after_training_and_without_kernels(tilt):
    told = json.loads((tilt / "tilt_illusion.json").read_text())
    assert list(told["networks"]) == ["before training", "trained", "trained, then kernels cut"]
    for networks in told["networks"].values():
        assert np.shape([network["away"] for network in networks]) == (2, len(told["tilts"]))
    assert ElementTree.parse(tilt / "tilt_illusion.svg").getroot().tag.endswith("svg")


def test_no_surround_turns_a_centre_whose_cells_hear_nothing_of_it(tilt):
    networks = json.loads((tilt / "tilt_illusion.json").read_text())["networks"]
    assert all(not np.any(network["away"]) for network in networks["trained, then kernels cut"])
    assert all(np.any(network["away"]) for network in networks["trained"])


def test_the_decoder_reads_a_lone_grating_to_a_few_degrees(tilt):
    networks = json.loads((tilt / "tilt_illusion.json").read_text())["networks"]
    assert max(network["decoder's error"] for each in networks.values() for network in each) < 10


@pytest.mark.parametrize(
    ("each", "says"),
    [
        ([1.0, 2.0, 3.0], "+2.00° away (95 % -0.48 to +4.48): neither way beyond chance"),
        ([2.9, 3.0, 3.1], "+3.00° away (95 % +2.75 to +3.25): repulsion"),
        ([-2.9, -3.0, -3.1], "-3.00° away (95 % -3.25 to -2.75): attraction"),
    ],
)
def test_an_effect_of_the_surround_is_one_that_three_networks_share(each, says):
    # Student's t of 2 degrees of freedom is 4.303 at 97.5 %, the standard errors are 1 / √3 and 0.1 / √3
    script = runpy.run_path(str(SCRIPT))
    curves = np.where((script["TILTS"] >= 15) & (script["TILTS"] <= 30), np.array(each)[:, None], 50)
    assert script["effect"](curves, 15, 30) == f"15 to 30°: {says}"
