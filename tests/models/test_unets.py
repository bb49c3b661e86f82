"""The U-Nets against what was published of them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from recurseg.errors import ConfigError
from recurseg.models import create_model


def count(name: str, in_channels: int, num_classes: int, **options) -> int:
    with torch.device("meta"):
        model = create_model(name, in_channels=in_channels, num_classes=num_classes, **options)
    return sum(parameter.numel() for parameter in model.parameters())


def test_unet_has_the_parameters_of_the_classic_network():
    assert count("unet", 1, 1) == 31_030_593


def test_unet_of_the_shamann_comparison_has_20_5_million_parameters():
    assert count("unet", 1, 1, widths=(64, 128, 256, 512, 512)) == 20_543_809


def test_light_unet_has_the_printed_parameters():
    assert count("light_unet", 1, 1) == 454_505


def test_light_unet_leaves_out_98_percent_of_the_classic_network():
    assert 0.98 < 1 - count("light_unet", 1, 1) / count("unet", 1, 1) < 0.99


def test_unet3d_has_the_parameters_of_the_rsanet_backbone():
    assert count("unet3d", 3, 2) == 23_766_368


def test_unet3d_has_biases_in_its_norms_only():
    model = create_model("unet3d", in_channels=1, num_classes=2, widths=(8, 16))
    owners = {
        type(model.get_submodule(name.rpartition(".")[0])).__name__
        for name, _ in model.named_parameters()
        if name.endswith("bias")
    }
    assert owners == {"GroupNorm"}


def test_light_unet_normalises_after_the_relu():
    model = create_model("light_unet", in_channels=1, num_classes=2, widths=(4, 8)).train()
    block = model.network.encoder[0](torch.randn(4, 1, 16, 16))
    assert block.min() < 0
    torch.testing.assert_close(block.mean((0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)


def test_unet_rectifies_after_the_norm():
    model = create_model("unet", in_channels=1, num_classes=2, widths=(4, 8), norm="batch").train()
    block = model.network.encoder[0](torch.randn(4, 1, 16, 16))
    assert block.min() == 0


def test_unet_equals_its_equations_written_out():
    torch.manual_seed(0)
    model = create_model("unet", in_channels=1, num_classes=2, widths=(3, 5)).eval()
    w = dict(model.network.named_parameters())

    def convolve(x, block):
        for layer in ("0", "3"):
            x = F.relu(F.conv2d(x, w[f"{block}.{layer}.weight"], w[f"{block}.{layer}.bias"], padding=1))
        return x

    image = torch.randn(1, 1, 6, 8)
    fine = convolve(image, "encoder.0")
    coarse = convolve(F.max_pool2d(fine, 2), "encoder.1")
    up = F.conv_transpose2d(coarse, w["up.0.weight"], w["up.0.bias"], stride=2)
    joined = convolve(torch.cat([fine, up], dim=1), "decoder.0")
    torch.testing.assert_close(model(image), F.conv2d(joined, w["head.weight"], w["head.bias"]))


def test_unet3d_equals_its_equations_written_out():
    torch.manual_seed(0)
    model = create_model("unet3d", in_channels=1, num_classes=2, widths=(4, 8), groups=2).eval()
    w = dict(model.network.named_parameters())

    def convolve(x, block):
        for conv, norm in (("0", "1"), ("3", "4")):
            x = F.conv3d(x, w[f"{block}.{conv}.weight"], padding=1)
            x = F.relu(F.group_norm(x, 2, w[f"{block}.{norm}.weight"], w[f"{block}.{norm}.bias"]))
        return x

    image = torch.randn(1, 1, 4, 6, 2)
    fine = convolve(F.conv3d(image, w["stem.0.weight"], padding=1), "encoder.0")
    coarse = convolve(F.conv3d(fine, w["down.0.weight"], stride=2, padding=1), "encoder.1")
    up = F.interpolate(F.conv3d(coarse, w["up.0.0.weight"]), scale_factor=2, mode="nearest")
    joined = convolve(torch.cat([fine, up], dim=1), "decoder.0")
    logits = F.conv3d(F.conv3d(joined, w["head.0.weight"], padding=1), w["head.1.weight"])
    torch.testing.assert_close(model(image), logits)


@pytest.mark.parametrize("norm", ["none", "batch", "instance", "group"])
def test_unet_trains_on_one_voxel_with_every_norm(norm):
    model = create_model("unet", in_channels=1, num_classes=2, widths=(8, 16), norm=norm).train()
    model(torch.randn(1, 1, 1, 1)).square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_unet_keeps_the_scale_of_its_input_when_fresh():
    torch.manual_seed(0)
    model = create_model("unet", in_channels=1, num_classes=2, widths=(16, 32, 64, 128, 256)).eval()
    with torch.no_grad():
        spread = model(torch.randn(2, 1, 64, 64)).std().item()
    assert 0.1 < spread < 10


def test_unknown_norm_gets_the_nearest():
    with pytest.raises(ConfigError, match="unknown norm 'batchnorm'; did you mean 'batch'"):
        create_model("unet", in_channels=1, num_classes=2, norm="batchnorm")


def test_unet_of_the_cross_modality_comparison_has_stacked_modalities_batch_norm_and_orthogonal_weights():
    options = {"norm": "batch", "init": "orthogonal", "widths": (8, 16)}
    model = create_model("unet", in_channels=4, num_classes=5, **options).train()
    logits = model(torch.randn(2, 4, 10, 12))
    assert logits.shape == (2, 5, 10, 12)
    logits.square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_orthogonal_unet_has_orthogonal_kernels_with_the_gain_of_relu():
    model = create_model("unet", in_channels=4, num_classes=5, init="orthogonal", widths=(8, 16))
    kernel = model.network.encoder[1][0].weight.detach().flatten(1)
    torch.testing.assert_close(kernel @ kernel.T, 2 * torch.eye(16), atol=1e-5, rtol=0)


def test_unknown_init_gets_the_nearest():
    with pytest.raises(ConfigError, match="unknown init 'orthogonally'; did you mean 'orthogonal'"):
        create_model("unet", in_channels=1, num_classes=2, init="orthogonally")
