"""A band as thick as a window gives, bit for bit, what blending in memory gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from recurseg.data.formats.spool import scratch
from recurseg.inference import tiling
from recurseg.inference.tiling import predict_probabilities
from recurseg.inference.windows import predict_windows, windows_over


class Smooth(nn.Module):
    """Two random convolutions, so that what a voxel is depends on where the window lies."""

    def __init__(self, dims: int, channels: int = 2, classes: int = 3) -> None:
        super().__init__()
        self.spatial_dims = dims
        conv = nn.Conv2d if dims == 2 else nn.Conv3d
        torch.manual_seed(dims)
        self.net = nn.Sequential(conv(channels, 4, 3, padding=1), nn.Tanh(), conv(4, classes, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        return self.net(image)


def both(
    dims: int, size: tuple[int, ...], window: tuple[int, ...], overlap: float, at_once: int, *, disk: bool = False,
    flips: bool = False, first: int = 0,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Probabilities in memory, and those from the band from section `first` on."""
    model = Smooth(dims)
    image = np.random.default_rng(1).normal(size=(2, *size)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiling, "windows_at_once", lambda roi, device: at_once)
        expected = predict_probabilities(model, image, window=window, overlap=overlap, flips=flips)
    windows = windows_over(model, size, window, overlap)
    shape = (windows.depth(at_once), 4, *windows.sizes[1:])
    band = scratch(Path("a"), shape, np.float32) if disk else np.zeros(shape, np.float32)
    found, done = [], first
    for start, block in predict_windows(windows, image, band, at_once=at_once, flips=flips, first=first):
        assert start == done
        done += block.shape[1]
        found.append(block)
    return expected, np.concatenate(found, axis=1)


@settings(max_examples=60, deadline=None)
@given(
    size=st.lists(st.integers(1, 15), min_size=2, max_size=3).map(tuple),
    window=st.lists(st.integers(1, 9), min_size=3, max_size=3).map(tuple),
    dims=st.sampled_from([2, 3]),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.8]),
    at_once=st.sampled_from([1, 2, 3, 7]),
    disk=st.booleans(),
)
def test_the_band_gives_the_blend_of_the_whole_bit_for_bit(
    size: tuple[int, ...], window: tuple[int, ...], dims: int, overlap: float, at_once: int, disk: bool
) -> None:
    expected, found = both(dims, size, window, overlap, at_once, disk=disk)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dims", [2, 3])
def test_mirror_images_are_averaged_as_in_memory(dims: int) -> None:
    expected, found = both(dims, (7, 9, 8), (4, 5, 8), 0.25, 2, flips=True)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("at_once", [1, 5])
@pytest.mark.parametrize("first", [1, 3, 8, 12])
def test_what_is_left_after_a_stop_is_what_it_would_have_been(first: int, at_once: int) -> None:
    expected, found = both(3, (13, 9, 7), (5, 4, 7), 0.25, at_once, first=first)
    np.testing.assert_array_equal(found, expected[:, first:])


def test_the_band_is_no_thicker_than_the_windows_that_touch() -> None:
    windows = windows_over(Smooth(3), (1000, 64, 64), (16, 32, 32), 0.25)
    assert windows.depth(1) == windows.depth(9) == 16
    assert windows.depth(10) == 16 + 12
    assert windows_over(Smooth(2), (1000, 64, 64), (64, 64), 0.25).depth(4) == 4
