"""Maps of coarser levels brought up to a finer one and mixed there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class TopDown(nn.Module):
    """A 1×1 convolution of coarser maps, enlarged bilinearly and side by side.

    Mixing channels and enlarging maps commute, so each is mixed at its own size and only the sum's channels grow.

    Args:
        widths: Channels of each of the maps.
        width: Channels of what they become.

    Source: gamma-Net thesis, figure 2.8.
    """

    def __init__(self, widths: Sequence[int], width: int) -> None:
        super().__init__()
        self.widths = list(widths)
        self.mix = nn.Conv2d(sum(widths), width, 1)

    def forward(self, maps: Sequence[Float[Tensor, "b _ _ _"]], size: Sequence[int]) -> Float[Tensor, "b width h w"]:
        """Returns the mixed maps, of height and width `size`."""
        kernels, biases = self.mix.weight.split(self.widths, dim=1), [self.mix.bias, *[None] * (len(maps) - 1)]
        mixed = [F.conv2d(x, kernel, bias) for x, kernel, bias in zip(maps, kernels, biases, strict=True)]
        return reduce(torch.add, [F.interpolate(x, list(size), mode="bilinear") for x in mixed])
