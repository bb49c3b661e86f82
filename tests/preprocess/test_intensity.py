"""Intensities as MONAI normalises them, and nothing that is constant divides by zero."""

from __future__ import annotations

import numpy as np
import pytest
from monai.transforms import NormalizeIntensity

from recurseg.preprocess.intensity import clip_to_percentiles, normalise


@pytest.fixture
def head() -> np.ndarray:
    """A noisy block in air that is exactly 0."""
    image = np.zeros((6, 10, 12), np.float32)
    image[1:5, 2:8, 3:9] = np.random.default_rng(0).gamma(4.0, 50.0, size=(4, 6, 6))
    return image


@pytest.mark.parametrize(
    ("over", "oracle"),
    [
        ("volume", NormalizeIntensity()),
        ("foreground", NormalizeIntensity(nonzero=True)),
        ("slice", NormalizeIntensity(channel_wise=True)),
    ],
)
def test_z_scores_agree_with_monai(head: np.ndarray, over: str, oracle: NormalizeIntensity) -> None:
    image = head + 1 if over == "slice" else head
    expected = np.asarray(oracle(image if over == "slice" else image[None]))
    expected = expected if over == "slice" else expected[0]
    flat = image.std(axis=(1, 2)) == 0 if over == "slice" else np.zeros(len(image), bool)
    found = normalise(image, over)  # pyright: ignore[reportArgumentType]
    np.testing.assert_allclose(found[~flat], expected[~flat], atol=1e-4)
    assert (found[flat] == 0).all()
    assert found.dtype == np.float32


@pytest.mark.parametrize("over", ["slice", "volume", "foreground"])
@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, 1e30, -37.3])
def test_a_constant_image_becomes_zero(over: str, value: float) -> None:
    found = normalise(np.full((3, 4, 5), value, np.float32), over)  # pyright: ignore[reportArgumentType]
    assert (found == 0).all()


def test_large_offsets_keep_their_precision() -> None:
    ramp = np.linspace(0, 1, 1000, dtype=np.float32).reshape(10, 100)
    np.testing.assert_allclose(normalise(ramp + 4096, "volume"), normalise(ramp, "volume"), atol=2e-3)


def test_an_image_is_its_own_slice() -> None:
    image = np.random.default_rng(0).normal(3, 2, size=(9, 7)).astype(np.float32)
    np.testing.assert_array_equal(normalise(image, "slice"), normalise(image, "volume"))


def test_clipping_uses_percentiles_of_all_voxels_or_of_the_foreground() -> None:
    image = np.concatenate([np.zeros(100), np.arange(1, 102)]).astype(np.float32).reshape(1, 201)
    clipped = clip_to_percentiles(image, 10, 90, foreground=True)
    assert (clipped[image == 0] == 0).all()
    assert clipped[image > 0].min() == 11
    assert clipped.max() == 91
    whole = clip_to_percentiles(image, 0, 50, foreground=False)
    assert whole.max() == np.median(image)
    assert (clip_to_percentiles(np.zeros((2, 2), np.float32), 1, 99, foreground=True) == 0).all()


def test_the_unit_range_runs_from_the_lowest_to_the_highest_value(head: np.ndarray) -> None:
    found = normalise(head - 7, "unit")
    assert (found.min(), found.max(), found.dtype) == (0, 1, np.float32)
    np.testing.assert_allclose(found, head / head.max(), atol=1e-6)
    np.testing.assert_array_equal(normalise(np.full((3, 4), 9, np.float32), "unit"), 0)
