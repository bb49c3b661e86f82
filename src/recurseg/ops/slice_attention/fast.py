"""Slice attention as it runs by default: two maps of a voxel in place of three, and little kept for backward.

- `θ(x_i)·φ(x_j) = x_jᵀ (W_φᵀ W_θ x_i + W_φᵀ b_θ) + b_φᵀ θ(x_i)`, whose last term is the same for all j and leaves the
  softmax alone: one map of x replaces θ and φ, and φ's bias has no gradient. Where voxels are missing it is not the
  same for all j: then each voxel carries a 1 as a further channel, 0 at padding, and the biases become weights.
- `A g(x) = W_g (A x) + b_g`, as rows of A sum to 1: g(x) is not held.
- Channels stand last from the first axis to the last: slices along any axis are then rows of memory, or nearly.
- Backward needs x before each axis and A, and works out the rest again.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

AT_ONCE = 1 << 20
"""Numbers that are read or written at a time while products are summed."""


def slice_attention(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    alpha: Tensor,
    axes: Sequence[int],
    *,
    mask: Tensor | None = None,
    scaled: bool = False,
) -> tuple[Tensor, list[Tensor]]:
    """The RSA block; arguments as in `recurseg.ops.slice_attention.slice_attention`.

    Under autocast the maps run in its precision, and products are summed in float32.
    """
    device = x.device.type
    low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
    with torch.autocast(device, enabled=False):
        theta, phi, g = torch.cat([weight, bias.unsqueeze(2)], dim=2)  # (C, C + 1) each
        ask = phi.T @ theta
        state = x.movedim(1, -1)
        if mask is None:
            real = None
            ask, ask_bias, take, take_bias = ask[:-1, :-1], ask[:-1, -1], g[:, :-1], g[:, -1]
        else:
            real = mask.expand(len(x), *mask.shape[1:]).movedim(1, -1)
            state = F.pad(state, (0, 1), value=1.0) * real
            ask_bias = take_bias = bias.new_zeros(len(ask))
            take = F.pad(g, (0, 0, 0, 1))
        state, attentions = state.contiguous(), []
        for axis, a in zip(axes, alpha.unbind(), strict=True):
            scale = _scale(state, real, axis, x.shape[1]) if scaled else None
            maps = (ask.to(low), ask_bias.to(low), (a * take).to(low), (a * take_bias).to(low))
            state, attention = _Attend.apply(state, *maps, real, scale, axis)
            attentions.append(attention)
        if mask is None:
            return state.movedim(-1, 1).contiguous(), attentions
        return torch.where(mask, state[..., :-1].movedim(-1, 1), x), attentions


class _Attend(torch.autograd.Function):
    """`x + real · (take (A x) + b)` with `A = softmax(scale · (ask x + b)·x)`, and A; channels last."""

    @staticmethod
    def forward(ctx: Any, state, ask, ask_bias, take, take_bias, real, scale, axis):
        x = state.to(ask.dtype)
        attention = _products(F.linear(x, ask, ask_bias), x, axis)
        if scale is not None:
            attention *= scale
        if real is not None:
            empty = _voxels(state, real, axis) == 0
            attention.masked_fill_(empty[:, None], torch.finfo(attention.dtype).min)
        attention = attention.softmax(dim=2)
        if real is not None:
            attention.masked_fill_(empty[:, :, None], 0)
        heard = F.linear(_mix(attention, x, axis), take, take_bias)
        if real is not None:
            heard *= real
        ctx.axis = axis
        ctx.save_for_backward(x, ask, ask_bias, take, attention, real, scale)
        return heard.to(state.dtype).add_(state), attention

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_state, grad_attention):
        x, ask, ask_bias, take, attention, real, scale = ctx.saved_tensors
        axis, channels = ctx.axis, x.shape[-1]
        grad = grad_state.to(x.dtype).contiguous()
        if real is not None:
            grad = grad * real
        flat = grad.view(-1, channels)
        grad_take = flat.T @ _mix(attention, x, axis).view(-1, channels)
        grad_take_bias = flat.sum(0)
        taken = grad @ take
        grad_attention = grad_attention + _products(taken, x, axis)
        slope = attention * (grad_attention - (attention * grad_attention).sum(2, keepdim=True))
        if scale is not None:
            slope *= scale
        asked = _mix(slope, x, axis)
        flat = asked.view(-1, channels)
        grad_ask, grad_ask_bias = flat.T @ x.view(-1, channels), flat.sum(0)
        grad_x = _mix(attention.mT, taken, axis, onto=asked @ ask)
        grad_x = _mix(slope.mT, F.linear(x, ask, ask_bias), axis, onto=grad_x).to(grad_state.dtype)
        grads = grad_ask, grad_ask_bias, grad_take, grad_take_bias
        return grad_x.add_(grad_state), *grads, None, None, None


def _slices(x: Tensor, axis: int) -> Tensor:
    """`(B, *spatial, C)` → `(B, voxels before the axis, S, voxels after it · C)`, a view."""
    return x.view(len(x), prod(x.shape[1 : 1 + axis]), x.shape[1 + axis], -1)


def _scale(state: Tensor, real: Tensor | None, axis: int, channels: int) -> Tensor:
    """One over the root of the numbers in the fullest slice, `(B, 1, 1)`."""
    numbers = channels * _voxels(state, real, axis).amax(1).clamp(min=1)
    return numbers.to(torch.promote_types(state.dtype, torch.float32)).rsqrt().view(-1, 1, 1)


def _voxels(state: Tensor, real: Tensor | None, axis: int) -> Tensor:
    """Voxels of each slice that are no padding, `(B, S)`."""
    if real is None:
        size = state.shape[1:-1]
        return torch.full((len(state), size[axis]), prod(size) // size[axis], device=state.device)
    return _slices(real.contiguous(), axis).sum((1, 3))


def _products(a: Tensor, b: Tensor, axis: int) -> Tensor:
    """Scalar products of the slices of a with those of b, `(B, S, S)`, summed in float32 or float64."""
    a, b = _slices(a, axis), _slices(b, axis)
    size, length = a.shape[2:]
    exact = torch.promote_types(a.dtype, torch.float32)
    total = torch.zeros(len(a), size, size, dtype=exact, device=a.device)
    for sums, *pair in zip(total, a, b, strict=True):
        pieces = (rows.split(max(1, AT_ONCE // (size * max(size, length)))) for rows in pair)
        for rows_a, rows_b in zip(*pieces, strict=True):
            sums += torch.bmm(rows_a.to(exact), rows_b.to(exact).mT).sum(0)
    return total


def _mix(weights: Tensor, x: Tensor, axis: int, onto: Tensor | None = None) -> Tensor:
    """Sums of the slices of x, weighted by each row of `weights`; added to `onto` where there is one."""
    mixed = torch.empty_like(x) if onto is None else onto
    each = zip(weights.to(x.dtype), _slices(x, axis), _slices(mixed, axis), strict=True)
    for rows, slices, out in each:
        out.baddbmm_(rows.expand(len(slices), *rows.shape), slices, beta=0 if onto is None else 1)
    return mixed
