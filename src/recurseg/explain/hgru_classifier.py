"""The hGRU explained: what its state and its answer come to step by step, and what horizontal kernels bring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recurseg.explain.fgru_without import KERNELS, kernels_cut
from recurseg.explain.hooks import hooked
from recurseg.explain.pictures import Curve, Part, Picture, Table
from recurseg.explain.registry import Inside, register_explainer
from recurseg.explain.scene import Scene
from recurseg.models.hgru_classifier import Settling
from recurseg.models.image_classifier import ImageClassifier

MOST_EVIDENCE = 3
"""Maps of evidence that are shown."""


@dataclass(frozen=True)
class Settled:
    """The network after a number of steps.

    Attributes:
        logits: `(1, K)` if it were read out now.
        state: float32 `(C, H, W)`.
        evidence: float32 `(E, H, W)`: what the readout takes the maximum of.
    """

    logits: Tensor
    state: np.ndarray
    evidence: np.ndarray

    @property
    def activity(self) -> np.ndarray:
        """`(H, W)`: the state's magnitude, mean over channels."""
        return np.abs(self.state).mean(axis=0)


@register_explainer("hgru_classifier")
def explain_hgru_classifier(scene: Scene, progress: Callable[[float], None]) -> Inside:
    """Pictures and numbers of every step, and of the answer without horizontal kernels."""
    model = scene.model
    assert isinstance(model, ImageClassifier)
    assert isinstance(model.context, Settling)
    steps = []
    for step in range(1, model.context.steps + 1):
        steps.append(settle(scene, step))
        progress(step / (model.context.steps + 1))
    with kernels_cut(model):
        cut = settle(scene, model.context.steps)
    numbers = steps_numbers(scene, steps)
    whole, probability = numbers[-1], scene.probability(cut.logits)
    without = {
        "without": KERNELS,
        "logit": float(scene.logit(cut.logits)),
        "probability": probability,
        "class": _class(scene, cut.logits),
        "change": abs(probability - whole["probability"]),
    }
    parts: list[Part | Curve | Table] = [_steps_part(scene, steps)]
    if len(steps) > 1:
        parts.append(_curve(scene, numbers))
    parts += [_table(scene, numbers), _without_part(scene, steps[-1], cut, whole, without)]
    return Inside(parts, {"steps": numbers, "without": [without]})


def settle(scene: Scene, steps: int) -> Settled:
    """Runs the network for a number of steps."""
    model = scene.model
    assert isinstance(model, ImageClassifier)
    assert isinstance(model.context, Settling)
    height, width = scene.image.shape[-2:]
    found: list[np.ndarray] = []
    hooks = [
        module.register_forward_hook(
            lambda module, given, said: found.append(said[0, :, :height, :width].float().cpu().numpy())
        )
        for module in (model.context, model.evidence)
    ]
    kept, model.context.steps = model.context.steps, steps
    try:
        with hooked(hooks), torch.no_grad():
            logits = scene.answer(scene.image)
    finally:
        model.context.steps = kept
    return Settled(logits, *found)


def steps_numbers(scene: Scene, steps: Sequence[Settled]) -> list[dict[str, Any]]:
    """The answer after each step, how active the state is, and how much it changed."""
    changes = [None, *(float(np.abs(after.state - before.state).mean()) for before, after in pairwise(steps))]
    return [
        {
            "step": f"step {n}",
            "probability": scene.probability(step.logits),
            "class": _class(scene, step.logits),
            "activity": float(step.activity.mean()),
            "change": change,
        }
        for n, (step, change) in enumerate(zip(steps, changes, strict=True), start=1)
    ]


def _class(scene: Scene, logits: Tensor) -> str:
    said = logits[0]
    return scene.class_names[int(said.argmax() if len(said) > 1 else said[0] > 0)]


def _picture(scene: Scene, title: str, values: Sequence[np.ndarray], **options: Any) -> Picture:
    """Maps of the image or of strided filters, over the same area."""
    sides = zip(scene.spacing, scene.image.shape[-2:], values[0].shape, strict=True)
    height, width = (size * pixels / positions for size, pixels, positions in sides)
    return Picture(title, np.stack(values).astype(np.float32), pixel=(height, width), **options)


def _steps_part(scene: Scene, steps: Sequence[Settled]) -> Part:
    activity = [step.activity for step in steps]
    changes = [np.zeros_like(activity[0])]
    changes += [np.abs(after.state - before.state).mean(axis=0) for before, after in pairwise(steps)]
    evidence = [
        _picture(
            scene,
            f"evidence {number + 1} and where it is strongest",
            [step.evidence[number] for step in steps],
            colours="grey",
            bound=np.stack([_around_top(step.evidence[number]) for step in steps]),
        )
        for number in range(min(len(steps[0].evidence), MOST_EVIDENCE))
    ]
    state = [
        _picture(scene, f"state: at most {np.max(activity):.2g}", activity, top=float(np.max(activity))),
        _picture(scene, "|change| since the step before", changes, top=float(np.max(changes))),
    ]
    return Part(
        "steps",
        "The state, step by step",
        "What each filter sees drives the state again at every step, and horizontal kernels spread it. Shown is the "
        "mean over channels of its magnitude after each step, how much it changed, and the maps of evidence that "
        "would be read out: the answer takes of each map the strongest position, which is framed.",
        [[_picture(scene, scene.modalities[0], [scene.channels[0]], colours="grey"), *state], evidence],
        steps=[f"step {n}" for n in range(1, len(steps) + 1)],
        start=len(steps) - 1,
        axis="Step",
    )


def _around_top(evidence: np.ndarray) -> np.ndarray:
    """The neighbourhood of the largest value, bool `(H, W)`."""
    reach = max(2, max(evidence.shape) // 40)
    rows, columns = np.indices(evidence.shape)
    row, column = np.unravel_index(evidence.argmax(), evidence.shape)
    return (np.abs(rows - row) <= reach) & (np.abs(columns - column) <= reach)


def _curve(scene: Scene, numbers: Sequence[dict[str, Any]]) -> Curve:
    name = scene.class_names[scene.target]
    return Curve(
        "steps_change",
        "What each step still changes",
        f"The probability of {name} if the state were read out after the step, and the mean change "
        "of the state, in parts of its largest.",
        [str(n) for n in range(1, len(numbers) + 1)],
        "step",
        {
            f"probability of {name}": [one["probability"] for one in numbers],
            "change of the state": _of_largest([one["change"] for one in numbers]),
        },
        len(numbers) - 1,
    )


def _of_largest(changes: Sequence[float | None]) -> list[float]:
    largest = max((change for change in changes if change is not None), default=0) or 1
    return [np.nan if change is None else change / largest for change in changes]


def _table(scene: Scene, numbers: Sequence[dict[str, Any]]) -> Table:
    return Table(
        title="The state, step by step, in numbers",
        text="The answer if it were read out after the step; the mean magnitude of the state, and of its change.",
        columns=["step", "class", f"probability of {scene.class_names[scene.target]}", "activity", "change"],
        rows=[
            [
                one["step"].replace(" ", "\u00a0"),
                one["class"],
                f"{one['probability']:.3f}",
                f"{one['activity']:.2g}",
                "–" if one["change"] is None else f"{one['change']:.2g}",
            ]
            for one in numbers
        ],
    )


def _without_part(scene: Scene, whole: Settled, cut: Settled, said: dict[str, Any], without: dict[str, Any]) -> Part:
    top = float(max(whole.activity.max(), cut.activity.max()))
    change = np.abs(whole.state - cut.state).mean(axis=0)
    return Part(
        "without_kernels",
        "Without horizontal kernels",
        f"With everything the image is {said['class']}, and the probability of {scene.class_names[scene.target]} "
        f"{said['probability']:.3f}; with the horizontal kernels 0, so that positions exchange nothing, it is "
        f"{without['class']}, and that probability {without['probability']:.3f}. The weights are those of the "
        "training, which had them.",
        [
            [
                _picture(scene, "state with everything", [whole.activity], top=top),
                _picture(scene, f"state without {KERNELS}", [cut.activity], top=top),
                _picture(scene, f"|change|: at most {change.max():.2g}", [change], top=float(change.max())),
            ]
        ],
    )
