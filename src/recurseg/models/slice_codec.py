"""What turns slices into maps of several resolutions and maps into logits, and a volume into slices and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recurseg.errors import ConfigError
from recurseg.models.padding import crop_to, pad_to_multiple
from recurseg.models.patch_codec import channels_last

MultiResolution = Literal["multiply", "concat", "off"]
MULTI_RESOLUTIONS: tuple[MultiResolution, ...] = get_args(MultiResolution)


@dataclass(frozen=True)
class Layout:
    """How the levels of encoder and decoder are built.

    Attributes:
        convolutions: Convolutions of an encoder level, of one between the outer two, and of a decoder stage.
        pooled_maps: Whether the maps taken are those after a level's pooling, the coarsest at 1 / 2^levels, or
            those before, the coarsest at 1 / 2^(levels − 1).
        bias: Whether convolutions have biases and batch norm a scale, or batch norm a shift alone.
        decoder_relu: Whether a decoder stage ends in ReLU.
        dropout: After each decoder stage, in [0, 1).
    """

    convolutions: tuple[int, int, int]
    pooled_maps: bool
    bias: bool
    decoder_relu: bool
    dropout: float


class SliceEncoder(nn.Module):
    """Levels of convolutions with 2-fold max pooling.

    Args:
        in_channels: Channels of a slice.
        widths: Channels of each level, finest first.
        layout: How levels are built.
    """

    def __init__(self, in_channels: int, widths: Sequence[int], layout: Layout) -> None:
        super().__init__()
        outer, inner, _ = layout.convolutions
        self.levels = nn.ModuleList()
        for level, (fine, width) in enumerate(pairwise([in_channels, *widths])):
            count = inner if 0 < level < len(widths) - 1 else outer
            block = convolutions(fine, width, count=count, bias=layout.bias)
            if layout.pooled_maps:
                block.append(nn.MaxPool2d(2))
            elif level:
                block.insert(0, nn.MaxPool2d(2))
            self.levels.append(block)

    def forward(self, slices: Float[Tensor, "n c h w"]) -> list[Tensor]:
        """Returns the map of each level, finest first."""
        maps = [slices]
        for level in self.levels:
            maps.append(level(maps[-1]))
        return maps[1:]


class SliceDecoder(nn.Module):
    """Stages of 2-fold up-convolution, the encoder's map of the same resolution, and convolutions; then logits.

    Multiplying needs no weights for the encoder's map; concatenating widens the first convolution of a stage. Stages
    finer than the finest map go without.

    Args:
        coarsest: Channels of the map it starts from.
        widths: As the encoder's.
        num_classes: Channels of the logits.
        layout: As the encoder's.
        resolutions: What is done with the encoder's maps: "multiply", "concat" or "off".
    """

    def __init__(
        self, coarsest: int, widths: Sequence[int], num_classes: int, layout: Layout, *, resolutions: MultiResolution
    ) -> None:
        super().__init__()
        skips = list(reversed(widths[:-1]))
        channels = [coarsest, *skips, *widths[: layout.pooled_maps]]
        self.up, self.levels = nn.ModuleList(), nn.ModuleList()
        for stage, (coarse, fine) in enumerate(pairwise(channels)):
            joined = 2 * fine if resolutions == "concat" and stage < len(skips) else fine
            block = convolutions(
                joined, fine, count=layout.convolutions[2], bias=layout.bias, relu=layout.decoder_relu
            )
            self.up.append(up_convolution(coarse, fine, bias=layout.bias))
            self.levels.append(block.append(nn.Dropout(layout.dropout)))
        self.head = nn.Conv2d(channels[-1], num_classes, 1)
        self.resolutions: MultiResolution = resolutions

    def forward(self, x: Float[Tensor, "n c h w"], maps: Sequence[Tensor]) -> Float[Tensor, "n k h_out w_out"]:
        """Computes logits from the coarsest map and the encoder's finer ones, finest first."""
        skips = list(maps) if self.resolutions != "off" else []
        for up, level in zip(self.up, self.levels, strict=True):
            x = up(x)
            if skips:
                skip = skips.pop()
                x = x * skip if self.resolutions == "multiply" else torch.cat([x, skip], dim=1)
            x = level(x)
        return self.head(x)


def convolutions(
    channels: int, width: int, *, count: int = 1, kernel: int = 3, bias: bool = True, relu: bool = True
) -> nn.Sequential:
    """Convolutions of the same size, each with batch norm and, if wanted, ReLU.

    Args:
        channels: In.
        width: Out.
        count: How many.
        kernel: Odd side.
        bias: Whether the convolution has a bias and batch norm a scale; batch norm alone shifts where not.
        relu: Whether ReLU follows.
    """
    layers: list[nn.Module] = []
    for fine in (channels, *[width] * (count - 1)):
        norm = nn.BatchNorm2d(width)
        if not bias:
            norm.register_parameter("weight", None)
        layers += [nn.Conv2d(fine, width, kernel, padding=kernel // 2, bias=bias), norm]
        if relu:
            layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


@torch.no_grad()
def up_convolution(coarse: int, fine: int, *, bias: bool = True) -> nn.ConvTranspose2d:
    """A 2 × 2 transposed convolution of stride 2 that repeats each pixel at first.

    That is what bilinear weights come to at this size: each output pixel has one input pixel to take from. Channels
    begin with their own map; of fewer outputs each is the mean of several inputs, of more several repeat one input.
    """
    up = nn.ConvTranspose2d(coarse, fine, 2, stride=2, bias=bias)
    pairs = torch.arange(max(coarse, fine))
    up.weight.zero_()
    up.weight[pairs % coarse, pairs % fine] = 1
    up.weight /= up.weight.sum(0)
    if up.bias is not None:
        up.bias.zero_()
    return up


def to_slices(
    image: Float[Tensor, "b c d h w"], *, name: str, in_channels: int, multiple: int
) -> Float[Tensor, "n c h_padded w_padded"]:
    """The slices of all volumes in one batch, height and width padded to a multiple.

    Raises:
        ConfigError: If the image has other axes or channels.
    """
    if image.ndim != 5 or image.shape[1] != in_channels:
        raise ConfigError(f"model '{name}' takes (B, {in_channels}, D, H, W), not {tuple(image.shape)}")
    return channels_last(pad_to_multiple(image.transpose(1, 2).flatten(0, 1), [multiple] * 2, positions=2))


def to_volumes(slices: Float[Tensor, "n c h w"], batch: int) -> Float[Tensor, "b c d h w"]:
    """The inverse of putting the slices of `batch` volumes in one batch."""
    return slices.unflatten(0, (batch, -1)).transpose(1, 2)


def to_logits(slices: Float[Tensor, "n k h w"], image: Float[Tensor, "b c d h_out w_out"]) -> Tensor:
    """Logits `(B, K, D, H, W)` of an image from those of its slices, without the padding."""
    return to_volumes(crop_to(slices, image.shape[3:]), len(image))
