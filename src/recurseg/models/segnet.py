"""SegNet as cross-modality convolution was judged against it: flat and wide kernels, one convolution a level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from jaxtyping import Float
from torch import Tensor, nn

from recurseg.errors import ConfigError, did_you_mean
from recurseg.models.feed_forward import FeedForward
from recurseg.models.initial import orthogonal
from recurseg.models.registry import register_model
from recurseg.models.slice_codec import convolutions, up_convolution

Upsampling = Literal["deconvolution", "indices"]
KERNEL = 7
NEIGHBOURS = 11
"""Channels that local response norm looks at, the own one in the middle."""
ALPHA = 1e-4
"""Weight of the square of each; PyTorch's is of their mean."""


class SegNet(nn.Module):
    """Local response norm, levels of 7×7 convolution and 2-fold pooling, and as many up again.

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        widths: Channels of each level, finest first.
        upsampling: "deconvolution", a 2×2 transposed one; or "indices", which puts each value where the pooling took
            its maximum from and zeros beside it, without weights.
    """

    def __init__(self, in_channels: int, num_classes: int, widths: Sequence[int], *, upsampling: Upsampling) -> None:
        super().__init__()
        self.norm = nn.LocalResponseNorm(NEIGHBOURS, alpha=NEIGHBOURS * ALPHA, beta=0.75, k=1)
        self.encoder = nn.ModuleList(
            convolutions(fine, width, kernel=KERNEL)
            for fine, width in zip([in_channels, *widths], widths, strict=False)
        )
        self.decoder = nn.ModuleList(
            convolutions(coarse, fine, kernel=KERNEL, relu=False)
            for coarse, fine in zip(widths, [widths[0], *widths], strict=False)
        )
        self.head = nn.Conv2d(widths[0], num_classes, 1)
        self.apply(orthogonal)
        learned = upsampling == "deconvolution"
        self.up = nn.ModuleList(up_convolution(width, width) for width in (widths if learned else ()))
        self.pool, self.unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        """Computes logits; height and width are multiples of `2 ** len(widths)`."""
        x, places = self.norm(image), []
        for level in self.encoder:
            x, where = self.pool(level(x))
            places.append(where)
        for number in reversed(range(len(places))):
            x = self.up[number](x) if self.up else self.unpool(x, places[number])
            x = self.decoder[number](x)
        return self.head(x)


@register_model("segnet", paper="Badrinarayanan et al. 2015, as in Tseng et al. 2017, table 2")
def segnet(
    *,
    in_channels: int,
    num_classes: int,
    widths: Sequence[int] = (64, 64, 64, 64),
    upsampling: Upsampling = "deconvolution",
) -> FeedForward:
    """SegNet-Basic: four levels of one 7×7 convolution with 64 channels, batch norm and ReLU, and four up again.

    The decoder's convolutions have no ReLU. Weights begin orthogonal. The published network up-samples with the
    pooling's indices; the code behind the paper's table learns transposed convolutions, which begin by repeating
    each pixel, and so do we by default. Its local response norm, over the channels of the image, is kept.

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        widths: Channels of each level, finest first.
        upsampling: "deconvolution" or "indices".

    Returns:
        A model of images `(B, C, H, W)`.

    Raises:
        ConfigError: If the up-sampling is unknown.
    """
    if upsampling not in get_args(Upsampling):
        raise ConfigError(
            f"model 'segnet': unknown upsampling '{upsampling}'{did_you_mean(upsampling, get_args(Upsampling))}"
        )
    network = SegNet(in_channels, num_classes, widths, upsampling=upsampling)
    return FeedForward("segnet", network, in_channels=in_channels, multiple=[2 ** len(widths)] * 2)
