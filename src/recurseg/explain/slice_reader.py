"""Networks that read slices in sequence explained: modalities, neighbours, memory, and what is lost without each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from recurseg.explain.fusion import fusion_levels
from recurseg.explain.fusion_views import fusion_numbers, fusion_part, fusion_table
from recurseg.explain.neighbour_views import neighbours_numbers, neighbours_part, neighbours_table, nothing_taken
from recurseg.explain.neighbours import look_around, network_of
from recurseg.explain.pictures import Part, Table
from recurseg.explain.registry import Inside, register_explainer
from recurseg.explain.scene import Scene
from recurseg.explain.without import (
    answer_without,
    answer_without_memory,
    memory_part,
    modalities_part,
    whole_answer,
    without_numbers,
    without_table,
)
from recurseg.models import accepts_missing
from recurseg.models.cross_modality import CrossModality


@register_explainer("cross_modality")
@register_explainer("encoder_decoder")
@register_explainer("k_unet")
def explain_slice_reader(scene: Scene, progress: Callable[[float], None]) -> Inside:
    """Pictures and numbers of the fusion, of neighbouring slices, and of answers without memory or a modality."""
    parts: list[Part | Table] = []
    numbers: dict[str, Any] = {}
    if isinstance(scene.model, CrossModality) and scene.model.fusions:
        levels = fusion_levels(scene)
        numbers["fusion"] = fusion_numbers(scene, levels)
        parts += [fusion_part(scene, levels), fusion_table(scene, levels, numbers["fusion"])]
    progress(0.2)
    whole, less = whole_answer(scene), []
    if reason := _alone(scene):
        parts.append(nothing_taken(reason))
        numbers["neighbours"] = []
    else:
        around = look_around(scene, lambda fraction: progress(0.2 + 0.5 * fraction))
        numbers["neighbours"] = neighbours_numbers(scene, around)
        less.append(answer_without_memory(scene))
        parts.append(neighbours_part(scene, around, numbers["neighbours"]))
        parts += [neighbours_table(numbers["neighbours"]), memory_part(scene, whole, less[0])]
    if accepts_missing(scene.model) and len(scene.there) > 1:
        withheld = [answer_without(scene, modality) for modality in scene.there]
        parts.append(modalities_part(scene, whole, withheld))
        less += withheld
    if less:
        numbers["without"] = without_numbers(scene, whole, less)
        parts.append(without_table(scene, whole, numbers["without"]))
    return Inside(parts, numbers)


def _alone(scene: Scene) -> str:
    """Why slices know nothing of one another; empty where they do."""
    if isinstance(network_of(scene).sequence, nn.Identity):
        return "The model has no sequence model"
    return "The window holds a single slice" if scene.image.shape[2] == 1 else ""
