"""What turns a patch into features and features into a patch: the two halves of a U-Net with a vector between."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

Skips = list[Tensor]


class PatchEncoder(nn.Module):
    """Convolutions and pooling down to a small map, and a linear map of it to the features.

    Args:
        channels: Of a patch.
        size: d, numbers of the features.
        widths: Channels of each level, finest first; 2-fold max pooling between them.
        patch: Size of a patch, divisible by 2 to the number of poolings.
    """

    def __init__(self, channels: int, size: int, *, widths: Sequence[int], patch: Sequence[int]) -> None:
        super().__init__()
        dims = len(patch)
        self.levels = nn.ModuleList(_block(a, b, dims) for a, b in pairwise([channels, *widths]))
        self.pool = (nn.MaxPool2d if dims == 2 else nn.MaxPool3d)(2)
        self.features = nn.Linear(widths[-1] * bottleneck(patch, widths).numel(), size)

    def forward(self, patches: Float[Tensor, "n c *patch"]) -> tuple[Float[Tensor, "n d"], Skips]:
        """Features of patches, and the maps of all levels but the coarsest, finest first."""
        patches = channels_last(patches)
        maps: Skips = []
        for number, level in enumerate(self.levels):
            maps.append(level(self.pool(maps[-1]) if number else patches))
        return self.features(maps.pop().flatten(1)), maps


class PatchDecoder(nn.Module):
    """The way back: a linear map, 2-fold up-convolutions, and the encoder's maps of the same patch beside them.

    Args:
        outputs: Channels of what it gives.
        size: d, numbers of the features.
        widths: As the encoder's.
        patch: Size of a patch.
        shortcuts: Whether the encoder's maps are taken.
    """

    def __init__(
        self, outputs: int, size: int, *, widths: Sequence[int], patch: Sequence[int], shortcuts: bool
    ) -> None:
        super().__init__()
        dims, levels = len(patch), list(reversed(widths))
        up = nn.ConvTranspose2d if dims == 2 else nn.ConvTranspose3d
        self.smallest = (levels[0], *bottleneck(patch, widths))
        self.features = nn.Linear(size, torch.Size(self.smallest).numel())
        self.up = nn.ModuleList(up(coarse, fine, 2, stride=2) for coarse, fine in pairwise(levels))
        self.levels = nn.ModuleList(_block((1 + shortcuts) * width, width, dims) for width in levels[1:])
        self.head = (nn.Conv2d if dims == 2 else nn.Conv3d)(widths[0], outputs, 1)
        self.shortcuts = shortcuts

    def forward(self, features: Float[Tensor, "n d"], skips: Skips) -> Float[Tensor, "n k *patch"]:
        """Patches from features and, with shortcuts, the encoder's maps."""
        x = channels_last(self.features(features).relu().unflatten(1, self.smallest))
        for up, level, skip in zip(self.up, self.levels, reversed(skips), strict=True):
            x = up(x)
            x = level(torch.cat([x, skip], dim=1) if self.shortcuts else x)
        return self.head(x)


def channels_last(maps: Tensor) -> Tensor:
    """The same maps, the channels of a voxel side by side in memory: convolutions of few channels are faster so."""
    return maps.contiguous(memory_format=torch.channels_last if maps.ndim == 4 else torch.channels_last_3d)


def bottleneck(patch: Sequence[int], widths: Sequence[int]) -> torch.Size:
    """Size of the coarsest map."""
    return torch.Size(side // 2 ** (len(widths) - 1) for side in patch)


def _block(fine: int, width: int, dims: int) -> nn.Sequential:
    conv, norm = (nn.Conv2d, nn.BatchNorm2d) if dims == 2 else (nn.Conv3d, nn.BatchNorm3d)
    layers = [(conv(channels, width, 3, padding=1), norm(width), nn.ReLU(inplace=True)) for channels in (fine, width)]
    return nn.Sequential(*(layer for triple in layers for layer in triple))
