"""Overlap metrics against hand-worked counts and MONAI."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recurseg.errors import DataError
from recurseg.evaluation import METRICS
from recurseg.evaluation.overlap import soft_dice

OVERLAP = ["dice", "iou", "precision", "recall"]
SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5))
PAIRS = SHAPES.flatmap(lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape)))


def test_a_case_worked_by_hand():
    reference = np.array([[1, 1, 0], [1, 0, 0]])  # three voxels
    prediction = np.array([[1, 0, 1], [1, 1, 1]])  # five, two of them right
    got = {id: METRICS[id](prediction, reference) for id in [*OVERLAP, "avd_percent"]}
    assert got == pytest.approx(
        {"dice": 2 * 2 / (5 + 3), "iou": 2 / 6, "precision": 2 / 5, "recall": 2 / 3, "avd_percent": 100 * 2 / 3}
    )


@pytest.mark.parametrize("id", OVERLAP)
def test_both_empty_is_undefined_and_one_empty_is_zero(id):
    empty, full = np.zeros((2, 2), bool), np.ones((2, 2), bool)
    assert math.isnan(METRICS[id](empty, empty))
    assert METRICS[id](full, empty) == 0, "false positives on an empty reference count"
    assert METRICS[id](empty, full) == 0


def test_volume_difference_of_an_empty_reference_counts_as_one_hundred_percent():
    empty, full = np.zeros((2, 2), bool), np.ones((2, 2), bool)
    assert math.isnan(METRICS["avd_percent"](empty, empty))
    assert METRICS["avd_percent"](full, empty) == 100
    assert METRICS["avd_percent"](empty, full) == 100


@pytest.mark.parametrize("id", OVERLAP)
def test_ignored_voxels_change_nothing(id):
    reference = np.array([1, 0, 1, 0, 255, 255])
    prediction = np.array([1, 1, 0, 0, 1, 0])
    assert METRICS[id](prediction, reference) == METRICS[id](prediction[:4], reference[:4])


@pytest.mark.parametrize(("prediction", "words"), [(np.array([0, 3]), "0/1|one structure"), (np.zeros(3), "shape")])
def test_what_is_not_a_mask_or_not_on_the_grid_is_refused(prediction, words):
    with pytest.raises(DataError, match=words):
        METRICS["dice"](prediction, np.array([0, 1]))


@given(PAIRS)
def test_laws_of_overlap(pair):
    p, r = pair
    value = {id: METRICS[id](p, r) for id in OVERLAP}
    if not p.any() and not r.any():
        assert all(map(math.isnan, value.values()))
        return
    assert all(0 <= v <= 1 for v in value.values())
    assert value["dice"] == METRICS["dice"](r, p)
    assert value["dice"] == pytest.approx(2 * value["iou"] / (1 + value["iou"]))
    assert value["precision"] == METRICS["recall"](r, p)
    assert METRICS["avd_percent"](p, r) >= 0


def test_dice_and_iou_agree_with_monai():
    import torch
    from monai.metrics import DiceMetric, MeanIoU

    rng = np.random.default_rng(0)
    p, r = (torch.from_numpy(rng.random((4, 2, 6, 7, 5)) < 0.4) for _ in range(2))
    for id, metric in (("dice", DiceMetric()), ("iou", MeanIoU())):
        expected = metric(p.float(), r.float())
        got = [[METRICS[id](p[b, c].numpy(), r[b, c].numpy()) for c in range(2)] for b in range(4)]
        np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_soft_dice_of_a_batch_by_hand():
    probability = np.array([[0.5, 1.0], [0.0, 0.5]])
    reference = np.array([[1, 1], [0, 0]])
    assert soft_dice(probability, reference) == (2 * 1.5 + 1) / (2 + 2 + 1)
    assert soft_dice(np.zeros(3), np.zeros(3, int)) == 1, "two empty masks"
    assert soft_dice(probability, np.array([[1, 1], [0, 255]])) == (2 * 1.5 + 1) / (1.5 + 2 + 1), "255 is not counted"


def test_soft_dice_takes_tensors_and_adds_over_the_batch_before_it_divides():
    import torch

    rng = np.random.default_rng(0)
    p, q = rng.random((4, 1, 6, 7)), rng.integers(0, 2, (4, 1, 6, 7))
    together = soft_dice(torch.from_numpy(p), torch.from_numpy(q))
    assert float(together) == pytest.approx((2 * (p * q).sum() + 1) / (p.sum() + q.sum() + 1))
    assert float(together) != pytest.approx(np.mean([soft_dice(a, b) for a, b in zip(p, q, strict=True)]))
