"""A cine goes to the network frame by frame and comes back on the grid of its file."""

from pathlib import Path

import numpy as np
import pytest

from recurseg.data.case import Case, Volume
from recurseg.errors import ConfigError
from recurseg.preprocess import Preprocessing, prepare, restore, restore_scores

SHAPE, T = (12, 10, 3), 4  # x, y, z; frames


def cine(labelled: tuple[int, ...] | None = None) -> Case:
    """A case of `(x, y, z, t)` with a label in some frames."""
    random = np.random.default_rng(0)
    affine, spacing = np.diag([1.5, 1.5, 8.0, 1.0]), (1.5, 1.5, 8.0, 0.04)

    def volume(array: np.ndarray) -> Volume:
        return Volume(array, spacing, affine, Path("cine.nii.gz"), "nifti", time_axis=3)

    label = None
    if labelled is not None:
        values = np.full((*SHAPE, T), 255, np.uint8)
        for frame in labelled:
            values[..., frame] = random.integers(0, 2, SHAPE)
        label = volume(values)
    return Case("heart", {"MR": volume(random.normal(size=(*SHAPE, T)).astype(np.float32))}, label)


def test_a_cine_becomes_channels_frames_slices_rows_columns():
    prepared = prepare(cine(labelled=(0, 2)), Preprocessing(normalise="none"))
    assert prepared.image.shape == (1, T, 3, 12, 10)
    assert prepared.label is not None
    assert prepared.label.shape == (T, 3, 12, 10)
    assert (prepared.label[[1, 3]] == 255).all()
    assert (prepared.label[[0, 2]] < 255).all()


def test_each_frame_is_prepared_as_it_would_be_alone():
    case, config = cine(labelled=(1,)), Preprocessing(normalise="slice", in_plane_size=(8, 16), smooth="gaussian_3x3")
    prepared = prepare(case, config)
    for number in range(T):
        alone = prepare(case.frame(number), config)
        np.testing.assert_array_equal(prepared.image[:, number], alone.image)
        np.testing.assert_array_equal(prepared.label[number], alone.label)


def test_labels_of_a_cine_come_back_in_the_order_of_the_file():
    case = cine(labelled=range(T))
    prepared = prepare(case, Preprocessing(normalise="none"))
    scores = np.eye(2, dtype=np.float32)[prepared.label].transpose(4, 0, 1, 2, 3)  # (K, T, D, H, W)
    np.testing.assert_array_equal(restore(scores, prepared.geometry), case.label.array)
    maps = restore_scores(scores, prepared.geometry)
    assert maps.shape == (2, *SHAPE, T)
    np.testing.assert_array_equal(maps[1], case.label.array)


def test_a_cine_is_not_cropped():
    with pytest.raises(ConfigError, match="crop_foreground=false"):
        prepare(cine(), Preprocessing(crop_foreground=True))
