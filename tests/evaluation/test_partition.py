"""Pixel and Rand error against hand-worked images and scikit-image."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recurseg.errors import DataError
from recurseg.evaluation import METRICS

FRACTION, BEST_F, BEST_F_CELL, RAND = (
    METRICS[id] for id in ("pixel_error:fraction@0.5", "pixel_error:best_f", "pixel_error:best_f_cell", "rand_error")
)
WALL = np.array([[0, 0, 1, 0, 0]] * 2)  # two cells of four pixels, a membrane of two between them
IMAGES = arrays(bool, (2, 5, 6))


def test_pixel_error_worked_by_hand():
    probability = np.where(WALL, 0.9, 0.2)
    probability[0, 2], probability[0, 0] = 0.35, 0.6  # one membrane pixel missed at 0.5, one invented
    assert FRACTION(probability, WALL) == pytest.approx(2 / 10)
    # above 0.6 membrane: one of two, nothing invented: F = 2/3. At 0.3: both, one invented: F = 4/5.
    assert BEST_F(probability, WALL) == pytest.approx(1 - 4 / 5)
    # the same two thresholds for cells: 8 of 8 and one invented: 16/17; 7 of 8, none invented: 14/15
    assert BEST_F_CELL(probability, WALL) == pytest.approx(1 - 16 / 17)


def test_a_probability_of_one_half_is_membrane():
    assert FRACTION(np.full((2, 5), 0.5), np.ones((2, 5), bool)) == 0


def test_pixels_without_a_label_do_not_count():
    reference = np.array([[1, 0, 255, 255]])
    prediction = np.array([[1.0, 1.0, 1.0, 0.0]])
    assert FRACTION(prediction, reference) == 0.5
    assert math.isnan(FRACTION(prediction, np.full((1, 4), 255)))


def test_no_membrane_anywhere_is_undefined_and_invented_membrane_is_an_error_of_one():
    none, some = np.zeros((2, 5), bool), WALL == 1
    assert math.isnan(BEST_F(none, none))
    assert BEST_F(some, none) == 1
    assert BEST_F(none, some) == 1
    assert math.isnan(BEST_F_CELL(~none, ~none))


def test_rand_error_of_two_cells_merged_by_a_hole_worked_by_hand():
    merged = WALL.copy()
    merged[0, 2] = 0
    # reference pairs 2·(4·3/2) = 12, all found; the prediction makes one cell of eight: 8·7/2 = 28 pairs
    assert RAND(merged == 1, WALL) == pytest.approx(1 - 2 * 12 / (28 + 12))


def test_rand_error_of_a_cell_split_by_a_membrane_worked_by_hand():
    one_cell = np.zeros((2, 5), bool)
    # both halves of four found: 12 of the 45 pairs of ten pixels; the two pixels under the membrane pair with none
    assert RAND(WALL, one_cell) == pytest.approx(1 - 2 * 12 / (12 + 45))


def test_cells_touch_by_edges_not_by_corners():
    diagonal = np.array([[0, 1], [1, 0]])
    assert math.isnan(RAND(diagonal, diagonal)), "two cells of one pixel form no pair"
    assert RAND(np.zeros((2, 2), bool), diagonal) == 1, "merging them does"


def test_width_of_membranes_in_the_reference_does_not_count():
    thick = np.array([[0, 0, 1, 1, 1, 0, 0]])
    thin = np.array([[0, 0, 0, 1, 0, 0, 0]])
    assert RAND(thin, thick) == 0


def test_sections_are_cells_of_their_own_and_their_pairs_are_pooled():
    merged = WALL.copy()
    merged[0, 2] = 0
    both = RAND(np.stack([merged, WALL]) == 1, np.stack([WALL, WALL]))
    assert both == pytest.approx(1 - 2 * 24 / (28 + 12 + 24))


def test_rand_error_takes_the_best_threshold_common_to_all_sections():
    good = np.where(WALL, 0.45, 0.05)  # right at 0.1 to 0.4
    noisy = np.where(WALL, 0.95, 0.35)  # right at 0.4 to 0.9
    assert RAND(np.stack([good, noisy]), np.stack([WALL, WALL])) == 0
    assert RAND(good > 0.5, WALL) > 0


def test_logits_are_refused():
    with pytest.raises(DataError, match="logits"):
        FRACTION(np.array([[-3.0, 2.0]]), np.array([[0, 1]]))


@settings(max_examples=60, deadline=None)
@given(IMAGES, IMAGES)
def test_rand_error_agrees_with_scikit_image(prediction, reference):
    from skimage.measure import label
    from skimage.metrics import adapted_rand_error

    truth, found = [], []
    for r, p in zip(reference, prediction, strict=True):
        cells = label(~r, connectivity=1)
        truth.append(np.where(cells > 0, cells + 100 * len(truth), 0))
        # a predicted membrane pixel is a cell of its own: it pairs with none
        own = 10_000 * (len(found) + 1) + np.arange(p.size).reshape(p.shape)
        found.append(np.where(p, own, label(~p, connectivity=1) + 100 * len(found)))
    truth, found = np.stack(truth), np.stack(found)
    got = RAND(prediction, reference)
    pairs = [(n * (n - 1)) for n in np.unique(truth[truth > 0], return_counts=True)[1]]
    if not sum(pairs):
        assert math.isnan(got) or got == 1
        return
    with np.errstate(invalid="ignore", divide="ignore"):
        assert got == pytest.approx(adapted_rand_error(truth, found)[0])


@settings(max_examples=60, deadline=None)
@given(IMAGES, IMAGES)
def test_laws_of_membrane_metrics(prediction, reference):
    assert FRACTION(prediction, reference) == pytest.approx(np.mean(prediction != reference))
    assert FRACTION(prediction, reference) == FRACTION(reference, prediction)
    dice = METRICS["dice"](prediction, reference)
    assert BEST_F(prediction, reference) == pytest.approx(1 - dice, nan_ok=True)
    for metric in (FRACTION, BEST_F, BEST_F_CELL, RAND):
        value = metric(prediction, reference)
        assert math.isnan(value) or 0 <= value <= 1
        flipped = metric(prediction[::-1, ::-1, ::-1], reference[::-1, ::-1, ::-1])
        assert flipped == pytest.approx(value, nan_ok=True)
        as_probability = metric(prediction.astype(np.float32), reference)
        assert as_probability == pytest.approx(value, nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(arrays(np.float32, (3, 4), elements=st.floats(0, 1, width=32)), arrays(bool, (3, 4)))
def test_best_f_is_the_best_of_all_thresholds(probability, reference):
    thresholds = np.arange(1, 11, dtype=np.float32) / np.float32(10)
    fs = [METRICS["dice"](probability >= t, reference) for t in thresholds]
    if reference.any():
        assert BEST_F(probability, reference) == pytest.approx(1 - np.nanmax(fs))
