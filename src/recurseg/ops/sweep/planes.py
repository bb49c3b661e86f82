"""Same convolutions of many planes, and their gradients.

A library's convolution computes with blocks of channels and wastes most of them where there are only a few, so that
with one channel a matrix product over the windows, spelt out, is four times as fast on a CPU; and of weights that few
channels share it takes the gradient at half the speed of a matrix product. Each function takes the quicker way.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_SPELT_OUT = 64
"""Most numbers in a window (channels × kernel) that are spelt out for each position."""


def convolve(planes: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Correlates planes `(N, C, H, W)` with weights `(M, C, kh, kw)`, zero-padded to the same size."""
    if not _spelt_out(planes, weight):
        return F.conv2d(planes, weight, bias, padding=_pads(weight))
    rows = weight.flatten(1).expand(len(planes), -1, -1)
    windows = _windows(planes, weight)
    found = torch.bmm(rows, windows) if bias is None else torch.baddbmm(bias[:, None], rows, windows)
    return found.unflatten(2, planes.shape[2:])


def gradient_of_planes(grad: Tensor, weight: Tensor) -> Tensor:
    """The gradient `(N, C, H, W)` that planes get from that of what `convolve` made of them."""
    if not _spelt_out(grad, weight):
        return F.conv2d(grad, adjoint(weight), padding=_pads(weight))
    (height, width), (kh, kw) = grad.shape[2:], weight.shape[2:]
    columns = torch.bmm(weight.flatten(1).t().expand(len(grad), -1, -1), grad.flatten(2))
    columns = columns.unflatten(2, (height, width)).unflatten(1, (-1, kh, kw))
    padded = grad.new_zeros(len(grad), weight.shape[1], height + kh - 1, width + kw - 1)
    for y in range(kh):
        for x in range(kw):
            padded[..., y : y + height, x : x + width] += columns[:, :, y, x]
    return padded[..., kh // 2 : kh // 2 + height, kw // 2 : kw // 2 + width]


def gradient_of_weight(grad: Tensor, planes: Tensor, weight: Tensor) -> Tensor:
    """The gradient, float32, that a weight of `convolve` gets; `grad` is `(N, M, H, W)`, `planes` `(N, C, H, W)`."""
    if grad.device.type != "cpu" or grad.dtype != torch.float32:
        return _library_gradient_of_weight(grad, planes, weight).float()
    flat = grad.flatten(2).transpose(1, 2)
    if _spelt_out(planes, weight):
        return _product(_windows(planes, weight), flat).t().view_as(weight)
    flat = flat.contiguous()  # of sums over neighbours in both factors some libraries make half the speed
    (height, width), (kh, kw) = planes.shape[2:], weight.shape[2:]
    shifted, rows = _shifted(planes, kw), grad.new_zeros(kh, kw * planes.shape[1], grad.shape[1])
    for row, y in zip(rows, range(-(kh // 2), kh // 2 + 1), strict=True):
        if abs(y) < height:
            first, last = max(0, -y) * width, (height - max(0, y)) * width
            row += _product(shifted[:, :, first + y * width : last + y * width], flat[:, first:last])
    return rows.unflatten(1, (kw, -1)).permute(3, 2, 0, 1)


def adjoint(weight: Tensor) -> Tensor:
    """The weights with which a same convolution takes a gradient back; of 16 channels or fewer, channels last."""
    turned = weight.transpose(0, 1).flip(2, 3)
    few = turned.device.type == "cpu" and len(turned) <= 16
    return turned.contiguous(memory_format=torch.channels_last) if few else turned.contiguous()


def _product(one: Tensor, other: Tensor) -> Tensor:
    """Sum over n of the products of `(N, a, P)` and `(N, P, b)`."""
    return one[0] @ other[0] if len(one) == 1 else torch.bmm(one, other).sum(0)


def _spelt_out(planes: Tensor, weight: Tensor) -> bool:
    few = math.prod(weight.shape[1:]) <= _SPELT_OUT
    return few and planes.device.type == "cpu" and planes.dtype == torch.float32


def _pads(weight: Tensor) -> list[int]:
    return [k // 2 for k in weight.shape[2:]]


def _windows(planes: Tensor, weight: Tensor) -> Tensor:
    """`(N, C·kh·kw, H·W)`: what the kernel sees at each position."""
    kh, kw = weight.shape[2:]
    padded = F.pad(planes, (kw // 2, kw // 2, kh // 2, kh // 2))
    seen = padded.unfold(2, kh, 1).unfold(3, kw, 1).permute(0, 1, 4, 5, 2, 3)
    return seen.reshape(len(planes), -1, math.prod(planes.shape[2:]))


def _shifted(planes: Tensor, kw: int) -> Tensor:
    """`(N, kw·C, H·W)`: the planes moved along their rows by each column of the kernel."""
    width, found = planes.shape[3], planes.new_zeros(len(planes), kw, *planes.shape[1:])
    for column, x in enumerate(range(-(kw // 2), kw // 2 + 1)):
        first, last = max(0, -x), width - max(0, x)
        if first < last:
            found[:, column, ..., first:last] = planes[..., first + x : last + x]
    return found.flatten(1, 2).flatten(2)


def _library_gradient_of_weight(grad: Tensor, planes: Tensor, weight: Tensor) -> Tensor:
    ones, pads = [1, 1], _pads(weight)
    _, found, _ = torch.ops.aten.convolution_backward(
        grad, planes, weight, None, ones, pads, ones, False, [0, 0], 1, [False, True, False]
    )
    return found
