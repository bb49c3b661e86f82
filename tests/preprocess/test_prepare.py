"""What a case becomes before the network, how it comes back, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from recurseg.data.case import Case, Volume
from recurseg.errors import DataError
from recurseg.preprocess import Preprocessing, prepare, restore, restore_image, restore_scores


def volume(array: np.ndarray, spacing: tuple[float, ...] | None = None, name: str = "a.nii") -> Volume:
    """A volume with an affine where it is 3-D, and a spacing that is known."""
    spacing = spacing or (1.0,) * array.ndim
    affine = np.diag([*spacing, 1.0]) if array.ndim == 3 else None
    return Volume(array, spacing, affine, Path(name), "nifti" if array.ndim == 3 else "image")


def one_hot(label: np.ndarray, classes: int) -> np.ndarray:
    return np.moveaxis(np.eye(classes, dtype=np.float32)[label], -1, 0)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.lists(st.integers(1, 8), min_size=2, max_size=3),
    spacing=st.lists(st.sampled_from([0.5, 1.0, 4.0]), min_size=3, max_size=3),
    crop=st.booleans(),
    over=st.sampled_from(["slice", "volume", "foreground", "none"]),
    seed=st.integers(0, 9),
)
def test_labels_come_back_exactly_where_nothing_is_resampled(
    shape: list[int], spacing: list[float], crop: bool, over: str, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    label = generator.integers(0, 4, size=shape)
    image = np.where(label > 0, generator.normal(100, 9, size=shape), 0)
    mm = tuple(spacing[: len(shape)])
    case = Case("c", {"a": volume(image, mm)}, volume(label, mm))
    config = Preprocessing(crop_foreground=crop, normalise=over)  # pyright: ignore[reportArgumentType]
    prepared = prepare(case, config)
    assert prepared.label is not None
    scores = one_hot(prepared.label, 4)
    found = restore(scores, prepared.geometry)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, label)
    maps = restore_scores(scores, prepared.geometry)
    np.testing.assert_array_equal(maps, one_hot(label, 4))


@settings(max_examples=30, deadline=None)
@given(
    shape=st.lists(st.integers(1, 9), min_size=3, max_size=3),
    target=st.lists(st.sampled_from([None, 0.7, 1.0, 2.5]), min_size=3, max_size=3),
)
def test_resampled_answers_come_back_in_the_stored_shape(shape: list[int], target: list[float | None]) -> None:
    image = np.random.default_rng(0).normal(size=shape)
    case = Case("c", {"a": volume(image, (1.0, 1.2, 3.0))})
    prepared = prepare(case, Preprocessing(spacing=tuple(target), crop_foreground=True))
    scores = np.random.default_rng(1).uniform(size=(3, *prepared.image.shape[1:])).astype(np.float32)
    assert restore(scores, prepared.geometry).shape == tuple(shape)
    maps = restore_scores(scores, prepared.geometry)
    assert maps.shape == (3, *shape)
    np.testing.assert_array_equal(restore(scores, prepared.geometry), maps.argmax(axis=0))
    extent = np.multiply(prepared.spacing, prepared.image.shape[1:])
    np.testing.assert_allclose(extent, np.multiply((3.0, 1.0, 1.2), (shape[2], *shape[:2])))


def test_a_ball_survives_the_way_to_half_the_resolution_and_back() -> None:
    z, y, x = np.indices((20, 40, 40))
    ball = ((2 * (z - 9.5)) ** 2 + (y - 19.5) ** 2 + (x - 19.5) ** 2 < 15**2).astype(np.uint8)
    stack = Volume(ball * 7.0, (2.0, 1.0, 1.0), None, Path("s.tif"), "tiff", stack_axis=0)
    case = Case("c", {"a": stack}, Volume(ball, stack.spacing, None, Path("l.tif"), "tiff", stack_axis=0))
    prepared = prepare(case, Preprocessing(spacing=(None, 2.0, 2.0)))
    assert prepared.image.shape == (1, 20, 20, 20)
    assert prepared.spacing == (2.0, 2.0, 2.0)
    assert prepared.label is not None
    found = restore(one_hot(prepared.label, 2), prepared.geometry)
    dice = 2 * (found & ball).sum() / (found.sum() + ball.sum())
    assert dice > 0.95


def test_a_crop_keeps_a_margin_and_is_background_outside() -> None:
    image = np.zeros((20, 20), np.float32)
    image[8:11, 9] = 5
    other = np.zeros_like(image)
    other[8, 12] = 1
    case = Case("c", {"a": volume(image), "b": volume(other)})
    prepared = prepare(case, Preprocessing(crop_foreground=True, normalise="none"))
    assert prepared.image.shape == (2, 7, 8)  # rows 6-12, columns 7-14
    everywhere_one = np.stack([np.zeros((7, 8)), np.ones((7, 8))]).astype(np.float32)
    found = restore(everywhere_one, prepared.geometry)
    assert found.sum() == 56
    assert found[6:13, 7:15].all()
    outside = restore_scores(everywhere_one, prepared.geometry)[:, 0, 0]
    assert outside.tolist() == [1, 0]


def test_an_image_of_zeros_is_not_cropped_away() -> None:
    case = Case("c", {"a": volume(np.zeros((3, 4, 5)))})
    prepared = prepare(case, Preprocessing(crop_foreground=True, normalise="foreground", clip_percentiles=(1, 99)))
    assert prepared.image.shape == (1, 5, 3, 4)
    assert not prepared.image.any()


def test_channels_follow_the_modalities_that_were_asked_for_each_with_its_own_statistics() -> None:
    generator = np.random.default_rng(0)
    arrays = {name: generator.normal(mean, 3, size=(6, 7)) for name, mean in [("T1", 5), ("FLAIR", 900)]}
    case = Case("c", {name: volume(array) for name, array in arrays.items()})
    prepared = prepare(case, Preprocessing(), modalities=["FLAIR", "T1"])
    for channel, name in zip(prepared.image, ["FLAIR", "T1"], strict=True):
        expected = (arrays[name] - arrays[name].mean()) / arrays[name].std()
        np.testing.assert_allclose(channel, expected, atol=1e-4)


def test_ignored_voxels_stay_ignored_and_file_values_become_classes() -> None:
    label = np.array([[0, 255], [7, 7]])
    case = Case("c", {"a": volume(np.ones((2, 2)))}, volume(label), label_map={0: 0, 7: 1, 255: 255})
    prepared = prepare(case, Preprocessing())
    assert prepared.label is not None
    assert prepared.label.dtype == np.int64
    assert prepared.label.tolist() == [[0, 255], [1, 1]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_voxels_that_are_not_numbers_are_refused_with_case_modality_count_and_place(bad: float) -> None:
    array = np.ones((3, 4, 5))
    array[1, 2, 3] = array[2, 0, 0] = bad
    case = Case("p7", {"FLAIR": volume(array)})
    with pytest.raises(
        DataError, match=r"case p7: modality 'FLAIR'.* 2 NaN or infinite.*\(1, 2, 3\).*clean the file"
    ):
        prepare(case, Preprocessing())
    filled = prepare(case, Preprocessing(replace_non_finite=0, normalise="none"))
    assert filled.image.sum() == 58


def test_a_missing_modality_another_grid_and_an_unknown_spacing_are_refused() -> None:
    case = Case("c", {"T1": volume(np.ones((3, 4, 5))), "T2": volume(np.ones((3, 4, 6)), name="t2.nii")})
    with pytest.raises(DataError, match=r"case c: no image of modality 'T3'.*'T1'|'T2'"):
        prepare(case, Preprocessing(), modalities=["T3"])
    with pytest.raises(DataError, match=r"grid \(3, 4, 6\) of t2.nii"):
        prepare(case, Preprocessing())
    unknown = Volume(np.ones((4, 5)), (1.0, 1.0), None, Path("x.png"), "image", spacing_known=False)
    with pytest.raises(DataError, match=r"x.png does not say its spacing"):
        prepare(Case("c", {"a": unknown}), Preprocessing(spacing=(2, 2)))
    with pytest.raises(DataError, match=r"label grid"):
        prepare(Case("c", {"a": volume(np.ones((4, 5)))}, volume(np.ones((5, 4)))), Preprocessing())


@pytest.mark.parametrize(
    "wrong",
    [
        {"normalize": "volume"},
        {"clip_percentiles": (99, 1)},
        {"spacing": (0, 1, 1)},
        {"spacing": (1,)},
        {"replace_non_finite": float("nan")},
    ],
    ids=str,
)
def test_settings_without_meaning_are_refused(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        Preprocessing(**wrong)


def test_every_setting_is_explained() -> None:
    assert all(field.description for field in Preprocessing.model_fields.values())


@pytest.mark.parametrize("spacing", [None, (None, 0.5, 0.5)])
def test_a_reconstruction_comes_back_in_the_cases_own_intensities_and_grid(spacing) -> None:
    rows = np.linspace(0, 900, 12)[:, None] + np.zeros((12, 9))
    image = np.stack([rows, rows + 100]).transpose(2, 1, 0) - 50  # stored as (x, y, z)
    case = Case("c", {"a": volume(image, (1.0, 1.0, 3.0))})
    prepared = prepare(case, Preprocessing(normalise="unit", spacing=spacing))
    assert prepared.ranges == ((-50.0, 950.0),)
    found = restore_image(prepared.image, prepared)
    assert found.shape == (1, *image.shape)
    np.testing.assert_allclose(found[0][:, 1:-1], image[:, 1:-1], atol=1e-3 if spacing is None else 25)
