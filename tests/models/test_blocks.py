import pytest
import torch

from recurseg.models.blocks import fold, unfold


def test_a_block_lies_side_by_side_in_the_channels():
    image = torch.arange(16.0).view(1, 1, 4, 4)
    assert fold(image, (2, 2))[0, :, 0, 0].sort().values.tolist() == [0, 1, 4, 5]


@pytest.mark.parametrize(("block", "shape"), [((2, 3, 1), (2, 18, 2, 2, 2)), ((1, 1, 1), (2, 3, 4, 6, 2))], ids=str)
def test_unfolding_undoes_folding(block, shape):
    x = torch.arange(2 * 3 * 4 * 6 * 2.0).view(2, 3, 4, 6, 2)
    assert fold(x, block).shape == shape
    torch.testing.assert_close(unfold(fold(x, block), block), x)


def test_a_size_that_blocks_do_not_divide_is_padded_at_its_end():
    x = torch.arange(15.0).view(1, 1, 3, 5)
    assert torch.equal(unfold(fold(x, (2, 2)), (2, 2))[:, :, :3, :5], x)
