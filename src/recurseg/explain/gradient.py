"""What any model can be asked: which voxels of the image move one voxel's logit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from recurseg.explain.pictures import Part, Picture
from recurseg.explain.scene import Scene
from recurseg.explain.views import DECADES, chosen_planes, cuts, picture, plane_title


@dataclass(frozen=True)
class InputGradient:
    """How a voxel's logit depends on the image.

    Attributes:
        magnitude: float32 `(*window)`: |∂ logit / ∂ image|, summed over modalities.
        logit: Of the explained class; the value itself where images are completed.
        probability: Of the explained class; None where images are completed.
    """

    magnitude: np.ndarray
    logit: float
    probability: float | None


def input_gradient(scene: Scene) -> InputGradient:
    """Computes the gradient of the scene's logit with respect to every voxel of the window."""
    image = scene.image.clone().requires_grad_()
    with torch.enable_grad():
        logits = scene.answer(image)
        logit = scene.logit(logits)
        (gradient,) = torch.autograd.grad(logit, image)
    magnitude = gradient[0].abs().sum(dim=0).float().cpu().numpy()
    return InputGradient(magnitude, logit.item(), None if scene.completes else scene.probability(logits.detach()))


def gradient_parts(scene: Scene, found: InputGradient) -> list[Part]:
    """Pictures: the planes through the voxel, and the window section by section."""
    dims, top = scene.dims, float(found.magnitude.max())

    def image_of(axis: int | None, steps: list[int] | None = None) -> list[Picture]:
        return [
            picture(name, channel, scene.voxel, axis, steps=steps, colours="grey", spacing=scene.spacing)
            for name, channel in zip(scene.titles, scene.channels, strict=True)
        ]

    def heat_of(axis: int | None, steps: list[int] | None = None) -> Picture:
        title = f"|gradient|, {plane_title(scene.letters, axis)}"
        return picture(
            title, found.magnitude, scene.voxel, axis, steps=steps, top=top, decades=DECADES, spacing=scene.spacing
        )

    parts = [
        Part(
            name="context",
            title="Where the answer comes from",
            text=(
                "The image, and how strongly each voxel of it moves "
                f"{'the value' if scene.completes else 'the logit'}: the absolute gradient, summed over "
                f"modalities, over {DECADES} powers of ten; what is weaker is black."
            ),
            rows=[
                *zip(*(image_of(axis) for axis in cuts(dims)), strict=True),
                [heat_of(axis) for axis in cuts(dims)],
            ],
        )
    ]
    if dims == 3 and scene.image.shape[2] > 1:
        steps = chosen_planes(scene.image.shape[2], scene.voxel[0])
        parts.append(
            Part(
                name=f"context_{scene.walk}s",
                title=f"The same, {scene.walk} by {scene.walk}",
                text=f"The ring marks the voxel; in other {scene.walk}s it is faint.",
                rows=[[*image_of(0, steps), heat_of(0, steps)]],
                steps=[scene.planes[0][step] for step in steps],
                start=steps.index(scene.voxel[0]),
                axis=scene.walk.capitalize(),
            )
        )
    return parts


def gradient_numbers(scene: Scene, found: InputGradient) -> dict[str, Any]:
    """How far from the voxel, along each axis, half, 90 % and 99 % of the absolute gradient lie, in voxels."""
    if not scene.voxel:
        return {"gradient": {"largest": float(found.magnitude.max())}}
    reach = {}
    for axis, letter in enumerate(scene.letters):
        others = tuple(other for other in range(scene.dims) if other != axis)
        profile = found.magnitude.sum(axis=others, dtype=np.float64)
        reach[letter] = reach_of(profile, scene.voxel[axis])
    return {"gradient": {"largest": float(found.magnitude.max()), "reach_voxels": reach}}


def reach_of(profile: np.ndarray, own: int) -> dict[str, int | None]:
    """The distance from `own` within which 50, 90 and 99 % of a profile lie; None where it is 0 everywhere."""
    distance = np.abs(np.arange(len(profile)) - own)
    mass = np.bincount(distance, weights=profile)
    total = mass.sum()
    if not total > 0:
        return {"50%": None, "90%": None, "99%": None}
    share = np.cumsum(mass) / total
    return {f"{percent}%": int(np.searchsorted(share, percent / 100 * (1 - 1e-12))) for percent in (50, 90, 99)}
