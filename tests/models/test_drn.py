"""DRN-C against what was published of it."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from recurseg.errors import ConfigError
from recurseg.models import create_model

WIDTHS = (2, 3, 4, 5, 6, 7, 7, 8)


@pytest.mark.parametrize(
    ("name", "in_channels", "num_classes", "printed"),
    [
        ("drn_c_26", 3, 1, 20_614_097),
        ("drn_c_26", 3, 2, 20_614_610),
        ("drn_c_26", 3, 1000, 21_126_584),
        ("drn_c_42", 3, 1, 30_722_257),
        ("drn_c_42", 3, 1000, 31_234_744),
    ],
)
def test_parameters_are_those_of_the_published_networks(name, in_channels, num_classes, printed):
    with torch.device("meta"):
        model = create_model(name, in_channels=in_channels, num_classes=num_classes)
    assert sum(parameter.numel() for parameter in model.parameters()) == printed


def test_the_image_shrinks_to_an_eighth_and_the_logits_grow_back():
    model = create_model("drn_c_26", in_channels=1, num_classes=2, widths=WIDTHS).eval()
    trunk, head, _ = model.network
    image = torch.randn(1, 1, 40, 64)
    assert head(trunk(image)).shape == (1, 2, 5, 8)
    assert model(image).shape == (1, 2, 40, 64)


def test_upsampling_is_the_transposed_convolution_with_frozen_bilinear_weights():
    *_, up = create_model("drn_c_26", in_channels=1, num_classes=3, widths=WIDTHS).network
    tent = 1 - (torch.arange(16) - 7.5).abs() / 8
    weights = torch.outer(tent, tent).expand(3, 1, 16, 16)
    logits = torch.randn(1, 3, 4, 5)
    published = F.conv_transpose2d(logits, weights, stride=8, padding=4, groups=3)
    torch.testing.assert_close(up(logits)[..., 4:-4, 4:-4], published[..., 4:-4, 4:-4])
    held = F.conv_transpose2d(F.pad(logits, (1, 1, 1, 1), mode="replicate"), weights, stride=8, padding=12, groups=3)
    torch.testing.assert_close(up(logits), held)


def test_the_last_two_levels_have_no_shortcuts():
    model = create_model("drn_c_26", in_channels=1, num_classes=1, widths=WIDTHS)
    blocks = [layer for layer in model.network[0] if hasattr(layer, "shortcut")]
    assert [block.shortcut is not None for block in blocks] == [True] * 10 + [False] * 2


def test_dilation_reaches_as_far_as_the_levels_say():
    """The convolutions' half-widths, each times its dilation and the stride before it, add up."""
    torch.manual_seed(0)
    model = create_model("drn_c_26", in_channels=1, num_classes=1, widths=WIDTHS).double().eval()
    image = torch.randn(1, 1, 801, 9, dtype=torch.float64, requires_grad=True)
    trunk = model.network[0]
    y = trunk(image)
    y[0, :, 50, 0].abs().sum().backward()  # position 50 stands on pixel 400
    seen = image.grad[0, 0].abs().sum(1).nonzero()[:, 0] - 400
    half = 3 + (1 + 1) + (1 + 2) + (2 + 3 * 4) + (4 + 3 * 8) + 8 * (4 * 2 + 4 * 4 + 2 * 2 + 2 * 1)
    assert (-int(seen.min()), int(seen.max())) == (half, half)


def test_a_fresh_network_is_not_saturated():
    torch.manual_seed(0)
    model = create_model("drn_c_26", in_channels=1, num_classes=1).train()
    with torch.no_grad():
        assert model(torch.randn(2, 1, 64, 64)).abs().max() < 5


def test_a_wrong_number_of_widths_is_one_line():
    with pytest.raises(ConfigError, match="drn_c_26"):
        create_model("drn_c_26", in_channels=1, num_classes=1, widths=(4, 8))
