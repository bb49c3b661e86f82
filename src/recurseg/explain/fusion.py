"""What each modality adds to the fused maps of a cross-modality convolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurseg.explain.hooks import hooked
from recurseg.explain.scene import Scene
from recurseg.layers.cross_modality import CrossModalityConvolution
from recurseg.models.cross_modality import CrossModality


@dataclass(frozen=True)
class Level:
    """Fusion at one resolution.

    Attributes:
        step: Side of a position, in voxels.
        weights: `(M,)`: norm of each modality's part of the kernel.
        terms: float32 `(M, D, h, w)`: what each modality adds to the fused map at each position, norm over channels;
            0 of an absent one.
    """

    step: int
    weights: np.ndarray
    terms: np.ndarray

    @property
    def name(self) -> str:
        return "full resolution" if self.step == 1 else f"1/{self.step}"

    @property
    def brought(self) -> np.ndarray:
        """`(M,)`: the mean of each modality's term over all positions."""
        return self.terms.mean(axis=(1, 2, 3), dtype=np.float64)


def fusion_levels(scene: Scene) -> list[Level]:
    """The levels that the network fuses, finest first; none of a network with stacked modalities."""
    model = scene.model
    assert isinstance(model, CrossModality)
    found = []

    def record(fusion: nn.Module, given: tuple[Sequence[Tensor], Tensor | None]) -> None:
        assert isinstance(fusion, CrossModalityConvolution)
        features = given[0]
        scale = len(features) / len(scene.there)
        terms = [_term(fusion.weight[m], x).norm(dim=1) * scale for m, x in enumerate(features)]  # (D, h, w) each
        step = step_of(scene, model.multiple, features[0])
        height, width = (-(-size // step) for size in scene.image.shape[3:])
        weights = fusion.weight.detach().reshape(len(features), -1).norm(dim=1)
        found.append(Level(step, weights.cpu().numpy(), torch.stack(terms)[..., :height, :width].cpu().numpy()))

    hooks = [fusion.register_forward_pre_hook(record) for fusion in model.fusions]
    with hooked(hooks), torch.no_grad():
        scene.answer(scene.image)
    return found


def step_of(scene: Scene, multiple: int, maps: Tensor) -> int:
    """Side of a position of maps `(..., h, w)`, in voxels, of a network that pads slices to a multiple."""
    return -(-scene.image.shape[3] // multiple) * multiple // maps.shape[-2]


def shares(parts: np.ndarray) -> np.ndarray:
    """Parts of their sum; zeros where that is 0."""
    total = parts.sum()
    return parts / total if total > 0 else np.zeros_like(parts)


def _term(weight: Tensor, x: Tensor) -> Tensor:
    """A modality's maps `(D, C, h, w)` times its matrix, its weight a channel, or its weight."""
    return F.conv2d(x, weight[..., None, None]) if weight.ndim == 2 else x * weight.view(-1, 1, 1)
