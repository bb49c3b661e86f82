"""The small U-Net that gamma-Net was judged against: 454,505 parameters at one channel and one logit."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import nn

from recurseg.layers.slice_attention import RSABlock
from recurseg.models.attention import Attention, Placement
from recurseg.models.feed_forward import FeedForward
from recurseg.models.registry import register_model
from recurseg.models.unet import UNet


@register_model("light_unet", paper="Ronneberger et al. 2015, with the thin levels of the gamma-Net baseline")
def light_unet(
    *,
    in_channels: int,
    num_classes: int,
    widths: Sequence[int] = (8, 16, 32, 64, 128),
    dropout: float = 0.0,
    slice_attention: Placement = (),
) -> FeedForward:
    """A thin U-Net: two 3×3 convolutions a level, each before ReLU and batch norm; bilinear upsampling.

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        widths: Channels of each level, finest first.
        dropout: Probability in [0, 1), after the two coarsest encoder blocks.
        slice_attention: After which blocks rows and then columns attend to one another, as `rsanet` places them:
            "010", "101", "111" or names of blocks. The baseline has none.

    Returns:
        A model of images `(B, C, H, W)`.

    Raises:
        ConfigError: If the network has no block that `slice_attention` names.
    """
    attention = Attention("light_unet", slice_attention, widths, partial(RSABlock, spatial_dims=2))
    network = UNet(in_channels, num_classes, widths, block=_block, up=_up, dropout=dropout, attention=attention)
    multiple = [2 ** (len(widths) - 1)] * 2
    return FeedForward("light_unet", network, in_channels=in_channels, multiple=multiple, masked=len(attention) > 0)


def _block(fine: int, width: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(fine, width, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.BatchNorm2d(width),
        nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.BatchNorm2d(width),
    )


def _up(coarse: int, fine: int) -> nn.Module:
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(coarse, fine, 1))
