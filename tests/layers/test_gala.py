"""GALA against each of its descriptions, restated."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from recurseg.layers.gala import GALA, VARIANTS

EPS = 1e-3


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def build(variant, channels=4, **options):
    torch.manual_seed(0)
    layer = GALA(channels, variant=variant, **options)
    for seed, parameter in enumerate(layer.parameters()):
        parameter.data += 0.3 * draw(*parameter.shape, seed=seed)
    return layer


def convolve(parts, number, x):
    weight = parts[number].weight
    return F.conv2d(x, weight, parts[number].bias, padding=weight.shape[-1] // 2)


def normed(part, x):
    return F.instance_norm(x, weight=part.scale, bias=part.shift, eps=EPS)


def test_thesis_pools_nothing_and_norms_both_paths():
    layer, x = build("thesis"), draw(2, 4, 6, 5)
    what = normed(layer.globally[2], convolve(layer.globally, 0, x).relu())
    where = normed(layer.locally[2], convolve(layer.locally, 0, x).relu())
    assert where.shape == (2, 1, 6, 5)
    torch.testing.assert_close(layer(x), what * where)


def test_serre_lab_is_the_thesis_s_without_norms():
    layer, x = build("serre_lab"), draw(2, 4, 6, 5)
    torch.testing.assert_close(layer(x), convolve(layer.globally, 0, x).relu() * convolve(layer.locally, 0, x).relu())


def test_tf_asks_what_of_the_maximum():
    layer, x = build("tf"), draw(2, 4, 6, 5)
    what = convolve(layer.globally, 0, F.adaptive_max_pool2d(x, 1))
    assert what.shape == (2, 4, 1, 1)
    torch.testing.assert_close(layer(x), what * convolve(layer.locally, 0, x))


def test_iclr2019_adds_and_multiplies_what_and_where_of_narrow_layers():
    layer, x = build("iclr2019", channels=8), draw(2, 8, 6, 5)
    g = convolve(layer.globally, 2, convolve(layer.globally, 0, x.mean((2, 3), keepdim=True)).relu())
    l = convolve(layer.locally, 2, convolve(layer.locally, 0, x).relu())
    a, m = layer.linear.view(-1, 1, 1), layer.bilinear.view(-1, 1, 1)
    torch.testing.assert_close(layer(x), torch.tanh(a * (g + l) + m * g * l))
    assert layer.globally[0].weight.shape == (2, 8, 1, 1)


@pytest.mark.parametrize("variant", ["thesis", "serre_lab", "tf"])
def test_two_layers_are_half_as_wide_between(variant):
    layer = build(variant, layers=2)
    shapes = [list(p.shape) for p in layer.parameters() if p.ndim == 4]
    assert shapes == [[2, 4, 1, 1], [4, 2, 1, 1], [2, 4, 5, 5], [1, 2, 5, 5]]
    assert layer(draw(2, 4, 6, 5)).shape == (2, 4, 6, 5)


@pytest.mark.parametrize(
    ("variant", "parameters"),
    [
        ("thesis", 24 * 25 + 48 + 25 * 24 + 1 + 2),
        ("serre_lab", 24 * 25 + 25 * 24 + 1),
        ("tf", 24 * 25 + 25 * 24 + 1),
        ("iclr2019", (24 * 6 + 6) + (6 * 24 + 24) + (24 * 6 + 6) + (6 + 1) + 48),
    ],
)
def test_parameters_are_those_of_its_convolutions_and_scales(variant, parameters):
    assert sum(p.numel() for p in GALA(24, variant=variant).parameters()) == parameters


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (7, 5)], ids=str)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_weight_gets_a_finite_gradient_at_any_size_and_elements_are_apart(variant, layers, size):
    layer, x = build(variant, layers=layers), draw(2, 4, *size).requires_grad_()
    out = layer(x)
    torch.testing.assert_close(out, torch.cat([layer(one) for one in x.split(1)]))
    out[0].square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())
    assert x.grad[1].abs().sum() == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("variant", VARIANTS)
def test_autocast_gives_float32_and_stays_near(variant, dtype):
    layer, x = build(variant), draw(2, 4, 6, 5)
    with torch.autocast("cpu", dtype=dtype):
        low = layer(x)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, layer(x), rtol=0.1, atol=0.1)


def test_begins_orthogonal():
    weight = GALA(6, variant="tf").globally[0].weight.detach().flatten(1)
    torch.testing.assert_close(weight @ weight.T, torch.eye(6), atol=1e-5, rtol=0)
