"""RSANet and its non-local rival: sizes of the paper, where attention stands, what padding may say."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from recurseg.errors import ConfigError
from recurseg.layers.slice_attention import RSABlock
from recurseg.models import create_model

SMALL = {"in_channels": 2, "num_classes": 3, "widths": (4, 8, 12), "groups": 4}
ATTENDED = ["rsanet", "non_local_unet3d"]


def build(name="rsanet", **options) -> nn.Module:
    """A model whose attention is as loud as if it had been trained."""
    torch.manual_seed(0)
    return loud(create_model(name, **SMALL | options).eval())


def loud(model: nn.Module) -> nn.Module:
    for key, parameter in model.named_parameters():
        if "attention" in key and ("alpha" in key or ".out." in key):
            nn.init.constant_(parameter, 0.3)
    return model


def count(name: str, **options) -> int:
    with torch.device("meta"):
        model = create_model(name, in_channels=3, num_classes=2, **options)
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("placement", "parameters"), [("010", 24_554_339), ("101", 24_161_126), ("111", 24_949_097)])
def test_rsanet_has_the_parameters_of_the_released_code(placement, parameters):
    assert count("rsanet", placement=placement) == parameters


def test_rsanet_stands_at_101_by_default():
    assert count("rsanet") == 24_161_126


def test_the_rival_adds_half_width_maps_to_the_same_network():
    assert count("non_local_unet3d") == count("unet3d") + 2 * 512**2 + 5 * 256


@pytest.mark.parametrize("name", ATTENDED)
def test_a_fresh_network_is_the_plain_one(name):
    torch.manual_seed(0)
    plain = create_model("unet3d", **SMALL).eval()
    torch.manual_seed(1)
    model = create_model(name, **SMALL, placement="111").eval()
    missing = model.load_state_dict(plain.state_dict(), strict=False)
    assert all("attention" in key for key in missing.missing_keys)
    image = torch.randn(1, 2, 5, 7, 6)
    torch.testing.assert_close(model(image), plain(image))


def test_rsanet_equals_its_blocks_written_out():
    model = build(widths=(4, 8), placement="111")
    network, rsa = model.network, model.network.attention
    volume = torch.randn(1, 2, 4, 6, 8)
    fine = rsa["encoder0"](network.encoder[0](network.stem(volume)))
    coarse = rsa["bottom"](network.encoder[1](network.down[0](fine)))
    joined = rsa["decoder0"](network.decoder[0](torch.cat([fine, network.up[0](coarse)], dim=1)))
    torch.testing.assert_close(model(volume), network.head(joined))


@pytest.mark.parametrize(
    ("placement", "blocks"),
    [
        ("010", ["bottom"]),
        ("101", ["encoder1", "decoder1"]),
        (101, ["encoder1", "decoder1"]),
        ("111", ["encoder1", "bottom", "decoder1"]),
        (["decoder0", "bottom", "encoder0"], ["encoder0", "bottom", "decoder0"]),
        ([], []),
    ],
    ids=str,
)
def test_blocks_stand_where_placement_says(placement, blocks):
    attention = build(placement=placement).network.attention
    assert list(attention) == blocks
    widths = {"encoder0": 4, "decoder0": 4, "encoder1": 8, "decoder1": 8, "bottom": 12}
    assert [block.weight.shape[1] for block in attention.values()] == [widths[name] for name in blocks]


@pytest.mark.parametrize("placement", ["11", "1010", "012", "both", 8])
def test_an_unknown_placement_is_refused(placement):
    with pytest.raises(ConfigError, match=r"unknown placement .* give '010', '101', '111' or a list of"):
        build(placement=placement)


def test_an_unknown_block_gets_the_nearest():
    with pytest.raises(ConfigError, match=r"'rsanet': no block 'encode1' .*did you mean 'encoder1'"):
        build(placement=["encode1"])


def test_order_reaches_the_blocks_and_a_wrong_one_is_refused():
    assert [block.order for block in build(order=[2, 1, 0]).network.attention.values()] == [(2, 1, 0)] * 2
    with pytest.raises(ConfigError, match="order"):
        build(order=[3])


@pytest.mark.parametrize("placement", ["010", "101", "111"])
@pytest.mark.parametrize("name", ATTENDED)
def test_padding_takes_no_part_in_attention(name, placement):
    """Whatever stands at positions that hold padding alone changes no logit through attention."""
    model = build(name, placement=placement)
    image = torch.randn(1, 2, 3, 2, 4)
    seen = []

    def spoil(block, given):
        x, real = given
        seen.append(real)
        return torch.where(real, x, 1e3), real

    def mend(block, given, out):
        return torch.where(given[1], out, 0)

    for block in model.network.attention.values():
        block.register_forward_pre_hook(spoil)
    quiet = build(name, placement=placement)
    for block in [*model.network.attention.values(), *quiet.network.attention.values()]:
        block.register_forward_hook(mend)
    torch.testing.assert_close(model(image), quiet(image), rtol=1e-4, atol=1e-4)
    assert seen
    assert all(real is not None and not real.all() for real in seen)


@pytest.mark.parametrize("name", ATTENDED)
def test_masks_are_as_coarse_as_the_maps_and_absent_without_padding(name):
    model, seen = build(name, placement="111"), []
    for block in model.network.attention.values():
        block.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    model(torch.zeros(1, 2, 8, 8, 8))
    assert seen == [None] * 3
    seen.clear()
    model(torch.zeros(1, 2, 5, 8, 3))
    fine, coarse = torch.zeros(1, 1, 4, 4, 2, dtype=torch.bool), torch.zeros(1, 1, 2, 2, 1, dtype=torch.bool)
    fine[:, :, :3] = coarse[:] = True
    assert torch.equal(seen[0], fine)
    assert torch.equal(seen[1], coarse)
    assert torch.equal(seen[2], fine)


@pytest.mark.parametrize("name", ATTENDED)
def test_every_voxel_hears_of_the_farthest(name):
    image = torch.randn(1, 2, 8, 40, 40, requires_grad=True)
    (build(name, placement="010")(image)[..., 0, 0, 0].sum()).backward()
    assert image.grad[0, :, -1, -1, -1].abs().sum() > 0


@pytest.mark.parametrize("alpha", [0, 1, 2])
def test_cutting_a_direction_changes_the_logits(alpha):
    model, image = build(), torch.randn(1, 2, 8, 12, 16)
    before = model(image)
    with torch.no_grad():
        for block in model.network.attention.values():
            block.alpha[alpha] = 0
    assert (model(image) - before).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["unet", "light_unet"])
def test_networks_of_images_take_rsa_blocks(name):
    options = {"in_channels": 1, "num_classes": 2, "widths": (4, 8)}
    torch.manual_seed(0)
    plain = create_model(name, **options).eval()
    model = create_model(name, **options, slice_attention="111").eval()
    model.load_state_dict(plain.state_dict(), strict=False)
    image = torch.randn(2, 1, 7, 5)
    torch.testing.assert_close(model(image), plain(image))
    assert [type(block) for block in model.network.attention.values()] == [RSABlock] * 3
    loud(model)
    assert (model(image) - plain(image)).abs().max() > 1e-3
    torch.testing.assert_close(model(image), torch.cat([model(one) for one in image.split(1)]))
    model.train()(image).square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_fused_and_plain_non_local_networks_agree():
    plain, fused = (build("non_local_unet3d", placement="111", fused=fused) for fused in (False, True))
    image = torch.randn(2, 2, 5, 7, 6)
    torch.testing.assert_close(plain(image), fused(image), rtol=1e-4, atol=1e-4)
