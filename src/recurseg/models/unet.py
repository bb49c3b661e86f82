"""U-Net for images: an encoder, a decoder and the skips between them (Ronneberger et al. 2015, fig. 1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from recurseg.errors import ConfigError, did_you_mean
from recurseg.layers.slice_attention import RSABlock
from recurseg.models.attention import Attention, Placement
from recurseg.models.feed_forward import FeedForward
from recurseg.models.initial import INITS, Init
from recurseg.models.registry import register_model

Join = Callable[[int, int], nn.Module]
"""Builds a part of the network from its input and output channels."""

Norm = Literal["none", "batch", "instance", "group"]
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda channels: nn.Identity(),
    "batch": nn.BatchNorm2d,
    "instance": lambda channels: nn.InstanceNorm2d(channels, affine=True),
    "group": lambda channels: nn.GroupNorm(8, channels),
}
WIDTHS = (64, 128, 256, 512, 1024)


class UNet(nn.Module):
    """The U shape: blocks joined by 2×2 max pooling on the way down and by `up` and skips on the way up.

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        widths: Channels of each level, finest first.
        block: Builds the convolutions of a level.
        up: Builds what doubles height and width.
        dropout: Probability of dropping an activation after the two coarsest encoder blocks.
        attention: Attention blocks after blocks of the network.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int],
        *,
        block: Join,
        up: Join,
        dropout: float,
        attention: Attention,
    ) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(block(fine, width) for fine, width in pairwise([in_channels, *widths]))
        self.up = nn.ModuleList(up(coarse, fine) for coarse, fine in pairwise(reversed(widths)))
        self.decoder = nn.ModuleList(block(2 * width, width) for width in reversed(widths[:-1]))
        self.head: nn.Module = nn.Conv2d(widths[0], num_classes, 1)
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(dropout)
        self.attention = attention

    def forward(
        self, image: Float[Tensor, "b c h w"], real: Bool[Tensor, "1 1 h w"] | None = None
    ) -> Float[Tensor, "b k h w"]:
        """Computes logits; height and width are multiples of `2 ** (len(widths) - 1)`, `real` False at padding."""
        skips = []
        x = image
        for level, block in enumerate(self.encoder):
            x = self.attention(block(x if level == 0 else self.pool(x)), level, real)
            if level >= len(self.encoder) - 2:
                x = self.dropout(x)
            skips.append(x)
        skips.pop()
        for number, (up, block) in enumerate(zip(self.up, self.decoder, strict=True), start=len(self.encoder)):
            x = self.attention(block(torch.cat([skips.pop(), up(x)], dim=1)), number, real)
        return self.head(x)


@register_model("unet", paper="Ronneberger et al. 2015")
def unet(
    *,
    in_channels: int,
    num_classes: int,
    widths: Sequence[int] = WIDTHS,
    norm: Norm = "none",
    dropout: float = 0.5,
    init: Init = "he",
    slice_attention: Placement = (),
) -> FeedForward:
    """The classic U-Net: two 3×3 convolutions and ReLU a level, 2×2 up-convolutions.

    With one channel and one logit it has 31,030,593 parameters. Its convolutions are padded, where the
    paper's are not, so that the logits have the size of the image. SHAMANN's comparison prints 20.1 million for a
    U-Net without its layout: we read widths (64, 128, 256, 512, 512), 20,543,809. The comparison of cross-modality
    convolution takes stacked modalities, `norm="batch"` and `init="orthogonal"`.

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        widths: Channels of each level, finest first; multiples of 8 for group norm.
        norm: Normalisation between convolution and ReLU; the paper has none.
        dropout: Probability in [0, 1), after the two coarsest encoder blocks as in the published network.
        init: Weights of the convolutions: "he" or "orthogonal".
        slice_attention: After which blocks rows and then columns attend to one another, as `rsanet` places them:
            "010", "101", "111" or names of blocks. The paper has none.

    Returns:
        A model of images `(B, C, H, W)`.

    Raises:
        ConfigError: If the norm, the init or a block is unknown.
    """
    network = classic(
        "unet", in_channels, num_classes, widths, norm=norm, dropout=dropout, init=init, placement=slice_attention
    )
    multiple = [2 ** (len(widths) - 1)] * 2
    masked = len(network.attention) > 0
    return FeedForward("unet", network, in_channels=in_channels, multiple=multiple, masked=masked)


def classic(
    name: str,
    in_channels: int,
    num_classes: int,
    widths: Sequence[int],
    *,
    norm: Norm,
    dropout: float,
    init: Init,
    placement: Placement = (),
) -> UNet:
    """The network of `unet` without the model around it; `name` is for messages."""
    if norm not in NORMS:
        raise ConfigError(f"model '{name}': unknown norm '{norm}'{did_you_mean(norm, NORMS)}")
    if init not in INITS:
        raise ConfigError(f"model '{name}': unknown init '{init}'{did_you_mean(init, INITS)}")

    def block(fine: int, width: int) -> nn.Module:
        convolutions = [
            (nn.Conv2d(channels, width, 3, padding=1), NORMS[norm](width), nn.ReLU(inplace=True))
            for channels in (fine, width)
        ]
        return nn.Sequential(*(layer for triple in convolutions for layer in triple))

    def up(coarse: int, fine: int) -> nn.Module:
        return nn.ConvTranspose2d(coarse, fine, 2, stride=2)

    attention = Attention(name, placement, widths, partial(RSABlock, spatial_dims=2))
    network = UNet(in_channels, num_classes, widths, block=block, up=up, dropout=dropout, attention=attention)
    return network.apply(INITS[init])
