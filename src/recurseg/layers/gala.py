"""Global-and-local attention: what to look for in every channel, times where to look for it."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recurseg.ops.fgru.fast import instance_norm

Variant = Literal["thesis", "serre_lab", "tf", "iclr2019"]
VARIANTS = ("thesis", "serre_lab", "tf", "iclr2019")

NORM_SCALE = 0.1
REDUCTION = 4


class GALA(nn.Module):
    """The attention of an fGRU: a map a channel ("what", g) and one map of all ("where", l).

    | variant | what | where | together |
    |---|---|---|---|
    | `thesis` | 1×1 convolution at every position, ReLU, norm | k×k to one map, ReLU, norm | `g l` is the gate |
    | `serre_lab` | 1×1 convolution at every position, ReLU | k×k to one map, ReLU | `g l`, then norm, bias, sigmoid |
    | `tf` | 1×1 convolution of each channel's maximum | k×k to one map | `g l`, then norm, bias, sigmoid |
    | `iclr2019` | 1×1, ReLU, 1×1 of each channel's mean | 1×1, ReLU, 1×1 | `tanh(a (g + l) + m g l)` is the gate |

    Discrepancies: the thesis calls the first path global, but its code pools nothing, and its gate has neither
    sigmoid nor bias, so it is unbounded and signed. The attention of the 2019 paper has two layers, narrow by 4, in
    any case; a and m are weights of each channel and begin at 1.

    Args:
        channels: C.
        variant: Which of them.
        layers: 1, or 2: C → C/2 → C and C → C/2 → 1, ReLU between; `iclr2019` always has its own two.
        kernel: Odd side k of the local convolutions.

    Source: Linsley et al. 2019 (GALA); figure 2.9 of the gamma-Net thesis.
    """

    def __init__(self, channels: int, *, variant: Variant = "tf", layers: int = 1, kernel: int = 5) -> None:
        super().__init__()
        self.variant = variant
        self.is_gate = variant in ("thesis", "iclr2019")
        if variant == "iclr2019":
            narrow = max(1, channels // REDUCTION)
            self.globally = _path([channels, narrow, channels], 1)
            self.locally = _path([channels, narrow, 1], 1)
            self.linear = nn.Parameter(torch.ones(channels))
            self.bilinear = nn.Parameter(torch.ones(channels))
        else:
            between = [max(1, channels // 2)] * (layers - 1)
            norm, last = variant == "thesis", variant != "tf"
            self.globally = _path([channels, *between, channels], 1, norm=norm, rectify_last=last)
            self.locally = _path([channels, *between, 1], kernel, norm=norm, rectify_last=last)

    def forward(self, state: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Returns what stands for `U1 * H2` in an fGRU, or is its first gate where `is_gate`; in float32."""
        what = self.globally(self._seen_globally(state)).to(state.dtype)
        where = self.locally(state).to(state.dtype)  # (B, 1, H, W)
        if self.variant != "iclr2019":
            return what * where
        linear, bilinear = self.linear.view(-1, 1, 1), self.bilinear.view(-1, 1, 1)
        return torch.tanh(linear * (what + where) + bilinear * what * where)

    def _seen_globally(self, state: Tensor) -> Tensor:
        if self.variant == "tf":
            return state.amax((2, 3), keepdim=True)
        return state.mean((2, 3), keepdim=True) if self.variant == "iclr2019" else state


class _InstanceNorm(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((channels,), NORM_SCALE))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return instance_norm(x.to(self.scale.dtype), self.scale, self.shift)


def _path(widths: list[int], kernel: int, *, norm: bool = False, rectify_last: bool = False) -> nn.Sequential:
    """Convolutions through these widths, each before ReLU (the last where asked) and, where asked, a norm."""
    parts: list[nn.Module] = []
    for number, (inner, outer) in enumerate(pairwise(widths), start=1):
        convolution = nn.Conv2d(inner, outer, kernel, padding=kernel // 2)
        nn.init.orthogonal_(convolution.weight)
        nn.init.constant_(convolution.get_parameter("bias"), 0)
        parts.append(convolution)
        if rectify_last or number < len(widths) - 1:
            parts.append(nn.ReLU())
        if norm:
            parts.append(_InstanceNorm(outer))
    return nn.Sequential(*parts)
