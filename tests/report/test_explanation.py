"""The page of an explanation as a reader gets it, its figures and its numbers; the command that writes them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from recurseg.cli.main import main
from recurseg.explain import Part, Picture
from recurseg.inference import PackageSpec, save_package
from recurseg.models import create_model
from recurseg.preprocess import Preprocessing
from recurseg.report.colours import SOURCES, colour, heat_colours
from recurseg.report.figures import shown_ratio, write_figure


@pytest.fixture
def package(tmp_path: Path):
    """Writes a package of an untrained model."""

    def write(model: str = "pyramid_lstm", dims: int = 3, *, zeros: bool = False, **options) -> Path:
        if model == "pyramid_lstm":
            options = {"widths": (2, 2), "pixelwise": (3,), "kernel": 3, "spatial_dims": dims} | options
        torch.manual_seed(0)
        network = create_model(model, in_channels=1, num_classes=2, **options)
        if zeros:
            for parameter in network.parameters():
                torch.nn.init.zeros_(parameter)
        spec = PackageSpec(
            model=model,
            options=options,
            in_channels=1,
            num_classes=2,
            modalities=["image"],
            class_names=["cell", "membrane"],
            preprocessing=Preprocessing(),
            window=(4, 24, 24)[-dims:],
        )
        return save_package(tmp_path / "package", network, spec)

    return write


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """A TIFF volume of six sections of noise."""
    import tifffile

    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.random.default_rng(0).integers(0, 255, (6, 32, 30), dtype=np.uint8))
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A PNG image of noise."""
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 32), dtype=np.uint8)).save(path)
    return path


def run(*arguments: object, capsys) -> tuple[int, str, str]:
    status = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_a_volume_s_page_is_one_file_with_every_part_and_loads_nothing(package, stack, tmp_path, capsys):
    out = tmp_path / "why"
    status, printed, _ = run(
        "explain", package(block=(2, 2)), stack, "--out", out, "--voxel", "3,20,7", capsys=capsys
    )
    assert status == 0
    assert "voxel 3, 20, 7" in printed
    page = (out / "explain.html").read_text()
    assert not re.search(r"https?://|//cdn|@import|url\(", page)
    assert set(re.findall(r'src="(.{5})', page)) == {"data:"}
    for heading in ("Where the answer comes from", "pyramids of layer 2", "pyramids of layer 1", "through one sweep"):
        assert heading in page
    for axis in ("section", "row", "column"):
        assert f"Hidden planes, {axis} by {axis}" in page
    assert page.count("<input id=") == 7  # sections, two layers' pyramids, layers, three axes of hidden planes

    numbers = json.loads((out / "explain.json").read_text())
    assert numbers["voxel"] == [3, 20, 7]
    assert len(numbers["sweeps"]) == 12
    for layer in (1, 2):
        shares = [row["share_image"] for row in numbers["sweeps"] if row["layer"] == layer]
        assert sum(shares) == pytest.approx(1)
    assert {figure.name for figure in out.glob("*.png")} == set(numbers["figures"])
    for figure in numbers["figures"]:
        assert Image.open(out / figure).size[0] > 1000
    assert not list(out.glob(".*"))


def test_the_slider_s_frames_are_the_sections_and_start_at_the_voxel_s_own(package, stack, tmp_path, capsys):
    out = tmp_path / "why"
    run("explain", package(), stack, "--out", out, "--voxel", "3,20,7", capsys=capsys)
    page = (out / "explain.html").read_text()
    parts = json.loads(re.search(r'id="page-data">(.*?)</script>', page, re.DOTALL)[1])
    sections = parts[1]
    assert sections["steps"] == ["section 1", "section 2", "section 3", "section 4"]
    assert [len(picture["frames"]) for picture in sections["pictures"]] == [4, 4]
    assert sections["pictures"][0]["mark_step"] == 2
    assert len(set(sections["pictures"][1]["frames"])) == 4


def test_an_image_has_four_sweeps(package, photo, tmp_path, capsys):
    status, printed, _ = run("explain", package(dims=2), photo, "--out", tmp_path / "why", "--json", capsys=capsys)
    assert status == 0
    numbers = json.loads(printed)
    assert [row["direction"] for row in numbers["sweeps"][:4]] == [
        "from above",
        "from below",
        "from the left",
        "from the right",
    ]
    assert set(numbers["gradient"]["reach_voxels"]) == {"H", "W"}


def test_a_model_without_an_explainer_still_shows_its_gradient(package, photo, tmp_path, capsys):
    made = package("light_unet", dims=2)
    status, _, notes = run("explain", made, photo, "--out", tmp_path / "why", "--class", "cell", capsys=capsys)
    assert status == 0
    assert "no explainer of its own" in notes
    numbers = json.loads((tmp_path / "why" / "explain.json").read_text())
    assert numbers["class"] == "cell"
    assert "sweeps" not in numbers
    assert numbers["figures"] == ["context.png"]


def test_a_network_of_zeros_is_drawn_flat_and_said_so(package, photo, tmp_path, capsys):
    status, _, notes = run("explain", package(dims=2, zeros=True), photo, "--out", tmp_path / "why", capsys=capsys)
    assert status == 0
    assert "gradient is 0 everywhere" in notes


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--voxel", "9,0,0"], 2, "outside the volume"),
        (["--voxel", "1,2"], 2, "give 3 numbers"),
        (["--voxel", "a,b,c"], 2, "whole numbers"),
        (["--class", "membrain"], 2, "did you mean 'membrane'"),
        (["--window", "0,4,4"], 2, "at least 1 voxel"),
    ],
    ids=str,
)
def test_what_cannot_be_explained_ends_in_one_line_and_writes_nothing(
    options, code, message, package, stack, tmp_path, capsys
):
    out = tmp_path / "why"
    status, _, said = run("explain", package(), stack, "--out", out, *options, capsys=capsys)
    assert status == code
    assert message in said
    assert said.count("\n") == 1
    assert not out.exists()


def test_several_cases_are_refused_with_the_name_of_one(package, tmp_path, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in "ab":
        Image.fromarray(np.zeros((9, 9), np.uint8)).save(folder / f"{name}.png")
    status, _, said = run("explain", package(dims=2), folder, "--out", tmp_path / "why", capsys=capsys)
    assert status == 2
    assert "holds 2 cases: explain one, such as" in said


def test_heat_runs_from_black_over_the_powers_of_ten_to_the_brightest():
    values = np.array([[[0, 1e-5, 1e-4, 1e-3, 1.0]]], np.float32)
    drawn = colour(Picture("", values, top=1.0, decades=4))[0, 0]
    np.testing.assert_array_equal(drawn, heat_colours()[[0, 0, 0, 64, 255]])
    assert not colour(Picture("", values * 0, top=0.0, decades=4)).any(where=np.array([True, True, False]))


def test_the_stronger_source_gives_the_colour():
    values = np.zeros((1, 1, 3, 6), np.float32)
    values[0, 0, 0, 2] = 1
    values[0, 0, 1, 4] = 1
    drawn = colour(Picture("", values, colours="mixed", top=1.0, decades=6))[0, 0]
    np.testing.assert_array_equal(drawn, [SOURCES[2], SOURCES[4], (0, 0, 0)])


def test_thin_stacks_are_not_drawn_as_threads(tmp_path):
    thread = Picture("", np.ones((1, 4, 400), np.float32))
    assert shown_ratio(thread) == 3
    assert shown_ratio(Picture("", np.ones((1, 40, 40), np.float32), pixel=(2.0, 2.0))) == 1
    written = write_figure(Part("thin", "Thin", "", [[thread]]), tmp_path / "deep" / "thin.png")
    assert Image.open(written).format == "PNG"


def test_a_figure_shows_a_moving_line_where_the_slider_starts(tmp_path):
    line = np.zeros((3, 4, 3), bool)
    line[np.arange(3), :, np.arange(3)] = True
    still = Picture("", np.zeros((1, 4, 3), np.float32), bound=line)
    first, last = (
        np.asarray(Image.open(write_figure(Part("p", "", "", [[still]], ["a", "b", "c"], start), tmp_path / "p.png")))
        for start in (0, 2)
    )
    assert (first[200:] != last[200:]).any()  # below the heading
