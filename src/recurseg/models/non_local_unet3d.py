"""The rival that RSANet is judged against: a 3-D U-Net with non-local blocks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from recurseg.layers.non_local import NonLocalBlock
from recurseg.models.attention import Placement
from recurseg.models.feed_forward import FeedForward
from recurseg.models.registry import register_model
from recurseg.models.unet3d import attended


@register_model(
    "non_local_unet3d", paper="Wang et al. 2018 in a 3-D U-Net, as the rival of RSANet (Zhang et al. 2019)"
)
def non_local_unet3d(
    *,
    in_channels: int,
    num_classes: int,
    widths: Sequence[int] = (32, 64, 128, 256, 512),
    groups: int = 8,
    dropout: float = 0.2,
    placement: Placement = "010",
    fused: bool = False,
) -> FeedForward:
    """`unet3d` with non-local blocks: each voxel of a coarse map attends to every other at once.

    "010" is the default because the paper measures its best non-local network with it. The paper's blocks are not
    published; these halve the channels and begin as no change.

    Args:
        in_channels: Channels of the volume.
        num_classes: Channels of the logits.
        widths: Channels of each level, finest first; each a multiple of `groups`.
        groups: Groups of the group norm.
        dropout: Probability in [0, 1) of dropping a channel after the first convolution.
        placement: After which blocks: "010" the bottom, "101" encoder and decoder of the level above it, "111" all
            three; or names of blocks, such as [encoder3, bottom, decoder2].
        fused: Whether attention keeps no map of all voxels by all voxels; the numbers are the same.

    Returns:
        A model of volumes `(B, C, D, H, W)`. What it pads takes no part in attention.

    Raises:
        ConfigError: If there is no such block.
    """
    return attended(
        "non_local_unet3d",
        in_channels,
        num_classes,
        widths,
        groups=groups,
        dropout=dropout,
        placement=placement,
        block=partial(NonLocalBlock, fused=fused),
    )
