"""Surface distances against hand-worked cases, MONAI, scikit-image and brute force."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recurseg.errors import ConfigError
from recurseg.evaluation import METRICS
from recurseg.evaluation.surface import surface, surface_distances

HD95, ASSD = METRICS["hd95_mm"], METRICS["assd_mm"]


def blobs(seed, shape=(14, 17, 12)):
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    base = gaussian_filter(rng.normal(size=shape), 2)
    other = base + 0.4 * gaussian_filter(rng.normal(size=shape), 2)
    return base > base.std() / 2, other > base.std() / 2


def test_two_single_voxels_are_apart_by_their_spacing():
    a, b = np.zeros((2, 5, 6), bool)
    a[1, 1] = b[4, 5] = True  # 3 rows of 2 mm, 4 columns of 0.5 mm
    expected = math.hypot(6, 2)
    assert HD95(a, b, (2, 0.5)) == ASSD(a, b, (2, 0.5)) == pytest.approx(expected)


def test_a_line_and_its_end_worked_by_hand():
    line, end = np.zeros((2, 1, 6), bool)
    line[0, 1:5] = end[0, 4] = True  # distances 3, 2, 1, 0 one way, 0 the other
    assert ASSD(line, end, (1, 1)) == pytest.approx((3 + 2 + 1 + 0 + 0) / 5)
    assert HD95(line, end, (1, 1)) == pytest.approx(2.85)  # 95 % of the way from 0 to 3 over four points


def test_the_surface_is_the_mask_minus_its_erosion():
    mask = np.zeros((5, 5), bool)
    mask[1:4, 1:4] = True
    assert surface(mask).sum() == 8
    assert surface(np.ones((3, 3), bool)).sum() == 8, "the image's end is a surface"


def test_one_empty_mask_costs_the_diagonal_and_both_empty_are_undefined():
    empty, some = np.zeros((3, 4), bool), np.eye(3, 4, dtype=bool)
    for metric in (HD95, ASSD):
        assert metric(some, empty, (1, 1)) == metric(empty, some, (1, 1)) == 5
        assert math.isnan(metric(empty, empty, (1, 1)))


def test_millimetres_need_a_spacing_for_each_axis():
    mask = np.ones((2, 2), bool)
    for spacing in (None, (1, 1, 1)):
        with pytest.raises(ConfigError, match="spacing"):
            HD95(mask, mask, spacing)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.9, 1.5, 0.9)])
def test_agrees_with_monai(spacing):
    import torch
    from monai.metrics import HausdorffDistanceMetric, SurfaceDistanceMetric

    for seed in range(3):
        p, r = blobs(seed)
        as_batch = [torch.from_numpy(m)[None, None].float() for m in (p, r)]
        hd = HausdorffDistanceMetric(include_background=True, percentile=95)(*as_batch, spacing=list(spacing))
        sd = SurfaceDistanceMetric(include_background=True, symmetric=True)(*as_batch, spacing=list(spacing))
        assert HD95(p, r, spacing) == pytest.approx(float(hd[0, 0]), rel=1e-5)
        assert ASSD(p, r, spacing) == pytest.approx(float(sd[0, 0]), rel=1e-5)


def test_the_largest_distance_agrees_with_scikit_image():
    from skimage.metrics import hausdorff_distance

    p, r = blobs(7)
    d = surface_distances(p, r, (1, 1, 1))
    largest = max(d.to_reference.max(), d.to_prediction.max())
    assert largest == pytest.approx(hausdorff_distance(surface(p), surface(r)))


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*[arrays(bool, (4, 5, 3))] * 2),
    st.tuples(*[st.floats(0.1, 5)] * 3),
)
def test_laws_of_distance(pair, spacing):
    p, r = pair
    for metric in (HD95, ASSD):
        value = metric(p, r, spacing)
        if math.isnan(value):
            assert not p.any()
            assert not r.any()
            continue
        worst = math.hypot(*(n * s for n, s in zip(p.shape, spacing, strict=True)))
        assert 0 <= value <= worst * (1 + 1e-9)
        assert value == pytest.approx(metric(r, p, spacing))
        if p.any():
            assert metric(p, p, spacing) == 0
        doubled = metric(p, r, tuple(2 * s for s in spacing))
        assert doubled == pytest.approx(2 * value)


def test_a_brain_sized_volume_takes_seconds():
    p, r = (m.repeat(4, 0).repeat(4, 1).repeat(4, 2) for m in blobs(1, shape=(64, 32, 64)))
    assert p.shape == (256, 128, 256)
    start = time.process_time()
    d = surface_distances(p, r, (0.9, 1.5, 0.9))
    assert d.to_reference.size > 100_000
    assert time.process_time() - start < 15, "5 s on a quiet core, with room for a busy one"
