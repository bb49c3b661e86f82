"""SegNet against its equations."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from recurseg.errors import ConfigError
from recurseg.models import create_model


def build(**options):
    torch.manual_seed(0)
    return create_model("segnet", in_channels=3, num_classes=2, **{"widths": (4, 6)} | options)


def test_parameters_of_camvid():
    with torch.device("meta"):
        model = create_model("segnet", in_channels=3, num_classes=12)
    seven, norm = 64 * 64 * 49 + 64, 128
    first, up = 3 * 64 * 49 + 64 + norm, 64 * 64 * 4 + 64
    expected = first + 3 * (seven + norm) + 4 * (up + seven + norm) + 65 * 12
    assert sum(parameter.numel() for parameter in model.parameters()) == expected == 1_482_444


def test_image_is_normalised_over_its_channels_as_printed():
    """b = a / (1 + 1e-4 · Σ a²)^0.75, the sum over five channels on either side (Krizhevsky et al. 2012)."""
    image = 50 * torch.randn(2, 3, 4, 4)
    expected = image / (1 + 1e-4 * image.square().sum(1, keepdim=True)) ** 0.75
    torch.testing.assert_close(build().network.norm(image), expected)


def convolve(w, level, x):
    x = F.conv2d(x, w[f"{level}.0.weight"], w[f"{level}.0.bias"], padding=3)
    mean, var = w[f"{level}.1.running_mean"], w[f"{level}.1.running_var"]
    return F.batch_norm(x, mean, var, w[f"{level}.1.weight"], w[f"{level}.1.bias"])


def test_equals_its_equations_written_out():
    model, image = build().eval(), torch.randn(1, 3, 8, 12)
    w, x = model.network.state_dict(), model.network.norm(image)
    for level in (0, 1):
        x = F.max_pool2d(convolve(w, f"encoder.{level}", x).relu(), 2)
    for level in (1, 0):
        x = F.conv_transpose2d(x, w[f"up.{level}.weight"], w[f"up.{level}.bias"], stride=2)
        x = convolve(w, f"decoder.{level}", x)
    logits = F.conv2d(x, w["head.weight"], w["head.bias"])
    torch.testing.assert_close(model(image), logits, rtol=1e-4, atol=1e-5)


def test_indices_put_a_value_where_the_maximum_was():
    model, image = build(upsampling="indices").eval(), torch.randn(1, 3, 8, 12)
    seen = []
    model.network.decoder[1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(image)
    w, x = model.network.state_dict(), model.network.norm(image)
    maps = convolve(w, "encoder.1", F.max_pool2d(convolve(w, "encoder.0", x).relu(), 2)).relu()
    highest = F.interpolate(F.max_pool2d(maps, 2), scale_factor=2, mode="nearest")
    torch.testing.assert_close(seen[0], maps * (maps == highest))


def test_transposed_convolutions_begin_by_repeating_each_pixel():
    up, x = build().network.up[0], torch.randn(1, 4, 3, 5)
    torch.testing.assert_close(up(x), F.interpolate(x, scale_factor=2, mode="nearest"))


def test_weights_begin_orthogonal():
    kernel = build(widths=(8, 8)).network.encoder[1][0].weight.detach().flatten(1)
    torch.testing.assert_close(kernel @ kernel.T, 2 * torch.eye(8), atol=1e-4, rtol=0)


def test_unknown_upsampling_gets_the_nearest():
    with pytest.raises(ConfigError, match="unknown upsampling 'index'; did you mean 'indices'"):
        build(upsampling="index")
