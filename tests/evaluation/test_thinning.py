"""V_Rand and V_Info after thinning against hand-worked images and scikit-image."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from recurseg.evaluation import METRICS
from recurseg.evaluation.thinning import agreement, thin

V_RAND, V_INFO = METRICS["v_rand:thinned"], METRICS["v_info:thinned"]
WALL = np.array([[0, 0, 1, 0, 0]] * 2)  # two cells of four pixels, a membrane of two between them
IMAGES = arrays(bool, (6, 7))


def test_membranes_are_thinned_to_their_middle_and_dangling_ones_vanish():
    thick = np.array([[1, 1, 0, 0, 0, 1, 1]], bool)
    assert thin(thick).tolist() == [[1, 1, 1, 0, 2, 2, 2]]
    dangling = np.ones((3, 3), bool)
    dangling[:2, 1] = False
    assert (thin(dangling) == 1).all()


def test_width_of_membranes_does_not_count_on_either_side():
    thick, thin_ = np.array([[0, 0, 1, 1, 1, 0, 0]]), np.array([[0, 0, 0, 1, 0, 0, 0]])
    for prediction, reference in ((thick, thin_), (thin_, thick)):
        assert V_RAND(prediction, reference) == V_INFO(prediction, reference) == 1


def test_two_cells_merged_by_a_hole_worked_by_hand():
    merged = WALL.copy()
    merged[0, 2] = 0
    # two cells of 4 in one of 8: overlaps 4² + 4², prediction 8², reference 4² + 4²
    assert V_RAND(merged, WALL) == pytest.approx(2 * 32 / (64 + 32))
    assert V_INFO(merged, WALL) == pytest.approx(0), "one cell tells nothing of two"


def test_a_cell_split_in_two_worked_by_hand():
    reference = np.array([[0] * 5 + [1] + [0] * 5])
    split = reference.copy()
    split[0, 2] = 1  # the left cell of 5 falls into 2, a line of 1, and 2
    assert V_RAND(split, reference) == pytest.approx(2 * (4 + 1 + 4 + 25) / ((4 + 1 + 4 + 25) + (25 + 25)))
    of_pieces = -(2 * 0.2 * math.log(0.2) + 0.1 * math.log(0.1) + 0.5 * math.log(0.5))
    assert V_INFO(split, reference) == pytest.approx(2 * math.log(2) / (math.log(2) + of_pieces))


def test_v_rand_pools_sections_and_v_info_takes_their_mean():
    merged = WALL.copy()
    merged[0, 2] = 0
    prediction, reference = np.stack([merged, WALL]), np.stack([WALL, WALL])
    assert V_RAND(prediction, reference) == pytest.approx(2 * 64 / ((64 + 32) + (32 + 32)))
    assert V_INFO(prediction, reference) == pytest.approx((0 + 1) / 2)


def test_one_cell_everywhere_agrees_with_itself_and_an_image_without_reference_cells_is_undefined():
    none, every = np.zeros((2, 5), bool), np.ones((2, 5), bool)
    assert V_RAND(none, none) == V_INFO(none, none) == 1
    assert V_RAND(every, none) == V_INFO(every, none) == 1, "a membrane without cells is thinned away"
    assert math.isnan(V_RAND(none, every))
    assert math.isnan(V_INFO(none, every))


def test_the_best_threshold_is_common_to_all_sections():
    good, noisy = np.where(WALL, 0.45, 0.05), np.where(WALL, 0.95, 0.35)
    for metric in (V_RAND, V_INFO):
        assert metric(np.stack([good, noisy]), np.stack([WALL, WALL])) == pytest.approx(1)


@settings(max_examples=60, deadline=None)
@given(IMAGES, IMAGES)
def test_scikit_image_finds_the_same_on_label_images(prediction, reference):
    from skimage.measure import label, shannon_entropy
    from skimage.metrics import adapted_rand_error, variation_of_information

    if reference.all():
        return
    truth, found = label(~reference, connectivity=1), thin(~prediction)
    lines = found == 0
    found[lines] = found.max() + 1 + np.arange(np.count_nonzero(lines))  # each line pixel is a cell of its own
    inside = truth > 0
    entropies = shannon_entropy(truth[inside]) + shannon_entropy(found[inside])
    if entropies:
        apart = variation_of_information(truth, found, ignore_labels=(0,)).sum()
        assert V_INFO(prediction, reference) == pytest.approx(1 - apart / entropies)

    got, pixels = agreement(prediction, reference), np.count_nonzero(inside)
    # scikit-image counts pairs of two pixels, V_Rand also a pixel with itself: n² = 2·pairs + n
    pairs = [squares[0] - pixels for squares in (got.both, got.prediction, got.reference)]
    if pairs[1] + pairs[2]:
        with np.errstate(invalid="ignore", divide="ignore"):
            error = adapted_rand_error(truth, found)[0]
        assert 1 - 2 * pairs[0] / (pairs[1] + pairs[2]) == pytest.approx(error, nan_ok=True)
    assert V_RAND(prediction, reference) == pytest.approx(2 * got.both[0] / (got.prediction[0] + got.reference[0]))
