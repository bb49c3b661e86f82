"""What a network says without a part of itself or of its input: slice readers without memory and modalities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recurseg.explain.answers import LEAST_CHANGE, answer_map, dice, labels
from recurseg.explain.neighbours import memory_cut, network_of
from recurseg.explain.pictures import Part, Picture, Table
from recurseg.explain.scene import Scene
from recurseg.explain.views import chosen_planes, picture
from recurseg.models.cross_modality import CrossModality


@dataclass(frozen=True)
class Answer:
    """What is said of the window.

    Attributes:
        without: What was withheld; empty for the whole answer.
        probability: Of the explained class, float32 `(*window)`.
        labels: Class of each voxel, `(*window)`.
        logit: Of the voxel.
    """

    without: str
    probability: np.ndarray
    labels: np.ndarray
    logit: float


def whole_answer(scene: Scene) -> Answer:
    """The answer with everything."""
    with torch.no_grad():
        return answer_of(scene, "", scene.answer(scene.image))


def answer_without_memory(scene: Scene) -> Answer:
    """The answer when each slice is read by itself."""
    with torch.no_grad(), memory_cut(scene):
        return answer_of(scene, "memory", scene.answer(scene.image))


def answer_without(scene: Scene, modality: int) -> Answer:
    """The answer of a network that copes with missing modalities when one more is missing."""
    present = torch.zeros(1, len(scene.modalities), dtype=torch.bool, device=scene.image.device)
    present[0, [other for other in scene.there if other != modality]] = True
    with torch.no_grad():
        return answer_of(scene, scene.modalities[modality], scene.model(scene.image, present=present))


def memory_part(scene: Scene, whole: Answer, cut: Answer) -> Part:
    """The answer with and without memory side by side, and what differs."""
    text = (
        f"The probability of {scene.class_names[scene.target]} with everything; without memory, where the sequence "
        "model reads each slice as if there were no other; and the absolute difference."
    )
    return withheld_part(scene, "without_memory", "With and without memory", text, whole, [cut])


def modalities_part(scene: Scene, whole: Answer, less: Sequence[Answer]) -> Part:
    """The answer without each modality in turn, and what differs."""
    network = network_of(scene)
    left = " The fusion scales up what is left." if isinstance(network, CrossModality) and network.fusions else ""
    text = (
        f"The probability of {scene.class_names[scene.target]} when one more modality is missing, and the absolute "
        f"difference.{left}"
    )
    return withheld_part(scene, "without_modalities", "Without each modality", text, whole, less)


def without_numbers(scene: Scene, whole: Answer, less: Sequence[Answer]) -> list[dict[str, Any]]:
    """How each answer differs from the whole one; Dice of every class that either has."""
    return [
        {
            "without": one.without,
            "logit": one.logit,
            "probability": float(one.probability[scene.voxel]),
            "class": scene.class_names[int(one.labels[scene.voxel])],
            "change": float(change.mean()),
            "change_at_most": float(change.max()),
            "change_by_section": np.atleast_1d(change.mean(axis=(-2, -1))).tolist(),
            "other_class": float((one.labels != whole.labels).mean()),
            "dice": {
                name: dice(one.labels == label, whole.labels == label)
                for label, name in enumerate(scene.class_names)
                if label
            },
        }
        for one, change in zip(less, changes_of(whole, less), strict=True)
    ]


def without_table(scene: Scene, whole: Answer, numbers: Sequence[dict[str, Any]]) -> Table:
    """The same as a table."""
    classes = [name for name in scene.class_names[1:] if any(one["dice"][name] is not None for one in numbers)]
    probability = float(whole.probability[scene.voxel])
    return Table(
        title="What is withheld, in numbers",
        text=(
            f"At the voxel: the class, and the probability of {scene.class_names[scene.target]}, {probability:.3f} "
            "with everything. Change: the mean and the largest absolute difference of probabilities over the window. "
            "Relabelled: voxels that get another class. Dice: of each class, to the answer with everything."
        ),
        columns=[
            "without",
            "at the voxel",
            "probability",
            "change",
            "at most",
            "relabelled",
            *(f"Dice {name}" for name in classes),
        ],
        rows=[
            [
                one["without"],
                one["class"],
                f"{one['probability']:.3f}",
                f"{one['change']:.2g}",
                f"{one['change_at_most']:.2g}",
                f"{100 * one['other_class']:.2g} %",
                *("–" if one["dice"][name] is None else f"{one['dice'][name]:.3f}" for name in classes),
            ]
            for one in numbers
        ],
    )


def answer_of(scene: Scene, without: str, logits: Tensor) -> Answer:
    """The answer that logits `(1, K, *window)` give."""
    found = logits[0].float()
    return Answer(without, answer_map(scene, found), labels(found), float(scene.logit(logits)))


def changes_of(whole: Answer, less: Sequence[Answer]) -> list[np.ndarray]:
    """Absolute differences of probabilities."""
    return [np.abs(one.probability - whole.probability) for one in less]


def largest_change(changes: Sequence[np.ndarray]) -> float:
    """Where the scale of changes ends."""
    return max(LEAST_CHANGE, *(float(change.max()) for change in changes))


def probability_views(scene: Scene, answers: Sequence[Answer]) -> list[Picture]:
    """The probability of the explained class in each answer."""
    titles = [f"without {one.without}" if one.without else "with everything" for one in answers]
    return [_view(scene, title, one.probability) for title, one in zip(titles, answers, strict=True)]


def change_views(scene: Scene, answers: Sequence[Answer], changes: Sequence[np.ndarray]) -> list[Picture]:
    """What is different in each answer, on one scale."""
    top = largest_change(changes)
    return [
        _view(scene, f"|change| without {one.without}: at most {change.max():.2g}", change, top=top)
        for one, change in zip(answers, changes, strict=True)
    ]


def image_view(scene: Scene) -> Picture:
    """The first modality that is there."""
    first = scene.there[0]
    return _view(scene, scene.modalities[first], scene.channels[first], colours="grey")


def _view(scene: Scene, title: str, volume: np.ndarray, **options: Any) -> Picture:
    if scene.dims == 2:
        return picture(title, volume, scene.voxel, None, spacing=scene.spacing, **options)
    steps = chosen_planes(volume.shape[0], scene.voxel[0])
    return picture(title, volume, scene.voxel, 0, steps=steps, spacing=scene.spacing, **options)


def withheld_part(scene: Scene, name: str, title: str, text: str, whole: Answer, less: Sequence[Answer]) -> Part:
    """Answers with everything and without something, below them what differs; a slider over sections, if any."""
    changes = changes_of(whole, less)
    text = f"{text} The scale of differences ends at {largest_change(changes):.2g}."
    rows = [probability_views(scene, [whole, *less]), [image_view(scene), *change_views(scene, less, changes)]]
    if scene.dims == 2:
        return Part(name, title, text, rows)
    steps = chosen_planes(scene.image.shape[2], scene.voxel[0])
    names = [scene.planes[0][step] for step in steps]
    return Part(name, title, text, rows, steps=names, start=steps.index(scene.voxel[0]), axis="Section")
