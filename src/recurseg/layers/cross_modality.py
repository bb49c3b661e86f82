"""Cross-modality convolution: the maps of all modalities, or of those that are there, become one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

Fusion = Literal["dense", "depthwise", "scalar"]
FUSIONS: tuple[Fusion, ...] = get_args(Fusion)


class CrossModalityConvolution(nn.Module):
    """A weighted sum over modalities at every pixel, linear: a 3-D convolution with kernel M × 1 × 1.

    What the paper prints, 4 × 1 × 1, has three readings: a matrix of all channels a modality ("dense", the authors'
    code), a weight a modality and channel ("depthwise", which fits the text best) or a weight a modality ("scalar").

    With modalities missing the sum is taken over the n that are there and scaled by M / n. The plain convolution is
    M times the mean contribution of a modality; so it stays, with the mean over what is there. Features after a ReLU
    are not negative and show the same anatomy, so contributions add up rather than cancel out and the mean keeps
    the scale. With all there it is the plain convolution, exactly. What is absent adds nothing, whatever its maps
    hold; the bias belongs to no modality and is not scaled.

    Args:
        modalities: M.
        channels: C of the maps of a modality, and of the fused map.
        kind: "dense", "depthwise" or "scalar".
        bias: A bias a channel.

    Attributes:
        weight: `(M, C_out, C_in)`, `(M, C)` or `(M,)`: `weight[m]` is modality m's.

    Source: Tseng et al. 2017, section 3.3. The renormalisation is ours.
    """

    def __init__(self, modalities: int, channels: int, *, kind: Fusion = "dense", bias: bool = True) -> None:
        super().__init__()
        shape = {
            "dense": (modalities, channels, channels),
            "depthwise": (modalities, channels),
            "scalar": (modalities,),
        }
        self.weight = nn.Parameter(torch.full(shape[kind], 1 / modalities))
        self.bias = nn.Parameter(torch.zeros(channels)) if bias else None
        if kind == "dense":
            nn.init.normal_(self.weight, std=(2 / (modalities * channels)) ** 0.5)

    def forward(
        self, features: Sequence[Float[Tensor, "b c h w"]], present: Bool[Tensor, "b m"] | None = None
    ) -> Float[Tensor, "b c h w"]:
        """Fuses the maps of the modalities.

        Args:
            features: Maps of each modality; those of an absent one are not looked at.
            present: Which modalities are there, at least one in each image; all where None.

        Returns:
            The fused map.
        """
        if present is not None:
            masks = present.T[..., None, None, None]
            features = [x.where(there, 0) for x, there in zip(features, masks, strict=True)]
        if self.weight.ndim == 3:
            fused = F.conv2d(
                torch.cat(list(features), dim=1), torch.cat(self.weight.unbind(), dim=1)[..., None, None]
            )
        else:
            weights = (weight.view(-1, 1, 1) for weight in self.weight)
            fused = reduce(torch.add, map(torch.mul, features, weights))
        if present is not None:
            scale = present.shape[1] / present.sum(dim=1)
            fused = fused * scale.to(fused.dtype).view(-1, 1, 1, 1)
        return fused if self.bias is None else fused + self.bias.view(-1, 1, 1)
