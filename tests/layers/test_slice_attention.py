"""The RSA block: how it begins, its size, and what its directions are good for."""

from __future__ import annotations

import pytest
import torch

from recurseg.errors import ConfigError
from recurseg.layers.slice_attention import RSABlock


def build(channels=4, *, alpha=0.5, **options):
    torch.manual_seed(0)
    block = RSABlock(channels, scaled=True, **options)
    torch.nn.init.constant_(block.alpha, alpha)
    return block


def image(*spatial, channels=4, batch=1):
    return torch.randn(batch, channels, *spatial, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("channels", "parameters"), [(512, 787_971), (256, 197_379)])
def test_parameters_are_three_maps_and_three_alphas(channels, parameters):
    with torch.device("meta"):
        block = RSABlock(channels)
    assert (
        sum(parameter.numel() for parameter in block.parameters()) == parameters == 3 * (channels**2 + channels) + 3
    )


def test_a_fresh_block_changes_nothing():
    x = image(3, 4, 5)
    assert torch.equal(RSABlock(4)(x), x)


def test_maps_begin_as_pytorch_s_convolutions():
    block = RSABlock(400)
    convolution = torch.nn.Conv3d(400, 400, 1)
    for ours, theirs in ((block.weight, convolution.weight), (block.bias, convolution.bias)):
        assert ours.abs().max().item() == pytest.approx(theirs.abs().max().item(), rel=0.01)
        assert ours.std().item() == pytest.approx(theirs.std().item(), rel=0.1)


@pytest.mark.parametrize(("dims", "order"), [(3, (0, 1, 2)), (2, (0, 1))])
def test_order_is_from_the_first_axis_to_the_last_by_default(dims, order):
    assert RSABlock(4, spatial_dims=dims).order == order


@pytest.mark.parametrize("order", [(), (0, 3), (-1,)])
def test_an_axis_that_is_not_there_is_refused(order):
    with pytest.raises(ConfigError, match=r"must name axes of \[0, 1, 2\]"):
        RSABlock(4, order=order)


def reached(block, x, voxel):
    """Voxels of the output that move when one voxel of x does."""
    moved = x.clone()
    moved[(0, slice(None), *voxel)] += 1
    with torch.no_grad():
        return (block.double()(moved.double()) != block(x.double())).any(1)[0]


@pytest.mark.parametrize("dims", [2, 3])
def test_one_voxel_reaches_all_others_after_all_directions(dims):
    spatial = (4, 5, 6)[-dims:]
    assert reached(build(spatial_dims=dims), image(*spatial), (1, 2, 3)[-dims:]).all()


@pytest.mark.parametrize("cut", [0, 1, 2], ids=["sagittal", "coronal", "axial"])
def test_cutting_a_direction_changes_what_the_block_says(cut):
    block, x = build(), image(4, 5, 6)
    whole = block(x)
    with torch.no_grad():
        block.alpha[cut] = 0
    assert (block(x) - whole).abs().max() > 1e-2


def test_a_slice_alone_hears_itself_only():
    block, x = build(order=(0,)), image(1, 5, 6)
    g = torch.einsum("oc,bcdhw->bodhw", block.weight[2], x) + block.bias[2].view(-1, 1, 1, 1)
    torch.testing.assert_close(block(x), x + 0.5 * g)


def test_attention_is_that_of_each_axis_in_order():
    block, x = build(order=(1, 2, 0)), image(4, 5, 6, batch=2)
    out, attentions = block.attend(x)
    assert torch.equal(out, block(x))
    assert [attention.shape for attention in attentions] == [(2, 5, 5), (2, 6, 6), (2, 4, 4)]


def test_images_of_a_batch_do_not_meet():
    block, x = build(), image(4, 5, 6, batch=3)
    torch.testing.assert_close(block(x), torch.cat([block(one) for one in x.split(1)]))
