"""Warping error against hand-worked images, brute-force topology and a plain one-by-one warp."""

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import label

from recurseg.errors import DataError
from recurseg.evaluation import METRICS
from recurseg.evaluation.warping import SIMPLE, warp

ERROR, ALL = METRICS["warping_error:splits_mergers"], METRICS["warping_error"]
RING = [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0)]
EIGHT = np.ones((3, 3))
WALL = np.array([[0, 0, 1, 0, 0]] * 2)  # two cells of four pixels, a membrane of two between them
IMAGES = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=7).flatmap(
    lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape))
)


def components(cells: np.ndarray) -> tuple[int, int]:
    """4-connected cells and 8-connected membranes, the outside being membrane."""
    room = np.pad(cells, 1)
    return label(room)[1], label(~room, EIGHT)[1]


def is_simple(patch: np.ndarray) -> bool:
    """Whether flipping the middle of a 3 x 3 patch leaves the numbers of cells and membranes in it as they are."""
    flipped = patch.copy()
    flipped[1, 1] = ~flipped[1, 1]
    return all(
        label(patch == value, structure)[1] == label(flipped == value, structure)[1]
        for value, structure in ((True, None), (False, EIGHT))
    )


def test_the_simple_point_table_is_the_topology_of_all_neighbourhoods():
    for bits in itertools.product((False, True), repeat=8):
        patch = np.zeros((3, 3), bool)
        patch[tuple(np.transpose(RING))] = bits
        for middle in (False, True):
            patch[1, 1] = middle
            assert SIMPLE[sum(1 << k for k in range(8) if bits[k])] == is_simple(patch), f"\n{patch.astype(int)}"


@settings(max_examples=80, deadline=None)
@given(IMAGES)
def test_warping_keeps_the_topology_of_the_reference_and_stops_where_no_flip_is_left(images):
    reference, prediction = images
    warped = warp(reference, prediction)
    assert components(warped) == components(reference)
    assert not (warped != prediction)[reference == prediction].any(), "flips go towards the prediction alone"
    room = np.pad(warped, 1)
    for row, column in np.argwhere(warped != prediction):
        assert not is_simple(room[row : row + 3, column : column + 3])


@settings(max_examples=100, deadline=None)
@given(IMAGES)
@example((np.isin(np.arange(25), (0, 8)).reshape(5, 5), np.ones((5, 5), bool)))
def test_flipping_a_lattice_at_once_is_the_same_as_flipping_its_points_one_by_one(images):
    reference, prediction = images
    room, goal = np.pad(reference, 1), np.pad(prediction, 1)
    changed = True
    while changed:
        changed = False
        for first_row, first_column in ((1, 1), (1, 2), (2, 1), (2, 2)):
            for row in range(first_row, room.shape[0] - 1, 2):
                for column in range(first_column, room.shape[1] - 1, 2):
                    patch = room[row - 1 : row + 2, column - 1 : column + 2]
                    if room[row, column] != goal[row, column] and is_simple(patch):
                        room[row, column] = goal[row, column]
                        changed = True
    np.testing.assert_array_equal(warp(reference, prediction), room[1:-1, 1:-1])


def test_a_membrane_one_pixel_aside_or_of_another_width_is_no_error():
    reference, aside, thick = (np.zeros((6, 12), bool) for _ in range(3))
    reference[:, 3], aside[:, 4], thick[:, 2:6] = True, True, True
    for one, other in ((aside, reference), (thick, reference), (reference, thick)):
        assert ERROR(one, other) == ALL(one, other) == 0


def test_a_membrane_in_another_place_is_a_merger_here_and_a_split_there():
    reference, elsewhere = np.zeros((6, 12), bool), np.zeros((6, 12), bool)
    reference[:, 3], elsewhere[:, 8] = True, True
    # no pixel of the old wall can be opened, and the last of the new one cannot be closed
    assert ERROR(elsewhere, reference) == ALL(elsewhere, reference) == pytest.approx((6 + 1) / 72)


def test_a_hole_in_the_membrane_merges_two_cells_in_one_pixel():
    merged = WALL.copy()
    merged[0, 2] = 0
    # the reference's membrane cannot be opened there: 1 of 10 pixels, with a cell on its left and one on its right
    assert ERROR(merged, WALL) == ALL(merged, WALL) == pytest.approx(1 / 10)


def test_an_invented_membrane_splits_a_cell_in_one_pixel():
    one_cell = np.zeros((2, 5), bool)
    # the border bends in over the first of its two pixels, the second would cut the cell: 1 of 10
    assert ERROR(WALL, one_cell) == ALL(WALL, one_cell) == pytest.approx(1 / 10)


def test_holes_and_lost_cells_are_neither_splits_nor_mergers():
    cell = np.ones((7, 7), bool)
    cell[1:6, 1:6] = False  # a cell of 25 pixels
    dotted = cell.copy()
    dotted[3, 3] = True
    lost = np.ones((7, 7), bool)  # the cell shrinks to a last pixel, which cannot go
    # an invented cell has no border to grow from: all of it is wrong
    for prediction, reference, wrong in ((dotted, cell, 1), (cell, dotted, 1), (lost, cell, 1), (cell, lost, 25)):
        assert ALL(prediction, reference) == pytest.approx(wrong / 49)
        assert ERROR(prediction, reference) == 0


def test_opening_a_ring_shaped_cell_is_no_split_where_the_way_round_is_short():
    def opened(side: int) -> float:
        """A cell around a square of membrane, cut through once by the prediction; wrong pixels after warping."""
        ring = np.ones((side + 4, side + 4), bool)
        ring[1:-1, 1:-1] = False
        ring[2:-2, 2:-2] = True
        cut = ring.copy()
        cut[1, side // 2] = True
        return ERROR(cut, ring) * ring.size

    assert opened(9) == 0
    assert opened(45) == 1, "20 pixels around the cut do not see the other way round"


def test_errors_are_pooled_over_sections_at_the_best_common_threshold():
    merged = WALL.copy()
    merged[0, 2] = 0
    assert ERROR(np.stack([merged, WALL]), np.stack([WALL, WALL])) == pytest.approx(1 / 20)
    good, noisy = np.where(WALL, 0.45, 0.05), np.where(merged, 0.95, 0.35)  # right up to 0.4; merged from 0.4 up
    assert ALL(np.stack([good, noisy]), np.stack([WALL, WALL])) == pytest.approx(1 / 20)


def test_a_prediction_without_cells_has_no_splits_or_mergers_but_lost_every_cell():
    every = np.ones_like(WALL)
    assert ERROR(every, WALL) == 0
    assert ALL(every, WALL) == pytest.approx(2 / 10)


def test_unlabelled_pixels_are_not_counted():
    reference = np.array([[0, 0, 1, 0, 0, 255]] * 2)
    merged = np.where(reference == 255, 0, reference)
    merged[0, 2] = 0
    assert ERROR(merged, reference) == pytest.approx(1 / 10)
    assert np.isnan(ERROR(merged, np.full_like(merged, 255)))


def test_a_volume_of_four_axes_is_refused():
    with pytest.raises(DataError, match="sections"):
        ERROR(np.zeros((1, 1, 2, 2), bool), np.zeros((1, 1, 2, 2), bool))


@settings(max_examples=60, deadline=None)
@given(IMAGES)
def test_splits_and_mergers_are_some_of_the_warping_errors_and_these_some_of_the_wrong_pixels(images):
    prediction, reference = images
    wrong = METRICS["pixel_error:fraction@0.5"](prediction, reference)
    assert 0 <= ERROR(prediction, reference) <= ALL(prediction, reference) <= wrong
