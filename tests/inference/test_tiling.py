"""Tiling does not show: windows blend to what the whole image would give."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from recurseg.errors import ConfigError
from recurseg.inference.tiling import predict_probabilities, window_count
from recurseg.models import create_model


def threshold(dims: int, classes: int = 2) -> nn.Module:
    return create_model("threshold", in_channels=1, num_classes=classes, spatial_dims=dims)


class Windowed(nn.Module):
    """Logits that depend on the place within the window, given as a function of its size."""

    spatial_dims = 2

    def __init__(self, logit_of) -> None:
        super().__init__()
        self.logit_of = logit_of

    def forward(self, image: Tensor) -> Tensor:
        rows = self.logit_of(image)  # (B, H, W)
        return torch.stack([torch.zeros_like(rows), rows], dim=1)


@settings(max_examples=60, deadline=None)
@given(
    size=st.lists(st.integers(1, 23), min_size=2, max_size=3),
    window=st.lists(st.integers(1, 11), min_size=3, max_size=3),
    model_dims=st.sampled_from([2, 3]),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.8]),
    flips=st.booleans(),
)
def test_a_model_without_context_gives_the_same_in_tiles_as_in_whole(
    size: list[int], window: list[int], model_dims: int, overlap: float, flips: bool
) -> None:
    image = np.random.default_rng(0).normal(size=(1, *size)).astype(np.float32)
    found = predict_probabilities(threshold(model_dims), image, window=window, overlap=overlap, flips=flips)
    expected = 1 / (1 + np.exp(0.5 - image[0].astype(np.float64)))
    assert found.shape == (2, *size)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[1], expected, atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize("classes", [1, 2, 5])
def test_constants_stay_constant_and_one_logit_becomes_two_classes(classes: int) -> None:
    found = predict_probabilities(threshold(2, classes), np.full((1, 37, 53), 0.5, np.float32), window=(16, 16))
    assert found.shape == (max(classes, 2), 37, 53)
    np.testing.assert_allclose(found, 1 / max(classes, 2), atol=1e-6)


def test_windows_are_weighted_with_a_gaussian_whose_sigma_is_an_eighth_of_the_window() -> None:
    image = np.zeros((1, 16, 24), np.float32)
    image[0, :, 16:] = 1  # only the right one of the two windows, columns 0-15 and 8-23, sees it

    def marks(part: Tensor) -> Tensor:
        return torch.where(part.amax((1, 2, 3)) > 0, 20.0, -20.0)[:, None, None].expand_as(part[:, 0])

    found = predict_probabilities(Windowed(marks), image, window=(16, 16), overlap=0.5)[1]
    column = np.arange(24)
    left, right = (np.exp(-0.5 * ((column - centre) / 2) ** 2) for centre in (7.5, 15.5))
    left, right = np.where(column < 16, left, 0), np.where(column >= 8, right, 0)
    np.testing.assert_allclose(found[8], right / (left + right), atol=5e-3)


def test_probabilities_are_blended_not_logits() -> None:
    def marks(part: Tensor) -> Tensor:
        return torch.where(part.amax((1, 2, 3)) > 0, 50.0, -1.0)[:, None, None].expand_as(part[:, 0])

    image = np.zeros((1, 8, 12), np.float32)
    image[0, :, 8:] = 1
    found = predict_probabilities(Windowed(marks), image, window=(8, 8), overlap=0.5)[1]
    equal_weights = found[4, 5:7].mean()  # columns 5 and 6 lie symmetric to the two windows
    assert equal_weights == pytest.approx((1 + 1 / (1 + np.e)) / 2, abs=1e-3)


def test_flips_average_over_all_mirror_images() -> None:
    def ramp(part: Tensor) -> Tensor:
        place = torch.arange(part.shape[2])[:, None] * 0.3 + torch.arange(part.shape[3]) * 0.1
        return place.expand(part.shape[0], -1, -1)

    image = np.zeros((1, 5, 7), np.float32)
    logit = np.arange(5)[:, None] * 0.3 + np.arange(7) * 0.1
    views = [np.flip(logit, axes) for axes in [(), (0,), (1,), (0, 1)]]
    expected = np.mean([1 / (1 + np.exp(-view)) for view in views], axis=0)
    found = predict_probabilities(Windowed(ramp), image, window=(8, 8), flips=True)[1]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_model_of_images_sees_slices_and_a_model_of_volumes_an_image_as_one_slice() -> None:
    flat, deep = threshold(2), threshold(3)
    predict_probabilities(flat, np.zeros((1, 4, 9, 10), np.float32), window=(2, 16, 16))
    assert flat.seen == [(4, 1, 9, 10)]  # pyright: ignore[reportArgumentType]
    predict_probabilities(deep, np.zeros((1, 9, 10), np.float32), window=(4, 8, 8), overlap=0)
    assert deep.seen == [(4, 1, 1, 8, 8)]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(("side", "at_once"), [(28, 83), (256, 1), (512, 1)])
def test_small_windows_go_through_the_network_together_and_large_ones_one_by_one(side: int, at_once: int) -> None:
    model = threshold(2)
    predict_probabilities(model, np.zeros((1, max(3, at_once + 1), side, side), np.float32), window=(side, side))
    assert max(seen[0] for seen in model.seen) == at_once  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(("size", "roi", "overlap"), [((9, 30), (4, 16), 0.5), ((5, 5), (5, 2), 0.9)])
def test_progress_counts_every_window_and_ends_at_one(
    size: tuple[int, ...], roi: tuple[int, ...], overlap: float
) -> None:
    model, heard = threshold(2), []
    predict_probabilities(model, np.zeros((1, *size), np.float32), window=roi, overlap=overlap, progress=heard.append)
    assert sum(seen[0] for seen in model.seen) == window_count(size, roi, overlap)  # pyright: ignore[reportArgumentType]
    assert heard == sorted(heard)
    assert heard[-1] == 1


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_changes_little(precision: str) -> None:
    model = create_model("unet", in_channels=1, num_classes=2, widths=(4, 8))
    image = np.random.default_rng(0).normal(size=(1, 20, 20)).astype(np.float32)
    whole, low = (
        predict_probabilities(model, image, window=(16, 16), precision=p)  # pyright: ignore[reportArgumentType]
        for p in ("float32", precision)
    )
    assert low.dtype == np.float32
    assert 0 < np.abs(whole - low).max() < 0.05


@pytest.mark.parametrize("training", [True, False])
def test_the_model_predicts_in_evaluation_mode_and_comes_back_as_it_was(training: bool) -> None:
    model = nn.Sequential(nn.Dropout(0.5), threshold(2)).train(training)
    model.spatial_dims = 2  # pyright: ignore[reportArgumentType]
    image = np.ones((1, 8, 8), np.float32)
    first, second = (predict_probabilities(model, image, window=(8, 8)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert model.training is training
    assert next(model.parameters()).grad is None


def test_a_network_that_gives_nan_is_named() -> None:
    model = Windowed(lambda part: part[:, 0] * float("nan"))
    with pytest.raises(ConfigError, match=r"NaN in float32"):
        predict_probabilities(model, np.ones((1, 8, 8), np.float32), window=(8, 8))


def test_window_counts_by_hand() -> None:
    assert window_count((10,), (10,), 0.5) == 1
    assert window_count((10, 11), (10, 10), 0.5) == 2
    assert window_count((100,), (10,), 0.0) == 10
    assert window_count((3, 20), (1, 8), 0.25) == 3 * 3
    covered = [window_count((size,), (4,), 0.5) for size in range(4, 9)]
    assert covered == sorted(covered) == list(itertools.chain([1, 2, 2, 3, 3]))
