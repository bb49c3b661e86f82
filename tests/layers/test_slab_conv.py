"""Convolution in slabs: the numbers of PyTorch's, in little more memory than what goes in and what comes out."""

from __future__ import annotations

import sys

import pytest
import torch
from torch.nn import functional as F

from recurseg.layers import slab_conv
from recurseg.layers.slab_conv import SlabConv3d
from recurseg.training.memory import PeakMemory

SIZES = [(1, 1, 1), (2, 3, 7), (3, 5, 8), (4, 6, 13)]


@pytest.fixture
def widths(monkeypatch):
    """Widths of the slabs that were convolved, where a slab reads and writes so many numbers."""

    def of(numbers):
        monkeypatch.setattr(slab_conv, "NUMBERS_AT_ONCE", numbers)
        seen = []
        columns = SlabConv3d._columns
        monkeypatch.setattr(
            SlabConv3d, "_columns", lambda *given: seen.append(given[3] - given[2]) or columns(*given)
        )
        return seen

    return of


def build(kernel=3, stride=1, *, fine=3, coarse=4):
    torch.manual_seed(0)
    return SlabConv3d(fine, coarse, kernel, stride=stride)


def volume(*size, channels=3, batch=1):
    return torch.randn(batch, channels, *size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("numbers", [1, 150, 400], ids="{} numbers".format)
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (1, 1), (5, 3)])
def test_slabs_of_any_width_give_the_numbers_of_pytorch(widths, size, numbers, kernel, stride):
    widths(numbers)
    conv, x = build(kernel, stride), volume(*size, batch=2)
    with torch.no_grad():
        found = conv(x)
    expected = F.conv3d(x.double(), conv.weight.double(), stride=stride, padding=kernel // 2)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("stride", "expected"), [(1, [3, 3, 3, 3, 1]), (2, [2, 2, 2, 1])])
def test_slabs_read_and_write_no_more_than_they_may(widths, stride, expected):
    seen = widths(3 * 4 * 4 * 6)  # three columns of four channels of 4 × 6 voxels
    with torch.inference_mode():
        build(stride=stride)(volume(4, 6, 13))
    assert seen == expected


def test_nothing_is_cut_where_a_gradient_is_asked_for(widths):
    seen = widths(1)
    conv, x = build(), volume(2, 7, 3).requires_grad_()
    conv(x).square().sum().backward()
    assert not seen
    assert x.grad is not None


def test_small_maps_are_not_cut(widths):
    seen = widths(slab_conv.NUMBERS_AT_ONCE)
    with torch.no_grad():
        build()(volume(4, 6, 13))
    assert not seen


def test_maps_have_the_precision_of_autocast(widths):
    widths(1)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert build()(volume(2, 7, 3)).dtype == torch.bfloat16


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a process")
def test_a_large_map_needs_little_beside_itself(monkeypatch):
    monkeypatch.setattr(slab_conv, "NUMBERS_AT_ONCE", 2**19)
    conv, x = build(fine=16, coarse=16), volume(32, 128, 128, channels=16)
    written = x.nbytes / 2**20
    with torch.no_grad():
        conv(x[..., :32])  # what PyTorch allocates once
        peak = PeakMemory(torch.device("cpu"))
        before = peak.mib()
        conv(x)
        after = peak.mib()
    assert before is not None
    assert after is not None
    assert after - before < 1.5 * written


@pytest.mark.parametrize("columns", [4, 6, 7, 8, 12])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 3)])
def test_a_map_alone_in_its_batch_has_the_same_sums_and_gradients(kernel, stride, columns):
    conv, x = build(kernel, stride), volume(5, 6, columns).requires_grad_()
    plain = F.conv3d(x, conv.weight, stride=stride, padding=kernel // 2)
    found, weight = conv(x), torch.randn_like(plain)
    torch.testing.assert_close(found, plain)
    expected = torch.autograd.grad((weight * plain).sum(), [x, conv.weight])
    gradients = torch.autograd.grad((weight * found).sum(), [x, conv.weight])
    torch.testing.assert_close(gradients, expected, rtol=1e-4, atol=1e-4)
