"""Gamma-Net explained: how it converges, how active its levels are, what attention does, what each pathway brings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recurseg.explain.fgru import step_by_step
from recurseg.explain.fgru_views import (
    StepViews,
    activity_curve,
    activity_part,
    gates_numbers,
    gates_part,
    steps_curve,
    steps_numbers,
    steps_part,
    steps_table,
)
from recurseg.explain.fgru_without import answers_without, pathways_part
from recurseg.explain.pictures import Curve, Part, Table
from recurseg.explain.registry import Inside, register_explainer
from recurseg.explain.scene import Scene
from recurseg.explain.without import without_numbers, without_table


@register_explainer("gamma_net")
def explain_gamma_net(scene: Scene, progress: Callable[[float], None]) -> Inside:
    """Pictures and numbers of every step of an image or frame of a cine, and of answers without each pathway."""
    views = StepViews(scene, step_by_step(scene, lambda fraction: progress(0.4 * fraction)))
    steps = steps_numbers(views)
    parts: list[Part | Curve | Table] = [steps_part(views), steps_table(views, steps), activity_part(views)]
    numbers: dict[str, Any] = {"steps": steps}
    if len(steps) > 1:
        parts.insert(1, steps_curve(views, steps))
        parts.append(activity_curve(views))
    if any(step.gates for step in views.steps):
        parts.append(gates_part(views))
        numbers["gates"] = gates_numbers(views.steps)
    whole, less = answers_without(scene, lambda fraction: progress(0.4 + 0.6 * fraction))
    numbers["without"] = without_numbers(views.still, whole, less)
    parts += [pathways_part(views.still, whole, less), without_table(views.still, whole, numbers["without"])]
    return Inside(parts, numbers)
