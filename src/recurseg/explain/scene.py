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
from recurseg.explain.coordinates import prepared_voxel, stored_voxel
from recurseg.inference.predictor import Segmenter, match_modalities
from recurseg.inference.tiling import predict_probabilities
from recurseg.models import accepts_missing, spatial_dims_of
from recurseg.preprocess import Prepared, prepare

AXES = ("section", "row", "column")
"""What the planes of the axes (D, H, W) are called."""


@dataclass(frozen=True)
class Scene:
    """What is explained.

    Attributes:
        model: In evaluation mode, on its device.
        image: `(1, C, *window)` as the model takes it, on its device.
        voxel: Index into the window.
        target: Class whose logit is explained; 0 where images are completed.
        class_names: Index = class; empty where images are completed.
        modalities: Names of the channels.
        spacing: Millimetres per voxel of the window's axes.
        planes: For each axis of the window, what each plane is called, numbered as in the file.
        stored: The voxel as an index into the file's array.
        whole: Spatial shape of the prepared case that the window is a part of.
        present: bool `(1, C)`, which channels the case has; the others are 0. None: all of them.
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

    @property
    def dims(self) -> int:
        return len(self.voxel)

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
        """The model's logits `(B, K, *window)` of images `(B, C, *window)` that have the channels of the case."""
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
    progress: Callable[[float], None] | None = None,
) -> tuple[Scene, list[str]]:
    """Chooses voxel, class and window.

    Args:
        segmenter: The model; its window bounds the window, and so memory.
        case: To look at.
        voxel: Index into the file's array, in its axis order; by default the middle of the largest foreground
            component of the prediction in the central section, or where a completed image differs most.
        class_name: Whose logit is explained; by default the class that the model gives the voxel.
        progress: Called with the fraction done of the prediction that finds a voxel.

    Returns:
        The scene, and notes on what was chosen.

    Raises:
        ConfigError: The voxel lies outside the volume, or the class is unknown.
        DataError: As `Segmenter.predict`.
    """
    spec = segmenter.spec
    if class_name is not None and class_name not in spec.class_names:
        raise ConfigError(f"unknown class '{class_name}'{did_you_mean(class_name, spec.class_names)}")
    wanted = None if class_name is None else spec.class_names.index(class_name)
    case = match_modalities(case, spec.modalities, missing=accepts_missing(segmenter.model))
    prepared = prepare(case, spec.preprocessing, modalities=spec.modalities)
    notes = [f"The case has no {', '.join(case.missing)}: the network looks at the others."] if case.missing else []
    if voxel is None:
        at, how = choose_voxel(segmenter, prepared, wanted, progress)
        notes.append(how)
    else:
        at = prepared_voxel(voxel, prepared.geometry)
    scene = _window(segmenter, prepared, at)
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
    return replace(scene, target=target), notes


def choose_voxel(
    segmenter: Segmenter,
    prepared: Prepared,
    wanted: int | None,
    progress: Callable[[float], None] | None = None,
) -> tuple[tuple[int, ...], str]:
    """A voxel worth explaining, on the prepared grid, and how it was found.

    Args:
        segmenter: Predicts the central section, within a slab as thick as its window.
        prepared: The case.
        wanted: Class to look for; None for any foreground.
        progress: Called with the fraction done.
    """
    spec, image = segmenter.spec, prepared.image
    slab, section = image, 0
    if image.ndim == 4:
        depth = min(
            spec.window[0] if len(spec.window) == 3 and spatial_dims_of(segmenter.model) == 3 else 1, image.shape[1]
        )
        middle = image.shape[1] // 2
        first = min(max(middle - depth // 2, 0), image.shape[1] - depth)
        slab, section = image[:, first : first + depth], middle - first
    scores = predict_probabilities(
        segmenter.model,
        slab,
        window=spec.window,
        overlap=spec.overlap,
        present=prepared.present,
        progress=progress,
    )
    if image.ndim == 4:
        scores, slab = scores[:, section], slab[:, section]
    if spec.task == "regression":
        change = np.abs(scores[0] - slab[0])
        place, how = np.unravel_index(change.argmax(), change.shape), "The voxel is where the network changes most."
    else:
        place, how = _middle(scores, wanted, spec.class_names)
    at = tuple(int(index) for index in place)
    return (at if image.ndim == 3 else (image.shape[1] // 2, *at)), how


def _middle(scores: np.ndarray, wanted: int | None, class_names: Sequence[str]) -> tuple[Sequence[int], str]:
    """The middle of the largest piece of `(K, H, W)`, and how it was found."""
    import cc3d
    from scipy.ndimage import distance_transform_edt

    labels = scores.argmax(axis=0)
    mask = labels > 0 if wanted is None else labels == wanted
    what = "foreground" if wanted is None else f"'{class_names[wanted]}'"
    if mask.any():
        piece = cc3d.largest_k(mask, k=1, connectivity=8, binary_image=True) != 0
        depth = np.asarray(distance_transform_edt(np.pad(piece, 1)))[1:-1, 1:-1]
        points = np.argwhere(depth >= depth.max() / 2)  # not at its edge, where the model is in doubt
        place = points[np.square(points - np.argwhere(piece).mean(axis=0)).sum(axis=1).argmin()].tolist()
        return place, f"The voxel is the middle of the largest {what} piece of the prediction in the central section."
    score = scores[1:].max(axis=0) if wanted is None else scores[wanted]
    place = [int(index) for index in np.unravel_index(score.argmax(), score.shape)]
    return place, f"The voxel is where {what} scores highest in the central section: the prediction has none there."


def _window(segmenter: Segmenter, prepared: Prepared, at: tuple[int, ...]) -> Scene:
    spec, shape = segmenter.spec, prepared.image.shape[1:]
    added = spec.preprocessing.channels(spec.modalities)[len(spec.modalities) :]
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
        modalities=[*spec.modalities, *(f"{name}, equalised" for name, _ in added)],
        spacing=spacing,
        planes=planes,
        stored=stored_voxel(at, prepared.geometry),
        whole=tuple(whole),
        present=None if prepared.present is None else torch.from_numpy(prepared.present)[None].to(segmenter.device),
    )


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
