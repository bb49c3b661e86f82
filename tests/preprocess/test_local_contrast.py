"""The preprocessing of the paper's MR data: high-pass filter, local equalisation, further channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from recurseg.data.case import Case, Volume
from recurseg.errors import ConfigError
from recurseg.preprocess import Preprocessing, prepare
from recurseg.preprocess.local_contrast import BORDER, equalise_sections, high_pass

random = np.random.default_rng(0)


def case(*modalities: str, shape: tuple[int, ...] = (3, 40, 48)) -> Case:
    images = {
        name: Volume(random.normal(100, 20, shape).astype(np.float32), (3.0, 1.0, 1.0), None, 0, Path(f"{name}.nii"))
        for name in modalities
    }
    return Case("one", images)


def test_the_filter_subtracts_a_gaussian_of_31_pixels_and_sigma_5():
    section = random.normal(size=(64, 80)).astype(np.float32)
    blurred = gaussian_filter(section.astype(np.float64), 5.0, truncate=3.0, mode="mirror")
    inside = (slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    np.testing.assert_allclose(high_pass(section)[inside], (section - blurred)[inside], atol=1e-4)


def test_the_edge_of_a_section_is_its_mean():
    high = high_pass(random.normal(size=(64, 64)).astype(np.float32))
    inside = high[BORDER:-BORDER, BORDER:-BORDER]
    np.testing.assert_allclose(high[:BORDER], inside.mean(), atol=1e-6)
    np.testing.assert_allclose(high[:, -BORDER:], inside.mean(), atol=1e-6)


def test_a_slow_change_of_brightness_disappears():
    texture = random.normal(size=(96, 96)).astype(np.float32)
    shaded = texture + np.linspace(0, 200, 96, dtype=np.float32)[:, None]
    plain, evened = equalise_sections(texture), equalise_sections(shaded)
    inside = (slice(20, -20), slice(20, -20))
    assert np.corrcoef(plain[inside].ravel(), evened[inside].ravel())[0, 1] > 0.98
    assert np.corrcoef(texture[inside].ravel(), shaded[inside].ravel())[0, 1] < 0.1


def test_faint_texture_becomes_as_strong_as_bright_texture():
    texture = random.normal(size=(128, 128)).astype(np.float32)
    texture[:, 64:] *= 0.1
    evened = equalise_sections(texture)
    assert texture[:, 72:-10].std() < 0.15 * texture[:, 10:56].std()
    assert evened[:, 72:-10].std() > 0.3 * evened[:, 10:56].std()


def test_sections_do_not_know_of_one_another():
    volume = random.normal(size=(4, 40, 40)).astype(np.float32)
    np.testing.assert_array_equal(equalise_sections(volume)[2], equalise_sections(volume[2]))


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (2, 3, 33), (1, 16, 200)])
def test_any_size_and_a_constant_image_stay_finite(shape):
    for image in (np.ones(shape, np.float32), random.normal(size=shape).astype(np.float32)):
        result = equalise_sections(image)
        assert result.shape == shape
        assert np.isfinite(result).all()


def test_channels_are_those_of_the_paper_for_its_mr_data():
    config = Preprocessing(normalise="slice", local_contrast={"T1": "add", "T1_IR": "replace", "FLAIR": "add"})
    assert config.channels(["T1", "T1_IR", "FLAIR"]) == [
        ("T1", False), ("T1_IR", True), ("FLAIR", False), ("T1", True), ("FLAIR", True),
    ]  # fmt: skip
    prepared = prepare(case("T1", "T1_IR", "FLAIR"), config)
    assert prepared.image.shape == (5, 3, 40, 48)
    np.testing.assert_allclose(prepared.image.mean(axis=(2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(prepared.image.std(axis=(2, 3)), 1, atol=1e-3)


def test_an_unknown_modality_is_named_with_the_nearest_known():
    with pytest.raises(ConfigError, match=r"no modality 'T1_IRR'.*T1_IR"):
        prepare(case("T1", "T1_IR"), Preprocessing(local_contrast={"T1_IRR": "add"}))
