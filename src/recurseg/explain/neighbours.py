"""What a slice takes from its neighbours through the model that reads along the slices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from recurseg.explain.fusion import step_of
from recurseg.explain.hooks import hooked
from recurseg.explain.scene import Scene
from recurseg.models.cross_modality import CrossModality
from recurseg.models.k_unet import KUNet

REACH = 8
"""Slices that are looked at on either side."""


@dataclass(frozen=True)
class Neighbours:
    """What the voxel's slice takes from those around it, itself among them, through the sequence model alone.

    Attributes:
        slices: Indices N into the window.
        step: Side of a position of the maps that the sequence model reads, in voxels.
        gradient: float32 `(N, h, w)`: how the voxel's logit depends on each slice's map, length over channels.
        changes: float32 `(N, H, W)`: by how much the explained logits of the voxel's slice change, up or down, when a
            slice's map is replaced by the mean of all.
    """

    slices: list[int]
    step: int
    gradient: np.ndarray
    changes: np.ndarray


def network_of(scene: Scene) -> CrossModality | KUNet:
    """The network of a scene that reads along slices."""
    assert isinstance(scene.model, CrossModality | KUNet)
    return scene.model


def look_around(scene: Scene, progress: Callable[[float], None] = lambda fraction: None) -> Neighbours:
    """Asks each slice near the voxel's what it brings.

    Args:
        scene: Of a network with a sequence model.
        progress: Called with the fraction done.
    """
    sequence, own = network_of(scene).sequence, scene.voxel[0]
    maps = sequence_maps(scene)
    slices = list(range(max(own - REACH, 0), min(own + REACH + 1, maps.shape[2])))
    source = maps.clone().requires_grad_()
    with torch.enable_grad():
        plain = slice_logits(scene, read(sequence, source))
        (gradient,) = torch.autograd.grad(plain[scene.voxel[1:]], source)
    mean, changes = maps.mean(dim=(2, 3, 4)), []
    with torch.no_grad():
        for done, index in enumerate(slices, start=1):
            flat = maps.clone()
            flat[:, :, index] = mean[..., None, None]
            changes.append((slice_logits(scene, read(sequence, flat)) - plain).abs())
            progress(done / len(slices))
    step = step_of(scene, network_of(scene).multiple, maps)
    height, width = (-(-size // step) for size in scene.image.shape[3:])
    return Neighbours(
        slices,
        step,
        gradient[0].norm(dim=0)[slices, :height, :width].cpu().numpy(),
        torch.stack(changes).float().cpu().numpy(),
    )


def sequence_maps(scene: Scene) -> Tensor:
    """The maps of all slices that the sequence model reads, `(1, C, D, h, w)`."""
    found: list[Tensor] = []
    hook = network_of(scene).sequence.register_forward_pre_hook(lambda sequence, given: found.append(given[0]))
    with hook, torch.no_grad():
        scene.answer(scene.image)
    return found[0]


def read(sequence: nn.Module, maps: Tensor) -> Tensor:
    """What a sequence model says of maps `(1, C, D, h, w)`, without the state that some return beside it."""
    said = sequence(maps)
    return said[0] if isinstance(said, tuple) else said


def slice_logits(scene: Scene, said: Tensor) -> Tensor:
    """The explained logits `(H, W)` of the voxel's slice if the sequence model had said this, `(1, O, D, h, w)`."""
    own = slice(scene.voxel[0], scene.voxel[0] + 1)
    with _reading(network_of(scene).sequence, after=lambda _: said[:, :, own]):
        logits = scene.answer(scene.image[:, :, own])
    return scene.explained(logits[0, :, 0].float())


@contextmanager
def memory_cut(scene: Scene) -> Iterator[None]:
    """Inside, the sequence model reads each slice by itself and remembers no other."""

    def apart(maps: Tensor) -> Tensor:
        return maps.transpose(1, 2).flatten(0, 1)[:, :, None]  # (D, C, 1, h, w)

    def together(said: Tensor) -> Tensor:
        return said[:, :, 0].transpose(0, 1)[None]  # (1, O, D, h, w)

    with _reading(network_of(scene).sequence, before=apart, after=together):
        yield


Change = Callable[[Tensor], Tensor]


@contextmanager
def _reading(sequence: nn.Module, *, before: Change = lambda maps: maps, after: Change) -> Iterator[None]:
    """Inside, a sequence model reads changed maps and what it says is changed; it begins without a state."""

    def said(sequence: nn.Module, given: tuple, found: Tensor | tuple) -> Tensor | tuple:
        return (after(found[0]), *found[1:]) if isinstance(found, tuple) else after(found)

    hooks = [
        sequence.register_forward_pre_hook(lambda sequence, given: (before(given[0]),)),
        sequence.register_forward_hook(said),
    ]
    with hooked(hooks):
        yield
