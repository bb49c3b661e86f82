"""Dilated residual networks: depth by dilation, so that the image shrinks to an eighth and no further."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from recurseg.models.feed_forward import FeedForward
from recurseg.models.registry import register_model

WIDTHS = (16, 32, 64, 128, 256, 512, 512, 512)
STRIDES = (1, 2, 2, 2, 1, 1, 1, 1)
DILATIONS = (1, 1, 1, 1, 2, 4, 2, 1)
RESIDUAL_LEVELS = 6
"""The last two levels have no shortcuts: shortcuts would carry the gridding of the dilations past them."""
SHRINKS = 8


class Block(nn.Module):
    """Two 3×3 convolutions with batch norm; a shortcut past both where `residual`.

    Args:
        fine: Channels in.
        width: Channels out.
        stride: Of the first convolution.
        dilation: Of both.
        residual: Whether the input is added, through a 1×1 convolution where its shape differs.
    """

    def __init__(self, fine: int, width: int, *, stride: int, dilation: int, residual: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(fine, width, 3, stride, dilation, dilation, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, 1, dilation, dilation, bias=False),
            nn.BatchNorm2d(width),
        )
        self.shortcut = None
        if residual and stride == 1 and fine == width:
            self.shortcut = nn.Identity()
        elif residual:
            self.shortcut = nn.Sequential(nn.Conv2d(fine, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h_out w_out"]:
        """Computes the block; height and width are divided by its stride."""
        y = self.body(x)
        return (y if self.shortcut is None else y + self.shortcut(x)).relu()


@register_model("drn_c_26", paper="Yu et al. 2017")
def drn_c_26(*, in_channels: int, num_classes: int, widths: Sequence[int] = WIDTHS) -> FeedForward:
    """DRN-C-26 for segmentation: 20,614,097 parameters at three channels and one logit, SHAMANN's first rival.

    Eight levels of residual blocks after a 7×7 convolution: three of them halve the image, then dilations of 2 and 4
    see further, and two levels without shortcuts wash out the grid that dilation leaves (section 4). A 1×1
    convolution gives the logits, bilinear upsampling brings them to the size of the image.

    The published upsampling is a transposed convolution with frozen bilinear weights. Bilinear interpolation is
    the same map without weights that would have to be stored and kept from training; it differs in the outermost four
    pixels, where it holds the last logit and the convolution fades towards 0. The authors draw the weights of the 1×1
    convolution with variance 2/num_classes; ours are PyTorch's, since a sigmoid begins saturated with theirs.

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        widths: Channels of the eight levels, finest first.

    Returns:
        A model of images `(B, C, H, W)`.
    """
    return _drn("drn_c_26", in_channels, num_classes, (1, 1, 2, 2, 2, 2, 1, 1), widths)


@register_model("drn_c_42", paper="Yu et al. 2017")
def drn_c_42(*, in_channels: int, num_classes: int, widths: Sequence[int] = WIDTHS) -> FeedForward:
    """DRN-C-42 for segmentation: `drn_c_26` with more blocks a level, 30,722,257 parameters.

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        widths: Channels of the eight levels, finest first.

    Returns:
        A model of images `(B, C, H, W)`.
    """
    return _drn("drn_c_42", in_channels, num_classes, (1, 1, 3, 4, 6, 3, 1, 1), widths)


def _drn(name: str, in_channels: int, num_classes: int, blocks: Sequence[int], widths: Sequence[int]) -> FeedForward:
    channels = widths[0]
    layers: list[nn.Module] = [
        nn.Conv2d(in_channels, channels, 7, padding=3, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    ]
    levels = zip(blocks, widths, STRIDES, DILATIONS, strict=True)
    for level, (number, width, stride, dilation) in enumerate(levels):
        for block in range(number):
            first = stride if block == 0 else 1
            residual = level < RESIDUAL_LEVELS
            layers.append(Block(channels, width, stride=first, dilation=dilation, residual=residual))
            channels = width
    trunk = nn.Sequential(*layers).apply(_initialise)
    head = nn.Conv2d(channels, num_classes, 1)
    network = nn.Sequential(trunk, head, nn.Upsample(scale_factor=SHRINKS, mode="bilinear"))
    return FeedForward(name, network, in_channels=in_channels, multiple=[SHRINKS] * 2)


def _initialise(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
