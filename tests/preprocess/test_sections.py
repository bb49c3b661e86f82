"""Steps on single sections: blur, equalisation, unit range and one size for all, each against another library."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.transforms import ResizeWithPadOrCrop
from PIL import Image
from pydantic import ValidationError
from scipy.ndimage import convolve

from recurseg.data.case import Case, Volume
from recurseg.explain.coordinates import prepared_voxel, stored_voxel
from recurseg.preprocess import Preprocessing, prepare, prepare_label, restore, restore_image, restore_scores
from recurseg.preprocess.equalise import clahe_sections
from recurseg.preprocess.fit import fit_centred
from recurseg.preprocess.intensity import normalise
from recurseg.preprocess.smooth import smooth_sections

RNG = np.random.default_rng(0)
PAPER = Preprocessing(
    smooth="gaussian_3x3",
    equalise="clahe",
    normalise="slice_unit",
    in_plane_size=(176, 176),
    shrink_to_size=True,
)
SIZES = st.integers(1, 9)


def case(shape: tuple[int, ...], *, known: bool = False) -> Case:
    """A stack or an image of the given shape, with a label of four classes."""
    array, label = RNG.normal(100, 20, shape).astype(np.float32), RNG.integers(0, 4, shape)
    axis = 0 if len(shape) == 3 else None

    def volume(values: np.ndarray, name: str) -> Volume:
        return Volume(values, (1.0,) * len(shape), None, Path(name), "folder", axis, spacing_known=known)

    return Case("c", {"a": volume(array, "image")}, volume(label, "label"))


def one_hot(label: np.ndarray, classes: int = 4) -> np.ndarray:
    return np.moveaxis(np.eye(classes, dtype=np.float32)[label], -1, 0)


def test_the_blur_is_a_convolution_with_nine_weights_of_a_gaussian_of_sigma_one() -> None:
    side = np.exp(-0.5 * np.array([1.0, 0.0, 1.0]))
    kernel = np.outer(side, side) / side.sum() ** 2
    image = RNG.normal(size=(3, 12, 17)).astype(np.float32)
    expected = np.stack([convolve(section, kernel, mode="mirror") for section in image])
    np.testing.assert_allclose(smooth_sections(image), expected, atol=1e-6)
    np.testing.assert_array_equal(smooth_sections(image)[1], smooth_sections(image[1]))


def test_equalisation_is_opencvs_on_sections_stretched_to_16_bits() -> None:
    image = RNG.gamma(2.0, 30.0, size=(2, 64, 80)).astype(np.float32)
    image[1] = image[1] * 40 - 7
    for found, section in zip(clahe_sections(image), image, strict=True):
        stretched = np.rint((section - section.min()) / np.ptp(section) * 65535).astype(np.uint16)
        np.testing.assert_array_equal(found, cv2.createCLAHE(2.0, (8, 8)).apply(stretched))
    assert clahe_sections(image[0]).shape == (64, 80)


def test_the_lowest_value_of_each_section_becomes_0_and_its_highest_1() -> None:
    image = RNG.normal(50, 9, size=(4, 6, 7)).astype(np.float32)
    image[2] = 33
    found = normalise(image, "slice_unit")
    for section, original in zip(found[[0, 1, 3]], image[[0, 1, 3]], strict=True):
        expected = np.interp(original, (original.min(), original.max()), (0, 1))
        np.testing.assert_allclose(section, expected, atol=1e-6)
    assert not found[2].any(), "a constant section"
    np.testing.assert_array_equal(normalise(image[0], "slice_unit"), found[0])


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (2, 3, 33), (1, 16, 200)])
def test_any_size_and_constant_sections_stay_finite(shape: tuple[int, ...]) -> None:
    for image in (np.full(shape, -3.0, np.float32), RNG.normal(size=shape).astype(np.float32)):
        result = normalise(clahe_sections(smooth_sections(image)), "slice_unit")
        assert result.shape == shape
        assert result.dtype == np.float32
        assert result.min() >= 0
        assert result.max() <= 1


@settings(max_examples=60, deadline=None)
@given(old=st.tuples(SIZES, SIZES), new=st.tuples(SIZES, SIZES))
def test_what_both_sizes_have_in_common_survives_there_and_back(old: tuple[int, int], new: tuple[int, int]) -> None:
    image = RNG.normal(size=(2, *old))
    there = fit_centred(image, new, 7)
    assert there.shape == (2, *new)
    back = fit_centred(there, old, np.nan)
    kept = ~np.isnan(back)
    assert kept.sum() == 2 * min(old[0], new[0]) * min(old[1], new[1])
    np.testing.assert_array_equal(back[kept], image[kept])


@pytest.mark.parametrize("new", [(10, 6), (4, 2), (12, 12)])
def test_sections_are_centred_as_monai_centres_them(new: tuple[int, int]) -> None:
    image = RNG.normal(size=(1, 8, 8)).astype(np.float32)
    np.testing.assert_array_equal(fit_centred(image, new, 0), np.asarray(ResizeWithPadOrCrop(new)(image)))


@settings(max_examples=40, deadline=None)
@given(shape=st.lists(SIZES, min_size=2, max_size=3), size=st.tuples(SIZES, SIZES))
def test_labels_and_probabilities_come_back_and_what_was_cut_off_is_background(
    shape: list[int], size: tuple[int, int]
) -> None:
    one = case(tuple(shape))
    prepared = prepare(one, Preprocessing(in_plane_size=size))
    assert prepared.image.shape == (1, *shape[:-2], *size)
    assert prepared.label is not None
    assert one.label is not None
    expected = fit_centred(fit_centred(one.label.array[...], (*shape[:-2], *size), 0), shape, 0)
    scores = one_hot(prepared.label)
    np.testing.assert_array_equal(restore(scores, prepared.geometry), expected)
    np.testing.assert_array_equal(restore_scores(scores, prepared.geometry), one_hot(expected))


def test_outside_of_the_size_nothing_is_known_but_background() -> None:
    prepared = prepare(case((2, 10, 12)), Preprocessing(in_plane_size=(4, 20)))
    foreground = np.zeros((2, 2, 4, 20), np.float32)
    foreground[1] = 1
    found = restore(foreground, prepared.geometry)
    assert found[:, 3:7].all()
    assert not found[:, :3].any()
    assert not found[:, 7:].any()
    np.testing.assert_array_equal(restore_scores(foreground, prepared.geometry)[:, 0, 0, 0], [1, 0])


@pytest.mark.parametrize(
    ("shape", "resampled"),
    [((2, 352, 440), (2, 176, 220)), ((2, 154, 256), (2, 154, 256)), ((200, 180), (196, 176))],
)
def test_large_sections_shrink_until_their_shorter_side_fits_and_small_ones_stay(shape, resampled) -> None:
    """The figure of section 4.2.4: shrunk only where the shorter side is too long, then filled up and cut."""
    prepared = prepare(case(shape), PAPER)
    assert prepared.geometry.resampled == resampled
    assert prepared.image.shape[-2:] == (176, 176)
    assert restore(np.ones((2, *prepared.image.shape[1:]), np.float32), prepared.geometry).shape == shape


def test_half_the_resolution_needs_no_spacing_and_keeps_the_slices() -> None:
    image = case((3, 33, 40))
    prepared = prepare(image, Preprocessing(normalise="none", in_plane_factor=0.5))
    assert prepared.image.shape == (1, 3, 16, 20)
    assert prepared.spacing == (1.0, 33 / 16, 2.0)
    original = image.reference.array[...]
    for found, section in zip(prepared.image[0], original, strict=True):
        expected = Image.fromarray(section).resize((20, 16), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(found, np.asarray(expected), rtol=1e-5)
    assert restore(np.ones((2, 3, 16, 20), np.float32), prepared.geometry).shape == (3, 33, 40)


def test_a_ball_survives_all_steps_and_comes_back() -> None:
    z, y, x = np.indices((6, 60, 100))
    ball = ((4 * (z - 2.5)) ** 2 + (y - 29.5) ** 2 + (x - 49.5) ** 2 < 20**2).astype(np.uint8)
    stacks = [Volume(a, (1.0, 1.0, 1.0), None, Path(n), "folder", 0) for a, n in ((ball * 9.0, "i"), (ball, "l"))]
    config = PAPER.model_copy(update={"in_plane_size": (48, 48), "crop_foreground": True})
    for factor in (None, 0.6):
        prepared = prepare(
            Case("c", {"a": stacks[0]}, stacks[1]), config.model_copy(update={"in_plane_factor": factor})
        )
        assert prepared.label is not None
        found = restore(one_hot(prepared.label, 2), prepared.geometry)
        assert 2 * (found & ball).sum() / (found.sum() + ball.sum()) > 0.93


def test_the_steps_happen_in_the_papers_order_and_each_can_be_left_out() -> None:
    image = case((2, 40, 48))
    array = image.reference.array[...]
    steps = {
        "smooth": smooth_sections,
        "equalise": clahe_sections,
        "normalise": lambda values: normalise(values, "slice_unit"),
    }
    off = {"smooth": None, "equalise": None, "normalise": "none"}
    for left_out in (None, *steps):
        expected = array
        for name, step in steps.items():
            expected = expected if name == left_out else step(expected)
        config = PAPER.model_copy(update={"in_plane_size": None} | ({left_out: off[left_out]} if left_out else {}))
        config.shrink_to_size = False
        np.testing.assert_array_equal(prepare(image, config).image[0], expected)


def test_a_label_alone_is_fitted_as_with_its_image() -> None:
    one = case((3, 9, 20))
    prepared = prepare(one, Preprocessing(in_plane_size=(12, 8), in_plane_factor=0.7))
    np.testing.assert_array_equal(prepare_label(one, prepared.geometry), prepared.label)


def test_a_completed_image_comes_back_where_it_was_cut() -> None:
    one = case((2, 9, 14))
    prepared = prepare(one, Preprocessing(normalise="unit", in_plane_size=(12, 8)))
    array = one.reference.array[...]
    found = restore_image(prepared.image, prepared)[0]
    np.testing.assert_allclose(found[..., 3:11], array[..., 3:11], rtol=1e-5)
    np.testing.assert_allclose(found[..., :3], array.min())


@settings(max_examples=30, deadline=None)
@given(shape=st.tuples(SIZES, SIZES), size=st.tuples(SIZES, SIZES), at=st.tuples(SIZES, SIZES))
def test_a_voxel_is_found_on_both_grids(shape, size, at) -> None:
    prepared = prepare(case(shape), Preprocessing(normalise="none", in_plane_size=size))
    voxel = tuple(index % side for index, side in zip(at, size, strict=True))
    stored = stored_voxel(voxel, prepared.geometry)
    value = prepared.image[(0, *voxel)]
    if value:
        assert value == case_value(prepared, stored)
        assert prepared_voxel(stored, prepared.geometry) == voxel


def case_value(prepared, stored: tuple[int, ...]) -> float:
    back = fit_centred(prepared.image[0], prepared.geometry.resampled, 0)
    return back[stored]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"smooth": "gauss"}, "gaussian_3x3"),
        ({"in_plane_factor": 0}, "greater than 0"),
        ({"in_plane_factor": float("inf")}, "finite"),
        ({"in_plane_size": (0, 3)}, "greater than 0"),
        ({"shrink_to_size": True}, "needs an in_plane_size"),
        ({"in_plane_factor": 0.5, "spacing": (None, 1, 1)}, "leave one out"),
    ],
    ids=str,
)
def test_settings_without_meaning_are_refused(wrong: dict, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Preprocessing(**wrong)
