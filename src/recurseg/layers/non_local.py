"""The non-local block: every voxel attends to every other at once."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

NEVER = -6e4
"""Added to the logits of padding; within the range of float16."""


class NonLocalBlock(nn.Module):
    """Adds to every voxel a weighted sum of all: `x + W (softmax(θᵀφ) g)`; fresh it changes nothing.

    θ, φ and g halve the channels, W brings them back and begins at zero. The map has the square of the number of
    voxels: 20 × 24 × 4 of them need 15 MB, 40 × 48 × 8 need 944.

    Args:
        channels: C.
        fused: Whether PyTorch's fused attention works the map out bit by bit and keeps none of it.

    Source: Wang et al. 2018, the embedded Gaussian, without scaling.
    """

    def __init__(self, channels: int, *, fused: bool = False) -> None:
        super().__init__()
        inner = max(1, channels // 2)
        self.theta, self.phi, self.g = (nn.Linear(channels, inner) for _ in range(3))  # 1×1×1 convolutions
        self.out = nn.Linear(inner, channels)
        for parameter in self.out.parameters():
            nn.init.zeros_(parameter)
        self.attend = _fused if fused else _plain

    def forward(
        self, x: Float[Tensor, "b c *spatial"], mask: Bool[Tensor, "#b 1 *spatial"] | None = None
    ) -> Float[Tensor, "b c *spatial"]:
        """Returns x after attention; `mask` is False at padding, which neither contributes nor changes."""
        voxels = x.flatten(2).mT.contiguous()  # (B, N, C)
        real = None if mask is None else mask.flatten(2).expand(len(x), -1, -1)  # (B, 1, N)
        heard = self.out(self.attend(self.theta(voxels), self.phi(voxels), self.g(voxels), real)).mT
        if real is not None:
            heard = heard * real
        return x + heard.reshape(x.shape)


def _plain(theta: Tensor, phi: Tensor, g: Tensor, real: Tensor | None) -> Tensor:
    with torch.autocast(g.device.type, enabled=False):
        logits = theta.float() @ phi.float().mT  # (B, N, N)
        if real is not None:
            logits = logits.masked_fill(~real, torch.finfo(logits.dtype).min)
        return (logits.softmax(dim=2) @ g.float()).to(g.dtype)


def _fused(theta: Tensor, phi: Tensor, g: Tensor, real: Tensor | None) -> Tensor:
    if real is not None:  # a mask would be written out for the whole map; a further channel says the same
        theta, g = F.pad(theta, (0, 1), value=1.0), F.pad(g, (0, 1))
        phi = torch.cat([phi, phi.new_zeros(real.mT.shape).masked_fill(~real.mT, NEVER)], dim=2)
    q, k, v = (rows.unsqueeze(1) for rows in (theta, phi, g))
    heard = F.scaled_dot_product_attention(q, k, v, scale=1.0).squeeze(1)
    return heard if real is None else heard[..., :-1]
