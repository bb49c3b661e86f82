from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recurseg.models.patches import ORDERS, PatchGrid, extract, fuse, scan_order, split_clocks


def grid(size, patch, stride):
    dims = len(size)
    return PatchGrid(tuple(size), (patch,) * dims, (stride,) * dims)


@pytest.mark.parametrize(
    ("size", "patch", "stride", "counts", "before"),
    [
        ((1024, 1024), 160, 80, (13, 13), (48, 48)),
        ((28, 28), 8, 4, (7, 7), (2, 2)),
        ((256, 256), 40, 20, (13, 13), (12, 12)),
    ],
)
def test_sequences_have_the_lengths_of_the_paper(size, patch, stride, counts, before):
    found = grid(size, patch, stride)
    assert found.counts == counts
    assert found.before == before
    assert found.padded == tuple(side + 2 * margin for side, margin in zip(size, before, strict=True))


def test_patches_are_the_image_s_own_voxels_row_by_row():
    image = torch.arange(1.0, 37).view(1, 1, 6, 6)
    patches = extract(image, grid((6, 6), 4, 2))
    assert patches.shape == (1, 9, 1, 4, 4)
    torch.testing.assert_close(patches[0, 4, 0], image[0, 0, 1:5, 1:5])
    corner = torch.zeros(4, 4)
    corner[1:, 1:] = image[0, 0, :3, :3]
    torch.testing.assert_close(patches[0, 0, 0], corner)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_fusing_what_was_extracted_gives_the_image_exactly(data):
    dims = data.draw(st.integers(2, 3))
    size = data.draw(st.lists(st.integers(1, 11), min_size=dims, max_size=dims))
    patch = data.draw(st.integers(1, 7))
    stride = data.draw(st.integers(1, patch))
    torch.manual_seed(data.draw(st.integers(0, 99)))
    image = torch.randn(2, 3, *size)
    found = grid(size, patch, stride)
    assert torch.equal(fuse(extract(image, found), found), image)


def test_what_overlaps_is_averaged():
    """Two patches of two pixels on a row of three with one pixel of padding behind: pixel 1 lies in both."""
    found = PatchGrid((1, 3), (1, 2), (1, 1))
    assert found.counts == (1, 3)
    patches = torch.tensor([[1.0, 2.0], [4.0, 8.0], [16.0, 32.0]]).view(1, 3, 1, 1, 2)
    assert fuse(patches, found).flatten().tolist() == [1.0, 3.0, 12.0]


@pytest.mark.parametrize("counts", [(3, 4), (1, 5), (4, 1), (2, 3, 4), (1, 1)])
@pytest.mark.parametrize("name", ORDERS)
def test_every_order_reads_every_patch_once(name, counts):
    order = scan_order(name, counts)
    assert sorted(order) == list(range(torch.Size(counts).numel()))


def test_orders_on_a_small_grid():
    assert scan_order("forward", (2, 3)) == [0, 1, 2, 3, 4, 5]
    assert scan_order("backward", (2, 3)) == [5, 4, 3, 2, 1, 0]
    assert scan_order("columns", (2, 3)) == [0, 3, 1, 4, 2, 5]
    assert scan_order("columns_backward", (2, 3)) == [5, 2, 4, 1, 3, 0]
    assert scan_order("snake", (3, 3)) == [0, 1, 2, 5, 4, 3, 6, 7, 8]
    assert scan_order("spiral", (3, 3)) == [0, 1, 2, 5, 8, 7, 6, 3, 4]


@pytest.mark.parametrize("counts", [(5, 4), (3, 3, 3)])
def test_snakes_and_spirals_step_from_neighbour_to_neighbour_within_a_plane(counts):
    for name in ("snake", "spiral"):
        cells = [divmod(number, counts[-1]) for number in scan_order(name, counts[-2:])]
        assert all(abs(a - c) + abs(b - d) == 1 for (a, b), (c, d) in pairwise(cells))


def test_chunks_hold_every_clock_once_and_every_patch_is_ready_once():
    orders = [scan_order(name, (3, 4)) for name in ("forward", "backward", "spiral")]
    chunks = split_clocks(orders, 5)
    for actor, order in enumerate(orders):
        assert [patch for chunk in chunks for patch in chunk.read[actor]] == order
    assert sorted(patch for chunk in chunks for patch in chunk.ready) == list(range(12))
    for chunk in chunks:
        assert set(chunk.ready) <= set(chunk.patches)
