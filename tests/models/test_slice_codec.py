"""The parts that models of slices share."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from recurseg.models.slice_codec import to_logits, to_slices, up_convolution


@pytest.mark.parametrize(("coarse", "fine"), [(4, 4), (6, 3), (5, 3), (3, 5)], ids=str)
def test_up_convolution_begins_by_repeating_pixels_and_leaves_no_channel_out(coarse, fine):
    up = up_convolution(coarse, fine)
    flat = torch.ones(1, coarse, 3, 5)
    torch.testing.assert_close(up(flat), torch.ones(1, fine, 6, 10))
    x = torch.randn(1, coarse, 3, 5, requires_grad=True)
    doubled = up(x)
    torch.testing.assert_close(doubled, F.interpolate(doubled[..., ::2, ::2], scale_factor=2, mode="nearest"))
    doubled.sum().backward()
    assert (x.grad > 0).all()


def test_slices_of_a_volume_come_back_as_its_own():
    image = torch.randn(2, 3, 4, 5, 6)
    slices = to_slices(image, name="a model", in_channels=3, multiple=8)
    assert slices.shape == (8, 3, 8, 16)  # two positions at the coarsest level
    assert torch.equal(slices[5, :, :5, :6], image[1, :, 1])
    assert torch.equal(to_logits(slices, image), image)
