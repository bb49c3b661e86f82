"""The scene of an explanation: a model, the window that it reads, and the voxel whose logit is explained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from recurseg.data.case import Case
from recurseg.errors import ConfigError, did_you_mean
from recurseg.explain.choice import choose_frame, choose_voxel
from recurseg.explain.cine import follow, frames_seen, join_frames
from recurseg.explain.coordinates import anatomy_of, prepared_voxel, stored_voxel
from recurseg.inference.classify import whole_image
from recurseg.inference.predictor import Segmenter, match_modalities
from recurseg.models import accepts_missing, spatial_dims_of
from recurseg.preprocess import Prepared, prepare

AXES = ("section", "row", "column")
"""What the planes of the axes (D, H, W) are called."""


@dataclass(frozen=True)
class Scene:
    """What is explained.

    Attributes:
        model: In evaluation mode, on its device.
        image: `(1, C, *window)` as the model takes it, on its device. The window of a cine begins with the time.
        voxel: Index into the window; empty where whole images are classified.
        target: Class whose logit is explained; 0 where images are completed.
        class_names: Index = class; empty where images are completed.
        modalities: Names of the channels.
        spacing: Millimetres per voxel of the window's axes.
        planes: For each axis of the window, what each plane is called, numbered as in the file.
        stored: The voxel as an index into the file's array, that of time left out.
        whole: Spatial shape of the prepared case that the window is a part of.
        present: bool `(1, C)`, which channels the case has; the others are 0. None: all of them.
        frame: The one of a cine that is explained, counted from 0; None where there are no frames.
        at_once: Frames of a cine that go through the network together; the next begin with the state that they end
            with. None: the network sees no time, the window has no such axis.
        anatomy: What planes across each axis of the window of a volume are to the patient: "sagittal", "coronal" or
            "axial"; empty where the file does not say.
    """

    model: nn.Module
    image: Tensor
    voxel: tuple[int, ...]
    target: int
    class_names: list[str]
    modalities: list[str]
    spacing: tuple[float, ...]
    planes: tuple[list[str], ...]
    stored: tuple[int, ...]
    whole: tuple[int, ...]
    present: Tensor | None = None
    frame: int | None = None
    at_once: int | None = None
    anatomy: tuple[str, ...] = ()

    @property
    def dims(self) -> int:
        return self.image.ndim - 2

    @property
    def letters(self) -> str:
        """A letter for each axis of the window: "HW", "DHW" or "THW"."""
        return ("DHW" if self.at_once is None else "THW")[-self.dims :]

    @property
    def walk(self) -> str:
        """What one walks along through the first of three axes."""
        return "section" if self.at_once is None else "frame"

    @property
    def completes(self) -> bool:
        """Whether the model completes images instead of segmenting them."""
        return getattr(self.model, "task", "segmentation") == "regression"

    @property
    def there(self) -> list[int]:
        """The channels that the case has."""
        return [n for n in range(len(self.modalities)) if self.present is None or self.present[0, n]]

    @property
    def titles(self) -> list[str]:
        """Names of the channels for pictures, which say what is absent."""
        return [name if n in self.there else f"{name}: absent" for n, name in enumerate(self.modalities)]

    def answer(self, image: Tensor) -> Tensor:
        """The model's logits `(B, K, *window)` of images `(B, C, *window)` that have the channels of the case.

        Of a model that classifies whole images `(B, K)`.
        """
        if self.at_once is not None:
            return follow(self.model, image, self.at_once)
        return (
            self.model(image)
            if self.present is None
            else self.model(image, present=self.present.expand(len(image), -1))
        )

    def explained(self, logits: Tensor) -> Tensor:
        """The explained numbers out of `(K, ...)`; of a single sigmoid logit, minus it for the background."""
        if len(logits) > 1 or self.completes:
            return logits[self.target]
        return logits[0] if self.target == 1 else -logits[0]

    def logit(self, logits: Tensor) -> Tensor:
        """The explained number out of `(1, K, *window)`."""
        return self.explained(logits[(0, slice(None), *self.voxel)].float())

    def probability(self, logits: Tensor) -> float:
        """The explained class's probability out of `(1, K, *window)`."""
        at = logits[(0, slice(None), *self.voxel)].float()
        return float(at.softmax(0)[self.target] if len(at) > 1 else self.logit(logits).sigmoid())

    @cached_property
    def channels(self) -> np.ndarray:
        """The window as `(C, *window)`."""
        return self.image[0].detach().cpu().numpy()


def make_scene(
    segmenter: Segmenter,
    case: Case,
    *,
    voxel: Sequence[int] | None = None,
    class_name: str | None = None,
    frame: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> tuple[Scene, list[str]]:
    """Chooses voxel, class, frame and window.

    Args:
        segmenter: The model; its window bounds the window, and so memory.
        case: To look at. Of a cine one frame is explained: by itself, or together with those that the network sees.
        voxel: Index into the file's array, in its axis order, that of time left out; by default the middle of the
            largest foreground component of the prediction in the central section, or where a completed image differs
            most. None where whole images are classified.
        class_name: Whose logit is explained; by default the class that the model gives the voxel.
        frame: Of a cine, counted from 0; by default the first with a label, else with a name, else the last.
        progress: Called with the fraction done of the prediction that finds a voxel.

    Returns:
        The scene, and notes on what was chosen.

    Raises:
        ConfigError: The voxel lies outside the volume, there is no such frame, or the class is unknown.
        DataError: As `Segmenter.predict`.
    """
    spec = segmenter.spec
    if class_name is not None and class_name not in spec.class_names:
        raise ConfigError(f"unknown class '{class_name}'{did_you_mean(class_name, spec.class_names)}")
    if spec.task == "classification" and voxel is not None:
        raise ConfigError(f"voxel {','.join(map(str, voxel))}: {spec.model} classifies whole images: leave it out")
    wanted = None if class_name is None else spec.class_names.index(class_name)
    case = match_modalities(case, spec.modalities, missing=accepts_missing(segmenter.model))
    frame, notes = choose_frame(case, frame)
    together = frame if spec.frames != "each" else None
    if frame is not None and together is None:
        case = case.frame(frame)
    prepared = prepare(replace(case, label=None), spec.preprocessing, modalities=spec.modalities)
    if case.missing:
        notes.append(f"The case has no {', '.join(case.missing)}: the network looks at the others.")
    if spec.task == "classification":
        scene = _whole(segmenter, prepared, case)
    else:
        if voxel is None:
            at, how = choose_voxel(segmenter, prepared, wanted, frame=together, progress=progress)
            notes.append(how)
        else:
            at = prepared_voxel(voxel, prepared.geometry)
        scene = _window(segmenter, prepared, at) if together is None else _series(segmenter, prepared, at, together)
    with torch.no_grad():
        answer = scene.answer(scene.image)[(0, slice(None), *scene.voxel)]
    if scene.completes:
        target = 0
    else:
        target = wanted if wanted is not None else int(answer.argmax() if len(answer) > 1 else answer[0] > 0)
    window = scene.image.shape[2:]
    if tuple(window) != scene.whole:
        notes.append(
            f"Context is followed within a window of {' × '.join(map(str, window))} voxels around the voxel, out of "
            f"{' × '.join(map(str, scene.whole))}, so that memory stays bounded; what lies outside is not seen, and "
            "neighbouring windows are not blended in as they are in a prediction."
        )
    anatomy = anatomy_of(case.affine, prepared.geometry) if scene.letters == "DHW" else ()
    return replace(scene, target=target, frame=frame, anatomy=anatomy), notes


def _whole(segmenter: Segmenter, prepared: Prepared, case: Case) -> Scene:
    """The scene of an image that is classified whole."""
    image = torch.from_numpy(whole_image(prepared.image, case.id))[None].to(segmenter.device)
    return Scene(
        model=segmenter.model,
        image=image,
        voxel=(),
        target=0,
        class_names=segmenter.spec.class_names,
        modalities=_channel_names(segmenter),
        spacing=prepared.spacing,
        planes=(),
        stored=(),
        whole=tuple(image.shape[2:]),
    )


def _series(segmenter: Segmenter, prepared: Prepared, at: tuple[int, ...], frame: int) -> Scene:
    """The scene of a cine whose frames the network sees together; sections that are streamed are not cut."""
    spec, image = segmenter.spec, prepared.image
    seen, own = frames_seen(spec, frame, image.shape[1])
    if spec.frames == "stream":
        segmenter = replace(segmenter, spec=spec.model_copy(update={"window": image.shape[-2:]}))
    each = [replace(prepared, image=image[:, number], geometry=prepared.geometry.frame) for number in seen]
    scenes = [_window(segmenter, one, at) for one in each]
    return join_frames(scenes, [f"frame {number}" for number in seen], own, spec.window[0])


def _window(segmenter: Segmenter, prepared: Prepared, at: tuple[int, ...]) -> Scene:
    spec, shape = segmenter.spec, prepared.image.shape[1:]
    sides = ((1,) * (len(shape) - len(spec.window)) + tuple(spec.window))[-len(shape) :]
    if spatial_dims_of(segmenter.model) < len(shape):
        sides = (1, *sides[1:])
    sides = tuple(min(pair) for pair in zip(sides, shape, strict=True))
    corner = tuple(min(max(i - side // 2, 0), size - side) for i, side, size in zip(at, sides, shape, strict=True))
    part = prepared.image[(slice(None), *(slice(c, c + s) for c, s in zip(corner, sides, strict=True)))]
    inside = tuple(i - c for i, c in zip(at, corner, strict=True))
    planes, spacing = _plane_names(prepared, at, corner, sides), prepared.spacing
    if len(shape) < spatial_dims_of(segmenter.model):
        part, inside = part[:, None], (0, *inside)
        planes, spacing, whole = (["image"], *planes), (1.0, *spacing), (1, *shape)
    elif len(shape) > spatial_dims_of(segmenter.model):
        part, inside, planes, spacing, whole = part[:, 0], inside[1:], planes[1:], spacing[1:], shape[1:]
    else:
        whole = shape
    return Scene(
        model=segmenter.model,
        image=torch.from_numpy(np.ascontiguousarray(part))[None].to(segmenter.device),
        voxel=inside,
        target=0,
        class_names=spec.class_names,
        modalities=_channel_names(segmenter),
        spacing=spacing,
        planes=planes,
        stored=stored_voxel(at, prepared.geometry),
        whole=tuple(whole),
        present=None if prepared.present is None else torch.from_numpy(prepared.present)[None].to(segmenter.device),
    )


def _channel_names(segmenter: Segmenter) -> list[str]:
    names = segmenter.spec.modalities
    added = segmenter.spec.preprocessing.channels(names)[len(names) :]
    return [*names, *(f"{name}, equalised" for name, _ in added)]


def _plane_names(prepared: Prepared, at, corner, sides) -> tuple[list[str], ...]:
    """What the planes of the window are called, by their number in the file."""
    names = []
    for axis, (first, side) in enumerate(zip(corner, sides, strict=True)):
        stored_axis = prepared.geometry.orientation.axes[axis]
        moved = ((*at[:axis], first + index, *at[axis + 1 :]) for index in range(side))
        names.append(
            [f"{AXES[-len(at) :][axis]} {stored_voxel(point, prepared.geometry)[stored_axis]}" for point in moved]
        )
    return tuple(names)
