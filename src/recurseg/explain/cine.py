"""Cines: which frames a network sees to say something of one of them, and how it goes through them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from recurseg.data.series import frames_up_to
from recurseg.inference.package import PackageSpec

if TYPE_CHECKING:
    from recurseg.explain.scene import Scene


def frames_seen(spec: PackageSpec, frame: int, frames: int) -> tuple[list[int], int]:
    """The frames that a network of time sees, in its order, and the place of the one that is explained.

    Args:
        spec: Whose `frames` is "series" or "stream".
        frame: The one that is explained.
        frames: How many the cine has.
    """
    if spec.frames == "series":
        return frames_up_to(frame, spec.window[0], frames), spec.window[0] - 1
    return list(range(frames)), frame


def join_frames(scenes: list[Scene], names: list[str], own: int, at_once: int) -> Scene:
    """The scenes of one window in several frames as one, whose window begins with the time.

    Args:
        scenes: Of each frame, in the order in which the network sees them.
        names: Of the frames.
        own: The place of the one that is explained.
        at_once: Frames that go through the network together.
    """
    scene, count = scenes[own], len(scenes)
    height = scene.image.shape[-2] * scene.spacing[-2]
    return replace(
        scene,
        image=torch.stack([one.image for one in scenes], dim=2),
        voxel=(own, *scene.voxel),
        spacing=(height / count, *scene.spacing),  # seconds have no length: pictures of time get that of a section
        planes=(names, *scene.planes),
        whole=(count, *scene.whole),
        at_once=at_once,
    )


def shown_frame(scene: Scene) -> Scene:
    """The explained frame of a cine as a scene by itself, for its pictures; a scene of an image as it is."""
    if scene.at_once is None:
        return scene
    return replace(
        scene,
        image=scene.image[:, :, scene.voxel[0]],
        voxel=scene.voxel[1:],
        spacing=scene.spacing[1:],
        planes=scene.planes[1:],
        whole=scene.whole[1:],
        at_once=None,
    )


def follow(model: nn.Module, image: Tensor, at_once: int) -> Tensor:
    """The logits of all frames of `(B, C, T, H, W)`.

    Parts of `at_once` frames are followed by the next, which begins with the state that they end with. A gradient
    goes through all of them; in memory are their states, and one part at a time.
    """
    from torch.utils.checkpoint import checkpoint

    if image.shape[2] <= at_once:
        return model(image)
    state, found = None, []
    for part in image.split(at_once, dim=2):
        logits, state = checkpoint(model, part, state, return_state=True, use_reentrant=False)
        found.append(logits)
    return torch.cat(found, dim=2)
