"""The U-Net for each slice with a ConvLSTM both ways along them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from recurseg.errors import ConfigError
from recurseg.models import create_model

SMALL = {"in_channels": 2, "num_classes": 3, "widths": (4, 8)}


def build(**options):
    torch.manual_seed(0)
    return create_model("k_unet", **SMALL | options).eval()


def test_parameters_are_the_u_net_s_without_its_head_and_two_conv_lstms():
    with torch.device("meta"):
        ours, unet = (create_model(name, in_channels=4, num_classes=5, norm="batch") for name in ("k_unet", "unet"))
    counts = [sum(parameter.numel() for parameter in model.parameters()) for model in (ours, unet)]
    conv_lstm = 4 * 64 * (64 + 64) * 9 + 4 * 64
    assert counts[0] == counts[1] - 65 * 5 + 2 * conv_lstm + (2 * 64 + 1) * 5 == 31_635_013


def test_equals_u_net_conv_lstms_and_a_map_of_both_directions():
    model = build(norm="none", hidden=3)
    unet = create_model("unet", **SMALL).eval()
    unet.network.head = torch.nn.Identity()
    unet.network.load_state_dict(model.unet.state_dict())
    image = torch.randn(1, 2, 5, 8, 6)
    maps = torch.stack([unet.network(plane) for plane in image.unbind(2)], dim=2)
    forth, _ = model.sequence.forth(maps)
    back, _ = model.sequence.back(maps.flip(2))
    expected = F.conv3d(torch.cat([forth, back.flip(2)], dim=1), model.head.weight[..., None], model.head.bias)
    torch.testing.assert_close(model(image), expected, rtol=1e-4, atol=1e-5)


def test_every_slice_sees_every_other():
    image = torch.randn(1, 2, 5, 8, 8, requires_grad=True)
    build()(image)[:, :, 2].square().sum().backward()
    assert (image.grad.abs().sum((0, 1, 3, 4)) > 0).all()


def test_a_part_given_what_is_known_before_and_behind_it_is_as_in_the_whole():
    model = build()
    front, back = (image := torch.randn(2, 2, 5, 9, 7)).split([3, 2], dim=2)
    with torch.no_grad():
        first, (before, _) = model(front, (None, model.behind(back)), return_state=True)
        second = model(back, (before, None))
        torch.testing.assert_close(torch.cat([first, second], dim=2), model(image), rtol=1e-4, atol=1e-5)


def test_present_is_refused():
    image, present = torch.zeros(1, 2, 3, 8, 8), torch.ones(1, 2, dtype=torch.bool)
    for ask in (build(), build().behind):
        with pytest.raises(ConfigError, match="'k_unet' needs every modality"):
            ask(image, present=present)


def test_unknown_norm_names_this_model():
    with pytest.raises(ConfigError, match="'k_unet': unknown norm 'bach'; did you mean 'batch'"):
        build(norm="bach")
