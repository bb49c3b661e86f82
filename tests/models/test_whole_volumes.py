"""Volumes that go through 3-D U-Nets whole: cut into slabs, the logits are those of the network as it is trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from recurseg.bench.peak import peak_memory
from recurseg.inference import predict_probabilities
from recurseg.layers import slab_conv
from recurseg.layers.slice_attention import RSABlock
from recurseg.models import create_model

NETWORKS = [
    ("unet3d", {}),
    *(("rsanet", {"placement": placement}) for placement in ("010", "101", "111")),
    *(("non_local_unet3d", {"placement": placement}) for placement in ("010", "111")),
]


def build(name="rsanet", **options) -> nn.Module:
    """A network whose attention is as loud as if it had been trained."""
    torch.manual_seed(0)
    options = {"widths": (4, 8, 12), "groups": 4} | options
    model = create_model(name, in_channels=3, num_classes=2, **options).eval()
    for key, parameter in model.named_parameters():
        if "attention" in key and ("alpha" in key or ".out." in key):
            nn.init.constant_(parameter, 0.3)
    return model


def volume(*size, batch=1):
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("numbers", [1, 500, 2000], ids="{} numbers a slab".format)
@pytest.mark.parametrize("size", [(8, 12, 16), (5, 13, 7), (1, 9, 3)], ids=str)
@pytest.mark.parametrize(("name", "options"), NETWORKS, ids=str)
def test_logits_in_slabs_are_those_of_the_plain_network(monkeypatch, name, options, size, numbers):
    model, image = build(name, **options), volume(*size, batch=2)
    plain = model(image).detach()
    monkeypatch.setattr(slab_conv, "NUMBERS_AT_ONCE", numbers)
    with torch.no_grad():
        torch.testing.assert_close(model(image), plain, rtol=1e-4, atol=1e-5)


def test_a_window_beyond_the_volume_lets_attention_see_all_of_it(monkeypatch):
    model, image, seen = build(), volume(5, 21, 18), []
    for block in model.modules():
        if isinstance(block, RSABlock):
            block.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape[2:])))
    monkeypatch.setattr(slab_conv, "NUMBERS_AT_ONCE", 1000)
    found = predict_probabilities(model, image[0].numpy(), window=(64, 272, 336))
    assert seen == [(4, 12, 10)] * 2  # 8 × 24 × 20 voxels, halved once
    np.testing.assert_allclose(found, model(image).softmax(1)[0].detach().numpy(), atol=1e-5)


def test_a_network_holds_four_of_its_finest_maps(monkeypatch):
    """The skip, the coarse maps brought to its size, and the two side by side; all else is small beside them."""
    monkeypatch.setattr(slab_conv, "NUMBERS_AT_ONCE", 2**16)
    model, image = build(widths=(32, 32), groups=8, placement=["bottom"]), volume(16, 64, 64)
    with torch.no_grad():
        assert peak_memory(lambda: model(image)) < 4.5 * 4 * 32 * 16 * 64 * 64
