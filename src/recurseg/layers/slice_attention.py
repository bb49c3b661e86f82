"""The RSA block: slices attend to one another along every axis in turn, through the same three maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from recurseg.errors import ConfigError
from recurseg.ops.slice_attention import slice_attention


class RSABlock(nn.Module):
    """Gives every voxel a weighted share of all others; stands anywhere in a network, and fresh it changes nothing.

    It has 3(C² + C) parameters and one for each axis: 787,971 at 512 channels of a volume.

    Args:
        channels: C.
        spatial_dims: 2 for images, where slices are columns and rows, or 3 for volumes.
        order: Spatial axes in the order of attention; None: from the first to the last, which is the paper's order,
            sagittal, coronal, axial, where the axes of maps are x, y and z.
        scaled: Whether the softmax sees sums over the square root of their length; the paper takes them as they are.

    Raises:
        ConfigError: If `order` is empty or names an axis that is not there.

    Source: Zhang et al. 2019, section 2.
    """

    def __init__(
        self, channels: int, *, spatial_dims: int = 3, order: Sequence[int] | None = None, scaled: bool = False
    ) -> None:
        super().__init__()
        axes = range(spatial_dims)
        self.order = tuple(axes) if order is None else tuple(order)
        if not self.order or not set(self.order) <= set(axes):
            raise ConfigError(f"slice attention: order {list(self.order)} must name axes of {list(axes)}")
        self.scaled = scaled
        self.weight = nn.Parameter(torch.empty(3, channels, channels))
        self.bias = nn.Parameter(torch.empty(3, channels))
        self.alpha = nn.Parameter(torch.zeros(len(self.order)))
        for parameter in (self.weight, self.bias):
            nn.init.uniform_(parameter, -(channels**-0.5), channels**-0.5)  # as PyTorch's convolutions begin

    def forward(
        self, x: Float[Tensor, "b c *spatial"], mask: Bool[Tensor, "#b 1 *spatial"] | None = None
    ) -> Float[Tensor, "b c *spatial"]:
        """Returns x after attention along every axis; `mask` is False at padding, which takes no part."""
        return self.attend(x, mask)[0]

    def attend(
        self, x: Float[Tensor, "b c *spatial"], mask: Bool[Tensor, "#b 1 *spatial"] | None = None
    ) -> tuple[Float[Tensor, "b c *spatial"], list[Float[Tensor, "b s s"]]]:
        """Returns x after attention and the attention of each axis in `order`: rows are the slices that ask."""
        return slice_attention(x, self.weight, self.bias, self.alpha, self.order, mask=mask, scaled=self.scaled)
