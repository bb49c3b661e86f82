"""RSANet explained: which slices heed which, where the voxel's information came from, and what is lost without."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from recurseg.explain.pictures import Part, Table
from recurseg.explain.registry import Inside, register_explainer
from recurseg.explain.scene import Scene
from recurseg.explain.slice_attention import blocks_of, cut, direction_names, listen
from recurseg.explain.slice_attention_views import heard_numbers, heard_part, heard_table, matrices_part, through_part
from recurseg.explain.without import (
    Answer,
    answer_of,
    whole_answer,
    withheld_part,
    without_numbers,
    without_table,
)

ATTENTION = "attention"


@register_explainer("rsanet")
def explain_rsanet(scene: Scene, progress: Callable[[float], None]) -> Inside:
    """Pictures and numbers of every direction of every RSA block, and of answers without them."""
    if not blocks_of(scene):
        text = "The network has no attention block: slices hear nothing of one another but through convolutions."
        return Inside([Table("Which slices heed which", text, ["block"], [["none"]])], {"attention": []})
    found = listen(scene, lambda fraction: progress(0.3 * fraction))
    logits = logits_without(scene, lambda fraction: progress(0.3 + 0.4 * fraction))
    whole, less = whole_answer(scene), answers_without(scene, lambda fraction: progress(0.7 + 0.3 * fraction))
    numbers = [heard_numbers(scene, one, whole.logit, logits[one.block]) for one in found]
    withheld = without_numbers(scene, whole, less)
    parts: list[Part | Table] = [matrices_part(scene, found), heard_table(numbers)]
    parts += [*(heard_part(scene, one) for one in found), through_part(scene, found)]
    parts += [directions_part(scene, whole, less), without_table(scene, whole, withheld)]
    return Inside(parts, {"attention": numbers, "without": withheld})


def logits_without(scene: Scene, progress: Callable[[float], None] = lambda fraction: None) -> dict[str, list[float]]:
    """The voxel's logit without each direction of a block, and at last without the block, by the block's name."""
    found: dict[str, list[float]] = {}
    for name, block in blocks_of(scene).items():
        found[name] = []
        for direction in (*range(len(block.order)), slice(None)):
            with torch.no_grad(), cut([block], direction):
                found[name].append(scene.logit(scene.answer(scene.image)).item())
        progress(len(found) / len(blocks_of(scene)))
    return found


def answers_without(scene: Scene, progress: Callable[[float], None] = lambda fraction: None) -> list[Answer]:
    """The answer without each direction in all blocks, without attention, and where there are several each block."""
    blocks = blocks_of(scene)
    every = list(blocks.values())
    cuts = [([*every], k, name) for k, name in enumerate(direction_names(scene, every[0].order))]
    cuts = [*cuts, (every, slice(None), ATTENTION)]
    if len(blocks) > 1:
        cuts += [([block], slice(None), f"attention after {name}") for name, block in blocks.items()]
    found = []
    for deaf, direction, name in cuts:
        with torch.no_grad(), cut(deaf, direction):
            found.append(answer_of(scene, name, scene.answer(scene.image)))
        progress(len(found) / len(cuts))
    return found


def directions_part(scene: Scene, whole: Answer, less: Sequence[Answer]) -> Part:
    """The answer with everything, without each direction and without attention, and what differs."""
    shown = less[: [one.without for one in less].index(ATTENTION) + 1]
    text = (
        f"The probability of {scene.class_names[scene.target]} with everything; when no slice hears others along one "
        "direction, which is cut in all blocks; and without attention, when a plain U-Net is left. Then the absolute "
        "difference. The weights are those of the training, which had everything."
    )
    return withheld_part(scene, "without_directions", "Without each direction", text, whole, shown)
