"""Slice attention, written as equations 1 and 2 of Zhang et al. 2019."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor


def attend(
    x: Tensor, weight: Tensor, bias: Tensor, alpha: Tensor, *, axis: int, mask: Tensor | None, scaled: bool
) -> tuple[Tensor, Tensor]:
    """The SA block of one axis: x afterwards and A."""

    def rows(maps: Tensor) -> Tensor:
        return maps.movedim(2 + axis, 1).flatten(2)  # (B, S, C·rest)

    real = torch.ones_like(x[:, :1]) if mask is None else mask.expand(len(x), *mask.shape[1:]).to(x.dtype)
    maps = torch.einsum("moc,bc...->mbo...", weight, x) + bias.view(3, 1, -1, *[1] * (x.ndim - 2))
    theta, phi, g = maps * real
    m_2, m_1, m_3 = rows(theta), rows(phi).mT, rows(g)
    voxels = rows(real).sum(2)  # (B, S)
    logits = m_2 @ m_1
    if scaled:
        logits = logits / (x.shape[1] * voxels.amax(1)).clamp(min=1).sqrt().view(-1, 1, 1)
    logits = logits.masked_fill(voxels[:, None] == 0, torch.finfo(x.dtype).min)
    attention = logits.softmax(dim=2) * (voxels[:, :, None] > 0)
    size = [x.shape[2 + axis], x.shape[1], *x.shape[2 : 2 + axis], *x.shape[3 + axis :]]
    assert prod(size) == x[0].numel()
    heard = (attention @ m_3).unflatten(2, size[1:]).movedim(1, 2 + axis)
    return alpha * heard * real + x, attention


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
    """The RSA block; arguments as in `recurseg.ops.slice_attention.slice_attention`. All in float32 or float64."""
    attentions = []
    with torch.autocast(x.device.type, enabled=False):
        state = x.to(torch.promote_types(x.dtype, torch.float32))
        for axis, a in zip(axes, alpha.unbind(), strict=True):
            state, attention = attend(state, weight, bias, a, axis=axis, mask=mask, scaled=scaled)
            attentions.append(attention)
    return state.to(x.dtype), attentions
