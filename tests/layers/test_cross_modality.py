"""Cross-modality convolution against PyTorch's 3-D convolution, and what missing modalities may not do."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from recurseg.layers.cross_modality import FUSIONS, CrossModalityConvolution

MODALITIES, CHANNELS = 4, 5


def layer(kind, **options):
    torch.manual_seed(0)
    made = CrossModalityConvolution(MODALITIES, CHANNELS, kind=kind, **options)
    for parameter in made.parameters():
        nn.init.normal_(parameter)
    return made


def maps(batch=3, *, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return list(torch.rand(MODALITIES, batch, CHANNELS, 4, 6, generator=generator))


def test_dense_is_a_3d_convolution_with_kernel_4_1_1():
    fuse, features = layer("dense"), maps()
    kernel = fuse.weight.permute(1, 2, 0)[..., None, None]  # (C_out, C_in, M, 1, 1)
    expected = F.conv3d(torch.stack(features, dim=2), kernel, fuse.bias)
    torch.testing.assert_close(fuse(features), expected[:, :, 0])


def test_depthwise_is_that_convolution_for_each_channel_alone():
    fuse, features = layer("depthwise"), maps()
    kernel = fuse.weight.T[:, None, :, None, None]  # (C, 1, M, 1, 1)
    expected = F.conv3d(torch.stack(features, dim=2), kernel, fuse.bias, groups=CHANNELS)
    torch.testing.assert_close(fuse(features), expected[:, :, 0])


def test_scalar_is_one_weight_a_modality():
    fuse = CrossModalityConvolution(2, 1, kind="scalar", bias=False)
    fuse.weight.data = torch.tensor([3.0, -1.0])
    assert fuse([torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1), 5.0)]).item() == 3 * 2 - 5


@pytest.mark.parametrize(("kind", "weights"), [("dense", 4 * 25), ("depthwise", 4 * 5), ("scalar", 4)])
def test_weights_begin_with_the_modality(kind, weights):
    fuse = CrossModalityConvolution(MODALITIES, CHANNELS, kind=kind, bias=False)
    assert fuse.weight.shape[0] == MODALITIES
    assert sum(parameter.numel() for parameter in fuse.parameters()) == weights


@pytest.mark.parametrize("kind", FUSIONS)
def test_with_all_there_it_is_the_plain_convolution_exactly(kind):
    fuse, features = layer(kind), maps()
    assert torch.equal(fuse(features, torch.ones(3, MODALITIES, dtype=torch.bool)), fuse(features))


@pytest.mark.parametrize("garbage", [math.nan, math.inf, 1e9], ids=str)
@pytest.mark.parametrize("kind", FUSIONS)
def test_what_an_absent_modality_holds_changes_nothing_and_gets_no_gradient(kind, garbage):
    fuse, present = layer(kind), torch.tensor([[True, False, True, True]] * 3)
    features = maps()
    fused = fuse(features, present)
    features[1] = torch.full_like(features[1], garbage).requires_grad_()
    other = fuse(features, present)
    assert torch.equal(fused, other)
    other.sum().backward()
    assert features[1].grad.abs().sum() == 0
    assert fuse.weight.grad.isfinite().all()
    assert fuse.weight.grad[1].abs().sum() == 0


@settings(max_examples=30, deadline=None)
@given(there=st.lists(st.booleans(), min_size=4, max_size=4).filter(any), kind=st.sampled_from(FUSIONS))
def test_where_modalities_say_the_same_it_does_not_matter_which_are_there(there, kind):
    fuse = layer(kind)
    fuse.weight.data = fuse.weight.data[:1].expand_as(fuse.weight).clone()
    features = maps()[:1] * MODALITIES
    torch.testing.assert_close(fuse(features, torch.tensor([there] * 3)), fuse(features))


def test_the_bias_belongs_to_no_modality():
    fuse = layer("dense")
    zeros = [torch.zeros(1, CHANNELS, 1, 1)] * MODALITIES
    only = torch.tensor([[False, False, True, False]])
    torch.testing.assert_close(fuse(zeros, only)[0, :, 0, 0], fuse.bias)


def test_images_of_a_batch_may_lack_different_modalities():
    fuse, features = layer("dense"), maps()
    present = torch.tensor([[True, False, True, True], [False, False, False, True], [True, True, True, True]])
    each = [fuse([x[n : n + 1] for x in features], present[n : n + 1]) for n in range(3)]
    torch.testing.assert_close(fuse(features, present), torch.cat(each))


@pytest.mark.parametrize("kind", FUSIONS)
def test_a_fresh_layer_keeps_the_scale_of_rectified_maps(kind):
    torch.manual_seed(0)
    fuse = CrossModalityConvolution(4, 64, kind=kind)
    fused = fuse(list(torch.randn(4, 2, 64, 8, 8).relu()))
    assert 0.3 < fused.square().mean().sqrt().item() < 2
