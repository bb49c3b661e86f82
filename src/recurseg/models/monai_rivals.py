"""The convolutional networks a user would otherwise take, as MONAI ships them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Literal

from monai.networks.nets.dynunet import DynUNet
from monai.networks.nets.segresnet import SegResNet
from torch import nn

from recurseg.errors import ConfigError
from recurseg.models.feed_forward import FeedForward
from recurseg.models.registry import register_model


@register_model("monai_dynunet", paper="Isensee et al. 2021 (nnU-Net), as MONAI's DynUNet")
def monai_dynunet(
    *,
    in_channels: int,
    num_classes: int,
    spatial_dims: Literal[2, 3] = 3,
    widths: Sequence[int] = (16, 32, 64, 128, 256),
    spacing: Sequence[float] | None = None,
    residual: bool = False,
    dropout: float = 0.0,
) -> FeedForward:
    """The U-Net of nnU-Net: strided convolutions, instance norm, leaky ReLU; kernels that follow the spacing.

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        spatial_dims: 2 for images, 3 for volumes.
        widths: Channels of each level, finest first; nnU-Net takes (32, 64, 128, 256, 320).
        spacing: Voxel size in mm by axis, which kernels and strides then follow as `kernels_and_strides`
            says. None treats all axes alike.
        residual: Whether blocks are residual.
        dropout: Probability in [0, 1).

    Returns:
        A model of images `(B, C, H, W)` or volumes `(B, C, D, H, W)`.

    Raises:
        ConfigError: If `spatial_dims` is not 2 or 3, or `spacing` has another number of axes.
    """
    _check_dims("monai_dynunet", spatial_dims)
    spacing = [1.0] * spatial_dims if spacing is None else spacing
    if len(spacing) != spatial_dims or min(spacing) <= 0:
        raise ConfigError(f"model 'monai_dynunet': spacing must be {spatial_dims} positive numbers, not {spacing}")
    kernels, strides = kernels_and_strides(spacing, levels=len(widths))
    dynunet = DynUNet(
        spatial_dims,
        in_channels,
        num_classes,
        kernel_size=kernels,
        strides=strides,
        upsample_kernel_size=strides[1:],
        filters=widths,
        res_block=residual,
        dropout=dropout or None,
    )
    multiple = [prod(steps) for steps in zip(*strides, strict=True)]
    # DynUNet holds each of its blocks under two names, which a weight file cannot
    network = nn.Sequential(dynunet.skip_layers, dynunet.output_block)
    return FeedForward("monai_dynunet", network, in_channels=in_channels, multiple=multiple)


@register_model("monai_segresnet", paper="Myronenko 2018, as MONAI's SegResNet")
def monai_segresnet(
    *,
    in_channels: int,
    num_classes: int,
    spatial_dims: Literal[2, 3] = 3,
    width: int = 16,
    blocks_down: Sequence[int] = (1, 2, 2, 4),
    blocks_up: Sequence[int] = (1, 1, 1),
    groups: int = 8,
    dropout: float = 0.0,
) -> FeedForward:
    """Residual encoder and light decoder with group norm, without the paper's variational branch.

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        spatial_dims: 2 for images, 3 for volumes.
        width: Channels of the finest level, doubled at each coarser one; the paper takes 32.
        blocks_down: Residual blocks of each encoder level, finest first.
        blocks_up: Residual blocks of each decoder level, one level fewer.
        groups: Groups of the group norm; divides `width`.
        dropout: Probability in [0, 1) after the first convolution.

    Returns:
        A model of images `(B, C, H, W)` or volumes `(B, C, D, H, W)`.

    Raises:
        ConfigError: If `spatial_dims` is not 2 or 3, or the numbers of levels do not fit each other.
    """
    _check_dims("monai_segresnet", spatial_dims)
    if len(blocks_up) != len(blocks_down) - 1:
        counts = f"{len(blocks_down)} levels down and {len(blocks_up)} up"
        raise ConfigError(f"model 'monai_segresnet': {counts}: blocks_up takes one fewer than blocks_down")
    network = SegResNet(
        spatial_dims,
        init_filters=width,
        in_channels=in_channels,
        out_channels=num_classes,
        dropout_prob=dropout or None,
        norm=("GROUP", {"num_groups": groups}),
        blocks_down=tuple(blocks_down),
        blocks_up=tuple(blocks_up),
    )
    return FeedForward(
        "monai_segresnet", network, in_channels=in_channels, multiple=[2 ** len(blocks_up)] * spatial_dims
    )


def kernels_and_strides(spacing: Sequence[float], *, levels: int) -> tuple[list[list[int]], list[list[int]]]:
    """Plans convolutions for anisotropic voxels by the rule of nnU-Net (Isensee et al. 2021).

    An axis is halved, and convolved with 3 instead of 1, only once its voxels are less than twice the
    smallest: voxels become cubes on the way down. The coarsest level convolves all axes.

    Args:
        spacing: Voxel size by axis, any unit.
        levels: Number of levels, at least 1.

    Returns:
        Kernel sizes and strides of each level, finest first, by axis; the first stride is 1.
    """
    size = list(spacing)
    kernel = [1] * len(size)
    kernels: list[list[int]] = []
    strides = [[1] * len(size)]
    for _ in range(levels - 1):
        near = [edge < 2 * min(size) for edge in size]
        kernel = [3 if fine else old for fine, old in zip(near, kernel, strict=True)]
        kernels.append(kernel)
        strides.append([2 if fine else 1 for fine in near])
        size = [edge * step for edge, step in zip(size, strides[-1], strict=True)]
    return [*kernels, [3] * len(size)], strides


def _check_dims(name: str, spatial_dims: int) -> None:
    if spatial_dims not in (2, 3):
        raise ConfigError(f"model '{name}': spatial_dims must be 2 or 3, not {spatial_dims}")
