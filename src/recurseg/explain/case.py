"""The explanation of one case: voxel, gradient, and whatever the model's own explainer shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from recurseg.data.case import Case
from recurseg.errors import ConfigError
from recurseg.explain.gradient import gradient_numbers, gradient_parts, input_gradient
from recurseg.explain.pictures import Explanation
from recurseg.explain.registry import Inside, explainer_of
from recurseg.explain.scene import make_scene
from recurseg.inference.inputs import collect
from recurseg.inference.predictor import Segmenter


def open_case(path: Path | str, modalities: Sequence[str], *, missing: bool = False) -> Case:
    """Opens the one case at a path: an image file, a folder of sections, or the folder of one case.

    Args:
        path: To the case.
        modalities: What the model takes.
        missing: Whether it copes with missing ones.

    Raises:
        ConfigError: There are several.
        DataError: There is none that the model can take.
    """
    found = collect([Path(path)], modalities, missing=missing)
    if found.failed and not found.cases:
        raise next(iter(found.failed.values()))
    if len(found.cases) > 1:
        example = found.cases[0].reference.path
        raise ConfigError(f"{path}: holds {len(found.cases)} cases: explain one, such as {example}")
    return found.cases[0]


def explain_case(
    segmenter: Segmenter,
    case: Case,
    *,
    voxel: Sequence[int] | None = None,
    class_name: str | None = None,
    frame: int | None = None,
    progress: Callable[[float], None] = lambda fraction: None,
) -> Explanation:
    """Explains what a model says of one voxel, or of a whole image.

    Every model shows the gradient of the voxel's logit with respect to the image; a model with an explainer of its
    own shows what is inside.

    Args:
        segmenter: From `recurseg.load`; its window bounds what is looked at, and so memory.
        case: With the modalities that the model takes; without some, where it copes.
        voxel: Index into the file's array, in its axis order, counted from 0, that of time left out; by default the
            middle of the largest foreground component of the prediction in the central section. A model that
            classifies whole images is asked for one logit, and takes no voxel.
        class_name: Whose logit is explained; by default the class that the model gives the voxel.
        frame: Of a cine, counted from 0; by default the first with a label, else with a name ("ED"), else the last.
        progress: Called with the fraction done, in (0, 1].

    Returns:
        Pictures, tables and numbers.

    Raises:
        ConfigError: The voxel lies outside the volume, there is no such frame, or the class is unknown.
        DataError: A modality is missing or has NaN voxels.
    """
    found, first = (0.15 if voxel is None else 0.03), 0.1
    scene, notes = make_scene(
        segmenter,
        case,
        voxel=voxel,
        class_name=class_name,
        frame=frame,
        progress=lambda fraction: progress(found * fraction),
    )
    gradient = input_gradient(scene)
    progress(found + first)
    explainer = explainer_of(segmenter.spec.model)
    inside = (
        Inside([])
        if explainer is None
        else explainer(scene, lambda fraction: progress(found + first + (1 - found - first) * fraction))
    )
    progress(1.0)
    if explainer is None:
        notes.append(f"'{segmenter.spec.model}' has no explainer of its own: the gradient is what any model shows.")
    if not gradient.magnitude.any():
        notes.append("The gradient is 0 everywhere: the logit does not depend on the image.")
    said: list[tuple[str, str]] = [("value", f"{gradient.logit:.2f}")]
    answer: dict[str, str | float] = {"value": gradient.logit}
    if gradient.probability is not None:
        name = scene.class_names[scene.target]
        answer = {"class": name, "logit": gradient.logit, "probability": gradient.probability}
        said = [("class", name), ("probability", f"{gradient.probability:.3f}"), ("logit", f"{gradient.logit:.2f}")]
    place: list[tuple[str, str]] = [("voxel", ", ".join(map(str, scene.stored)))] if scene.voxel else []
    if scene.frame is not None:
        place.append(("frame", str(scene.frame)))
    return Explanation(
        model=segmenter.spec.model,
        case=case.id,
        facts=[
            *place,
            *said,
            ("window", " × ".join(str(size) for size in scene.image.shape[2:])),
        ],
        parts=[*gradient_parts(scene, gradient), *inside.parts],
        numbers={
            "schema_version": 1,
            "model": segmenter.spec.model,
            "case": case.id,
            **({"voxel": list(scene.stored)} if scene.voxel else {}),
            **({} if scene.frame is None else {"frame": scene.frame}),
            **answer,
            "window": {"shape": list(scene.image.shape[2:]), "voxel": list(scene.voxel)},
            **gradient_numbers(scene, gradient),
            **inside.numbers,
            "notes": notes,
        },
        notes=notes,
    )
