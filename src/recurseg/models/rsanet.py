"""RSANet: a 3-D U-Net whose coarse maps attend to one another slice by slice along three axes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from recurseg.layers.slice_attention import RSABlock
from recurseg.models.attention import Placement
from recurseg.models.feed_forward import FeedForward
from recurseg.models.registry import register_model
from recurseg.models.unet3d import attended


@register_model("rsanet", paper="Zhang et al. 2019")
def rsanet(
    *,
    in_channels: int,
    num_classes: int,
    widths: Sequence[int] = (32, 64, 128, 256, 512),
    groups: int = 8,
    dropout: float = 0.2,
    placement: Placement = "101",
    order: Sequence[int] = (1, 2, 0),
    scaled: bool = False,
) -> FeedForward:
    """`unet3d` with RSA blocks: each voxel of a coarse map hears of all others through the slices they lie in.

    At 3 channels and 2 classes it has 24,161,126 parameters, 24,554,339 with placement "010" and 24,949,097 with
    "111". "101" is the default because the paper measures the best Dice and IoU over all voxels with it, and over
    samples all but the best, at a third of the parameters that "111" adds.

    Prediction holds about four maps of the finest level: a volume of 60 × 260 × 320 voxels in one window, attention
    over all of it, takes 4.1 GB on a CPU, libraries included.

    Args:
        in_channels: Channels of the volume.
        num_classes: Channels of the logits.
        widths: Channels of each level, finest first; each a multiple of `groups`.
        groups: Groups of the group norm.
        dropout: Probability in [0, 1) of dropping a channel after the first convolution.
        placement: After which blocks: "010" the bottom, "101" encoder and decoder of the level above it, "111" all
            three; or names of blocks, such as [encoder3, bottom, decoder2].
        order: Axes in the order of attention, 0 the slices. In axial slices of a NIfTI file, which holds x before y,
            the default is the paper's: sagittal, coronal, axial. The released code has (2, 1, 0).
        scaled: Whether sums are divided by the square root of their length before the softmax; the paper's are not.

    Returns:
        A model of volumes `(B, C, D, H, W)`. What it pads takes no part in attention.

    Raises:
        ConfigError: If there is no such block or axis.
    """
    return attended(
        "rsanet",
        in_channels,
        num_classes,
        widths,
        groups=groups,
        dropout=dropout,
        placement=placement,
        block=partial(RSABlock, order=order, scaled=scaled),
    )
