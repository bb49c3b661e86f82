"""Which voxel of a case, and which frame of a cine, is worth explaining."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter

import numpy as np

from recurseg.data.case import Case
from recurseg.errors import ConfigError
from recurseg.inference.cine import predict_cine
from recurseg.inference.predictor import Segmenter
from recurseg.inference.tiling import predict_probabilities
from recurseg.models import spatial_dims_of
from recurseg.preprocess import Prepared


def choose_frame(case: Case, wanted: int | None) -> tuple[int | None, list[str]]:
    """The frame of a cine that is explained, and a note on how it was chosen; None for a case without frames.

    Args:
        case: Still or moving.
        wanted: Counted from 0; None: the first that has a label, else the first that has a name, else the last.

    Raises:
        ConfigError: There is no such frame.
    """
    last = case.frames - 1
    if case.time_axis is None:
        if wanted is None:
            return None, []
        raise ConfigError(f"frame {wanted}: case {case.id} has no frames: leave the frame out")
    if wanted is not None:
        if not 0 <= wanted <= last:
            raise ConfigError(f"frame {wanted}: case {case.id} has {case.frames} frames: the last is {last}")
        return wanted, []
    if case.labelled_frames:
        return case.labelled_frames[0], ["The frame is the first of the cine that has a label."]
    if case.phases:
        name, frame = min(case.phases.items(), key=itemgetter(1))
        return frame, [f"The frame is that of {name}, the first of the cine that has a name."]
    return last, ["The frame is the last of the cine."]


def choose_voxel(
    segmenter: Segmenter,
    prepared: Prepared,
    wanted: int | None,
    *,
    frame: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> tuple[tuple[int, ...], str]:
    """A voxel worth explaining, on the prepared grid, and how it was found.

    Args:
        segmenter: Predicts the central section, within a slab as thick as its window.
        prepared: The case; with frames where the network sees them together.
        wanted: Class to look for; None for any foreground.
        frame: The one that is explained, where there are frames.
        progress: Called with the fraction done.
    """
    image = prepared.image if frame is None else prepared.image[:, frame]
    middle = image.shape[1] // 2 if image.ndim == 4 else None
    if frame is None:
        scores, seen = _still(segmenter, prepared, middle, progress)
    else:
        section = prepared.image if middle is None else prepared.image[:, :, middle]  # (C, T, H, W)
        scores, seen = _moving(segmenter, section, frame, progress), section[:, frame]
    if segmenter.spec.task == "regression":
        change = np.abs(scores[0] - seen[0])
        place, how = np.unravel_index(change.argmax(), change.shape), "The voxel is where the network changes most."
    else:
        place, how = _middle(scores, wanted, segmenter.spec.class_names)
    at = tuple(int(index) for index in place)
    return (at if middle is None else (middle, *at)), how


def _still(
    segmenter: Segmenter, prepared: Prepared, middle: int | None, progress: Callable[[float], None] | None
) -> tuple[np.ndarray, np.ndarray]:
    """What is said of the image, or of the middle section of a volume, `(K, H, W)`, and that `(C, H, W)` itself."""
    spec, slab, section = segmenter.spec, prepared.image, 0
    if middle is not None:
        thick = len(spec.window) == 3 and spatial_dims_of(segmenter.model) == 3
        depth = min(spec.window[0] if thick else 1, slab.shape[1])
        first = min(max(middle - depth // 2, 0), slab.shape[1] - depth)
        slab, section = slab[:, first : first + depth], middle - first
    scores = predict_probabilities(
        segmenter.model,
        slab,
        window=spec.window,
        overlap=spec.overlap,
        present=prepared.present,
        progress=progress,
    )
    return (scores, slab) if middle is None else (scores[:, section], slab[:, section])


def _moving(
    segmenter: Segmenter, section: np.ndarray, frame: int, progress: Callable[[float], None] | None
) -> np.ndarray:
    """What is said of one frame of a slice position `(C, T, H, W)`, as `(K, H, W)`."""
    spec = segmenter.spec
    return predict_cine(
        segmenter.model,
        section,
        frames=spec.frames,
        window=spec.window,
        overlap=spec.overlap,
        only=[frame],
        progress=progress,
    )[:, 0]


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
