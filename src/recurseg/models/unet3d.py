"""3-D U-Net as in the released RSANet code, with room for attention after its blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from recurseg.layers.slab_conv import SlabConv3d
from recurseg.models.attention import Attention, Placement
from recurseg.models.feed_forward import FeedForward
from recurseg.models.registry import register_model


class UNet3d(nn.Module):
    """Strided convolutions down, nearest-neighbour upsampling up, group norm, no bias anywhere.

    Args:
        in_channels: Channels of the volume.
        num_classes: Channels of the logits.
        widths: Channels of each level, finest first.
        groups: Groups of the group norm; divides every width.
        dropout: Probability of dropping a whole channel after the first convolution.
        attention: Attention blocks after blocks of the network.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int],
        *,
        groups: int,
        dropout: float,
        attention: Attention,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(SlabConv3d(in_channels, widths[0], 3), nn.Dropout3d(dropout))
        self.encoder = nn.ModuleList(_block(fine, width, groups) for fine, width in pairwise([widths[0], *widths]))
        self.down = nn.ModuleList(SlabConv3d(width, width, 3, stride=2) for width in widths[:-1])
        self.up = nn.ModuleList(
            nn.Sequential(SlabConv3d(coarse, fine, 1), nn.Upsample(scale_factor=2, mode="nearest"))
            for coarse, fine in pairwise(reversed(widths))
        )
        self.decoder = nn.ModuleList(_block(2 * width, width, groups) for width in reversed(widths[:-1]))
        self.head = nn.Sequential(SlabConv3d(widths[0], widths[0], 3), SlabConv3d(widths[0], num_classes, 1))
        self.attention = attention

    def forward(
        self, volume: Float[Tensor, "b c d h w"], real: Bool[Tensor, "1 1 d h w"] | None = None
    ) -> Float[Tensor, "b k d h w"]:
        """Computes logits; every spatial size is a multiple of `2 ** (len(widths) - 1)`, `real` False at padding."""
        x = self.attention(self.encoder[0](self.stem(volume)), 0, real)
        skips = []
        for number, (down, block) in enumerate(zip(self.down, self.encoder[1:], strict=True), start=1):
            skips.append(x)
            x = self.attention(block(down(x)), number, real)
        for number, (up, block) in enumerate(zip(self.up, self.decoder, strict=True), start=len(self.encoder)):
            x = self.attention(block(torch.cat([skips.pop(), up(x)], dim=1)), number, real)
        return self.head(x)


@register_model("unet3d", paper="Çiçek et al. 2016, as the backbone of RSANet (Zhang et al. 2019)")
def unet3d(
    *,
    in_channels: int,
    num_classes: int,
    widths: Sequence[int] = (32, 64, 128, 256, 512),
    groups: int = 8,
    dropout: float = 0.2,
) -> FeedForward:
    """The 3-D U-Net that RSANet adds slice attention to: 23,766,368 parameters at 3 channels and 2 classes.

    Args:
        in_channels: Channels of the volume.
        num_classes: Channels of the logits.
        widths: Channels of each level, finest first; each a multiple of `groups`.
        groups: Groups of the group norm.
        dropout: Probability in [0, 1) of dropping a channel after the first convolution.

    Returns:
        A model of volumes `(B, C, D, H, W)`.
    """
    return attended("unet3d", in_channels, num_classes, widths, groups=groups, dropout=dropout)


def attended(
    name: str,
    in_channels: int,
    num_classes: int,
    widths: Sequence[int],
    *,
    groups: int,
    dropout: float,
    placement: Placement = (),
    block: Callable[[int], nn.Module] = nn.Identity,
) -> FeedForward:
    """The model `unet3d` with attention blocks.

    Args:
        name: Of the model, for messages.
        in_channels: As `unet3d` has it, like all that is not said here.
        num_classes: The same.
        widths: The same.
        groups: The same.
        dropout: The same.
        placement: After which blocks, as `Attention` has it.
        block: Builds an attention block for a number of channels.

    Raises:
        ConfigError: If the network has no block that `placement` names.
    """
    attention = Attention(name, placement, widths, block)
    network = UNet3d(in_channels, num_classes, widths, groups=groups, dropout=dropout, attention=attention)
    multiple = [2 ** (len(widths) - 1)] * 3
    return FeedForward(name, network, in_channels=in_channels, multiple=multiple, masked=len(attention) > 0)


def _block(fine: int, width: int, groups: int) -> nn.Module:
    return nn.Sequential(
        SlabConv3d(fine, width, 3),
        nn.GroupNorm(groups, width),
        nn.ReLU(inplace=True),
        SlabConv3d(width, width, 3),
        nn.GroupNorm(groups, width),
        nn.ReLU(inplace=True),
    )
