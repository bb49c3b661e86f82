from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recurseg.errors import ResourceError
from recurseg.inference.bricks import Bricks

SIZES = st.lists(st.integers(1, 13), min_size=1, max_size=3).map(tuple)


def take(axis: int, planes: range) -> tuple[slice, ...]:
    return (slice(None),) * (1 + axis) + (slice(planes.start, planes.stop),)


@settings(max_examples=60, deadline=None)
@given(channels=st.integers(1, 3), spatial=SIZES, longest=st.integers(1, 8), data=st.data())
def test_slabs_written_along_one_axis_are_read_along_any(tmp_path_factory, channels, spatial, longest, data):
    volume = np.random.default_rng(0).standard_normal((channels, *spatial), dtype=np.float32)
    bricks = Bricks(tmp_path_factory.mktemp("bricks") / "volume", channels, spatial, longest)
    bricks.create()
    along = data.draw(st.integers(0, len(spatial) - 1))
    for index in range(bricks.grid[along]):
        bricks.write(along, index, volume[take(along, bricks.planes(along, index))])
    assert bricks.complete
    for axis, count in enumerate(bricks.grid):
        for index in range(count):
            np.testing.assert_array_equal(bricks.read(axis, index), volume[take(axis, bricks.planes(axis, index))])


def test_slabs_are_even_so_that_little_is_wasted():
    bricks = Bricks(Path("none"), 2, (9, 1, 48), 8)
    assert bricks.sides == (5, 1, 8)
    assert [len(bricks.planes(0, index)) for index in range(bricks.grid[0])] == [5, 4]
    assert bricks.nbytes == 2 * 10 * 48 * 4


def test_a_new_file_holds_zeros_and_one_of_another_length_is_not_complete(tmp_path):
    bricks = Bricks(tmp_path / "volume", 1, (4, 4), 2)
    assert not bricks.complete
    bricks.create()
    assert not bricks.read(1, 1).any()
    bricks.path.write_bytes(b"short")
    assert not bricks.complete


def test_a_folder_that_cannot_be_written_ends_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="cannot be written"):
        Bricks(tmp_path / "file" / "volume", 1, (4, 4), 2).create()
