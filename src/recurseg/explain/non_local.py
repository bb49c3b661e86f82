"""A U-Net with non-local blocks explained: what the voxel's position attends to, and what is lost without."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recurseg.explain.hooks import hooked
from recurseg.explain.pictures import Part, Picture, Table
from recurseg.explain.registry import Inside, register_explainer
from recurseg.explain.scene import Scene
from recurseg.explain.slice_attention import network_of, positions_of
from recurseg.explain.slice_attention_views import HEARD_DECADES, enlarged, lit
from recurseg.explain.views import chosen_planes, picture, plane_title
from recurseg.explain.without import Answer, answer_of, whole_answer, without_numbers, without_table
from recurseg.layers.non_local import NonLocalBlock


@dataclass(frozen=True)
class Attended:
    """One row of a non-local block's attention.

    Attributes:
        block: The block of the network that it follows.
        step: Side of a position, in voxels.
        weights: float32 `(*positions)`: of each position for the voxel's, sum 1.
    """

    block: str
    step: int
    weights: np.ndarray


@register_explainer("non_local_unet3d")
def explain_non_local(scene: Scene, progress: Callable[[float], None]) -> Inside:
    """Pictures and numbers of what the voxel attends to in each block, and of the answer without each."""
    blocks = non_local_blocks(scene)
    if not blocks:
        text = "The network has no attention block."
        return Inside([Table("What the voxel attends to", text, ["block"], [["none"]])], {"attention": []})
    found = attended(scene)
    progress(0.2)
    whole, less = whole_answer(scene), []
    for name, block in blocks.items():
        less.append(_answer_without(scene, [block], f"attention after {name}"))
        progress(0.2 + 0.8 * len(less) / (len(blocks) + 1))
    if len(blocks) > 1:
        less.append(_answer_without(scene, list(blocks.values()), "attention"))
    withheld = without_numbers(scene, whole, less)
    parts = [*(_part(scene, one) for one in found), without_table(scene, whole, withheld)]
    return Inside(parts, {"attention": [_numbers(scene, one) for one in found], "without": withheld})


def non_local_blocks(scene: Scene) -> dict[str, NonLocalBlock]:
    """The non-local blocks of a scene's network by the name of the block that each follows, as data meets them."""
    attention = network_of(scene).attention
    found = {name: attention[name] for name in attention.levels if name in attention}
    return {name: block for name, block in found.items() if isinstance(block, NonLocalBlock)}


def attended(scene: Scene) -> list[Attended]:
    """What the voxel's position attends to in each block; the map of all by all is not made."""
    found: list[Attended] = []

    def recorder(name: str) -> Callable[..., None]:
        step = 2 ** network_of(scene).attention.levels[name]
        real = [slice(size) for size in positions_of(scene, step)]
        at = tuple(index // step for index in scene.voxel)

        def record(block: nn.Module, given: tuple[Tensor, Tensor | None], said: Tensor) -> None:
            assert isinstance(block, NonLocalBlock)
            maps = given[0][(0, slice(None), *real)].movedim(0, -1)  # (*positions, C), without padding
            heed = block.phi(maps) @ block.theta(maps[at])
            weights = heed.float().flatten().softmax(0).view(heed.shape)
            found.append(Attended(name, step, weights.cpu().numpy()))

        return record

    hooks = [block.register_forward_hook(recorder(name)) for name, block in non_local_blocks(scene).items()]
    with hooked(hooks), torch.no_grad():
        scene.answer(scene.image)
    return found


@contextmanager
def cut(blocks: Sequence[NonLocalBlock]) -> Iterator[None]:
    """Inside, the blocks change nothing."""
    with hooked([block.register_forward_hook(lambda block, given, said: given[0]) for block in blocks]):
        yield


def _answer_without(scene: Scene, blocks: Sequence[NonLocalBlock], name: str) -> Answer:
    with torch.no_grad(), cut(blocks):
        return answer_of(scene, name, scene.answer(scene.image))


def _part(scene: Scene, one: Attended) -> Part:
    steps = chosen_planes(scene.image.shape[2], scene.voxel[0])
    volume = enlarged(scene, one.weights, one.step)

    def view(axis: int, steps: Sequence[int] | None = None) -> Picture:
        return picture(
            f"attention, {plane_title(scene.letters, axis)}",
            volume,
            scene.voxel,
            axis,
            steps=steps,
            spacing=scene.spacing,
            top=float(volume.max()),
            decades=HEARD_DECADES,
        )

    width = "" if one.step == 1 else f" Positions are {one.step} voxels wide."
    return Part(
        name=f"heard_{one.block}",
        title=f"What the voxel attends to: attention after {one.block}",
        text=(
            f"The weight of every position for the voxel's, over {HEARD_DECADES} powers of ten; all add up to 1, the "
            f"largest is {volume.max():.2g}.{width}"
        ),
        rows=[[lit(scene, volume), view(0, steps)], [view(1), view(2)]],
        steps=[scene.planes[0][step] for step in steps],
        start=steps.index(scene.voxel[0]),
        axis="Section",
    )


def _numbers(scene: Scene, one: Attended) -> dict[str, Any]:
    weights = one.weights.astype(np.float64)
    at = tuple(index // one.step for index in scene.voxel)
    heard = weights[weights > 0]
    return {
        "block": one.block,
        "step": one.step,
        "positions": weights.size,
        "evenly_heard": float(np.exp(-(heard * np.log(heard)).sum())),
        "largest": float(weights.max()),
        "itself": float(weights[at]),
    }
