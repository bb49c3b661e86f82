"""Resampling keeps the extent, agrees with other libraries, and goes back to the original shape."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from recurseg.preprocess.resample import resample_linear, resample_nearest, target_shape


def test_target_shape_keeps_the_extent_and_null_keeps_an_axis() -> None:
    assert target_shape((10, 100, 100), (4.0, 0.5, 0.5), (None, 1.0, 2.0)) == (10, 50, 25)
    assert target_shape((2, 3), (1.0, 1.0), (100.0, 0.5)) == (1, 6)


def test_growing_agrees_with_simpleitk_on_a_grid_of_the_same_extent() -> None:
    image = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
    shape = (5, 13, 9)
    source = sitk.GetImageFromArray(image)
    ratio = [old / new for old, new in zip(image.shape, shape, strict=True)][::-1]
    grid = sitk.Image(shape[::-1], sitk.sitkFloat32)
    grid.SetSpacing(ratio)
    grid.SetOrigin([(step - 1) / 2 for step in ratio])
    expected = sitk.GetArrayFromImage(sitk.Resample(source, grid, sitk.Transform(), sitk.sitkLinear, -99.0))
    inside = expected > -99  # voxels whose centre lies between source voxels
    np.testing.assert_allclose(resample_linear(image[None], shape)[0][inside], expected[inside], atol=1e-5)


def test_shrinking_an_image_averages_as_pillow_does() -> None:
    image = np.random.default_rng(0).normal(size=(40, 30)).astype(np.float32)
    expected = np.asarray(Image.fromarray(image).resize((11, 17), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(resample_linear(image[None], (17, 11))[0], expected, atol=1e-5)


def test_a_fine_checkerboard_becomes_grey_and_not_moire() -> None:
    board = (np.indices((64, 64)).sum(axis=0) % 2).astype(np.float32)
    inner = resample_linear(board[None], (16, 16))[0, 2:-2, 2:-2]
    np.testing.assert_allclose(inner, 0.5, atol=0.02)


def test_labels_take_the_voxel_that_the_new_centre_lies_in() -> None:
    label = np.array([7, 8, 255])
    assert resample_nearest(label, (6,)).tolist() == [7, 7, 8, 8, 255, 255]
    assert resample_nearest(np.array([1, 2, 3, 4, 5, 6]), (2,)).tolist() == [2, 5]
    assert resample_nearest(np.array([1, 2, 3, 4]), (1,)).tolist() == [3]


@settings(max_examples=40, deadline=None)
@given(
    old=st.lists(st.integers(1, 9), min_size=2, max_size=3),
    scale=st.lists(st.floats(0.3, 3.0), min_size=3, max_size=3),
    value=st.floats(-5, 5, width=32),
)
def test_a_constant_stays_and_shapes_are_what_was_asked(old: list[int], scale: list[float], value: float) -> None:
    shape = tuple(max(1, round(size * s)) for size, s in zip(old, scale, strict=False))
    there = resample_linear(np.full((2, *old), value, np.float32), shape)
    assert there.shape == (2, *shape)
    np.testing.assert_allclose(there, value, atol=1e-5)
    assert resample_linear(there, old).shape == (2, *old)
    assert resample_nearest(np.zeros(old, np.int64), shape).dtype == np.int64


@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5)])
def test_the_same_shape_is_the_same_array(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    assert resample_linear(array, shape) is array
    assert resample_nearest(array[0], shape) is not None
