"""Which voxel is explained, and that it is the same one in the file, in the window and on the page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from recurseg.data.case import Case, Volume
from recurseg.errors import ConfigError
from recurseg.explain.coordinates import prepared_voxel, stored_voxel
from recurseg.explain.gradient import input_gradient, reach_of
from recurseg.explain.scene import make_scene
from recurseg.inference import PackageSpec, Segmenter
from recurseg.preprocess import Preprocessing, prepare


class Brightness(nn.Module):
    """Class 1 where the voxel is above 0.5; class 2 nowhere."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.spatial_dims = dims

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        bright = 3 * (image[:, :1] - 0.5)
        return torch.cat([torch.zeros_like(bright), bright, bright - 10], dim=1)


class OneLogit(nn.Module):
    """A single sigmoid logit, ten times the voxel."""

    spatial_dims = 2

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return 10 * image


def segmenter(dims: int, window: tuple[int, ...], **preprocessing) -> Segmenter:
    config = Preprocessing(**({"normalise": "none"} | preprocessing))
    spec = PackageSpec(
        model="brightness",
        in_channels=len(config.channels(["image"])),
        num_classes=3,
        modalities=["image"],
        class_names=["background", "disc", "nothing"],
        preprocessing=config,
        window=window,
    )
    return Segmenter(spec, Brightness(dims), torch.device("cpu"))


def case_of(array: np.ndarray, *, affine: np.ndarray | None = None, spacing: tuple[float, ...] | None = None) -> Case:
    spacing = spacing or (1.0,) * array.ndim
    stack = 0 if array.ndim == 3 and affine is None else None
    return Case("case", {"image": Volume(array, spacing, affine, Path("case.nii"), "array", stack)})


def disc(shape: tuple[int, ...], centre: tuple[int, int], radius: float) -> np.ndarray:
    y, x = np.mgrid[: shape[-2], : shape[-1]]
    return np.broadcast_to((y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2, shape).astype(np.float32)


FLIPPED = np.array([[0, 0, 3.0, 0], [-1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 0, 1]])


@settings(max_examples=40, deadline=None)
@given(st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(0, 6)), st.sampled_from([None, FLIPPED]))
def test_a_voxel_of_the_file_is_the_same_voxel_for_the_network(voxel, affine):
    array = np.arange(5 * 6 * 7, dtype=np.float32).reshape(5, 6, 7)
    case = case_of(array, affine=affine, spacing=(1.0, 1.0, 3.0))
    prepared = prepare(case, Preprocessing(normalise="none"))
    at = prepared_voxel(voxel, prepared.geometry)
    assert prepared.image[(0, *at)] == array[voxel]
    assert stored_voxel(at, prepared.geometry) == voxel


def test_a_resampled_voxel_lies_where_it_lay_in_millimetres():
    case = case_of(np.ones((4, 10, 10), np.float32), spacing=(3.0, 1.0, 1.0))
    geometry = prepare(case, Preprocessing(normalise="none", spacing=(None, 2.0, 0.5))).geometry
    assert prepared_voxel((2, 7, 7), geometry) == (2, 3, 15)  # 7.5 mm: the fourth of 2 mm, the sixteenth of 0.5 mm
    assert stored_voxel((2, 3, 15), geometry)[2] == 7


def test_the_default_voxel_is_the_middle_of_the_largest_piece_in_the_central_section():
    array = np.maximum(disc((9, 40, 44), (12, 30), 6), disc((9, 40, 44), (30, 8), 3))
    scene, notes = make_scene(segmenter(3, (4, 16, 16)), case_of(array))
    assert scene.stored == (4, 12, 30)
    assert scene.class_names[scene.target] == "disc"
    assert "largest foreground piece" in notes[0]
    assert scene.image[(0, 0, *scene.voxel)] == array[4, 12, 30]


def test_a_class_that_is_predicted_nowhere_is_looked_for_where_it_scores_highest():
    array = disc((40, 44), (12, 30), 6)
    array[20, 20] = 5
    scene, notes = make_scene(segmenter(2, (16, 16)), case_of(array), class_name="nothing")
    assert scene.stored == (20, 20)
    assert "none there" in notes[0]


def test_the_window_is_no_larger_than_the_package_s_and_says_so():
    scene, notes = make_scene(segmenter(3, (4, 16, 16)), case_of(disc((9, 40, 44), (2, 40), 2)), voxel=(0, 2, 41))
    assert scene.image.shape == (1, 1, 4, 16, 16)
    assert scene.planes[0] == [f"section {number}" for number in range(4)]
    assert scene.planes[2][scene.voxel[2]] == "column 41"
    assert any("4 × 16 × 16" in note for note in notes)


def test_a_model_of_images_sees_a_volume_s_section_and_a_model_of_volumes_an_image():
    scene, _ = make_scene(segmenter(2, (16, 16)), case_of(disc((9, 40, 44), (2, 40), 2)), voxel=(5, 2, 41))
    assert scene.image.shape == (1, 1, 16, 16)
    assert scene.stored == (5, 2, 41)
    scene, _ = make_scene(segmenter(3, (4, 16, 16)), case_of(disc((40, 44), (2, 40), 2)), voxel=(2, 41))
    assert scene.image.shape == (1, 1, 1, 16, 16)


@pytest.mark.parametrize(
    ("voxel", "message"),
    [((9, 0, 0), "outside the volume"), ((-1, 0, 0), "outside the volume"), ((1, 1), "give 3 numbers")],
    ids=str,
)
def test_a_voxel_that_is_not_there_is_one_clear_line(voxel, message):
    with pytest.raises(ConfigError, match=message):
        make_scene(segmenter(3, (4, 16, 16)), case_of(disc((9, 40, 44), (2, 40), 2)), voxel=voxel)


def test_a_voxel_that_is_cropped_away_is_one_clear_line():
    with pytest.raises(ConfigError, match="cropped away"):
        make_scene(segmenter(2, (16, 16), crop_foreground=True), case_of(disc((40, 44), (20, 20), 3)), voxel=(2, 2))


def test_an_unknown_class_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'disc'"):
        make_scene(segmenter(2, (16, 16)), case_of(disc((40, 44), (20, 20), 3)), class_name="disk")


def test_the_gradient_of_a_model_without_neighbours_is_one_voxel():
    scene, _ = make_scene(segmenter(2, (16, 16)), case_of(disc((40, 44), (20, 20), 3)), voxel=(20, 21))
    found = input_gradient(scene)
    expected = np.zeros((16, 16))
    expected[scene.voxel] = 3
    np.testing.assert_array_equal(found.magnitude, expected)
    assert found.logit == pytest.approx(1.5)
    assert found.probability == pytest.approx(np.exp(1.5) / (1 + np.exp(1.5) + np.exp(-8.5)))


@pytest.mark.parametrize(("class_name", "sign"), [("disc", 1), ("background", -1)])
def test_a_sigmoid_logit_speaks_for_both_classes(class_name, sign):
    made = segmenter(2, (8, 8))
    spec = made.spec.model_copy(update={"num_classes": 1, "class_names": ["background", "disc"]})
    image = np.full((8, 8), 0.1, np.float32)
    made = replace(made, spec=spec, model=OneLogit())
    scene, _ = make_scene(made, case_of(image), voxel=(4, 4), class_name=class_name)
    found = input_gradient(scene)
    assert found.logit == pytest.approx(sign)
    assert found.probability == pytest.approx(1 / (1 + np.exp(-sign)))
    assert found.magnitude.sum() == pytest.approx(10)


def test_an_added_channel_of_local_contrast_has_a_name_of_its_own():
    made = segmenter(2, (16, 16), local_contrast={"image": "add"})
    scene, _ = make_scene(made, case_of(disc((40, 44), (20, 20), 3)), voxel=(20, 21))
    assert scene.modalities == ["image", "image, equalised"]
    assert len(scene.channels) == 2


def test_reach_is_the_distance_that_holds_a_share():
    assert reach_of(np.array([0.0, 1, 8, 1, 0]), own=2) == {"50%": 0, "90%": 1, "99%": 1}
    assert reach_of(np.zeros(4), own=1) == {"50%": None, "90%": None, "99%": None}
