from pathlib import Path

import numpy as np
import pytest

from recurseg.data.case import Deferred, Volume

WHOLE = np.arange(6 * 5 * 4).reshape(6, 5, 4)


def volume(spacing=(1.0, 1.0, 1.0), read=WHOLE.__getitem__, **more):
    array = Deferred(WHOLE.shape, WHOLE.dtype, read)
    return Volume(array, spacing, np.diag([*spacing, 1.0]), Path("x"), "array", **more)


@pytest.mark.parametrize(
    "index",
    [
        ...,
        0,
        -1,
        slice(1, 2),
        slice(None, None, -1),
        (slice(None), 1),
        (..., 1),
        (0, ..., slice(0, 2)),
        (slice(0, 9), 1, 1),
    ],
    ids=str,
)
@pytest.mark.parametrize("spacing", [(2.0, 1.0, 1.0), (1.0, 2.0, 1.0), (1.0, 1.0, 2.0)], ids=str)
def test_a_range_of_sections_is_indexed_like_the_array_it_stands_for(index, spacing):
    axis = spacing.index(2.0)
    part = WHOLE[tuple(slice(1, 3) if a == axis else slice(None) for a in range(3))]
    np.testing.assert_array_equal(volume(spacing).sections(1, 3).array[index], part[index])


def test_one_section_of_a_part_reads_one_section():
    asked = []
    part = volume((2.0, 1.0, 1.0), read=lambda index: (asked.append(index), WHOLE[index])[1]).sections(2, 6)
    np.testing.assert_array_equal(part.array[1], WHOLE[3])
    assert asked == [(3, slice(None), slice(None))]


def test_sections_keep_their_place_in_the_world():
    part = volume((1.0, 3.0, 1.0)).sections(2, 4)
    np.testing.assert_allclose(part.affine @ [0, 0, 0, 1], [0, 6, 0, 1])


@pytest.mark.parametrize(
    ("spacing", "stacked", "axis"),
    [((1, 1, 3), None, 2), ((1, 1, 1), None, 2), ((1, 1, 1), 0, 0), ((1, 1, 3), 0, 2), ((2, 2, 1), None, 1)],
    ids=str,
)
def test_sections_lie_along_the_coarsest_axis_or_the_stacked_or_the_last(spacing, stacked, axis):
    assert volume(tuple(map(float, spacing)), stack_axis=stacked).slice_axis == axis
