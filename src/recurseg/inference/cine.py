"""Prediction of a prepared case; of a cine each frame by itself, from the series that ends at it, or streamed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from recurseg.data.case import LazyArray
from recurseg.data.series import frames_up_to
from recurseg.inference.streaming import stream
from recurseg.inference.tiling import Precision, predict_batch, predict_probabilities
from recurseg.preprocess import Prepared

Frames = Literal["each", "series", "stream"]


def predict_prepared(
    model: nn.Module,
    prepared: Prepared,
    *,
    frames: Frames,
    window: Sequence[int],
    only: Sequence[int] | None = None,
    **settings: Any,
) -> np.ndarray:
    """Predicts the class probabilities of a prepared case, still or moving.

    Args:
        model: On its device.
        prepared: What it is to see.
        frames: How it sees a cine, as for `predict_cine`.
        window: `(H, W)` or `(D, H, W)`.
        only: The frames of a cine to predict; all by default.
        settings: `overlap`, `flips`, `precision` and `progress` of `predict_probabilities`.

    Returns:
        float32 `(K, *spatial)`, of a cine `(K, frames, *spatial)`.

    Raises:
        ConfigError: The network gives NaN or infinite values.
    """
    if prepared.geometry.time_axis is None:
        return predict_probabilities(model, prepared.image, window=window, present=prepared.present, **settings)
    return predict_cine(model, prepared.image, frames=frames, window=window, only=only, **settings)


def predict_cine(
    model: nn.Module,
    image: LazyArray,
    *,
    frames: Frames,
    window: Sequence[int],
    overlap: float = 0.25,
    flips: bool = False,
    precision: Precision = "float32",
    only: Sequence[int] | None = None,
    progress: Callable[[float], None] | None = None,
) -> np.ndarray:
    """Predicts the class probabilities of a prepared cine.

    Args:
        model: On its device; of time where `frames` is not "each".
        image: float32 `(C, T, *spatial)`, spatial = `(H, W)` or `(D, H, W)`; if lazy, read as far as it is seen.
        frames: "each": every frame is an image or a volume of its own. "series": of each slice position the network
            sees `window[0]` frames that end at the one that is asked for (`frames_up_to`). "stream": it goes once
            over all frames of each slice position with its state carried on, `window[0]` frames at a time; sections
            are not tiled.
        window: `(D, H, W)`, D in slices for "each" and in frames otherwise.
        overlap: As for `predict_probabilities`.
        flips: As there; time is never mirrored.
        precision: As there.
        only: The frames to predict; all by default.
        progress: Called with the fraction done, in (0, 1].

    Returns:
        float32 `(K, frames predicted, *spatial)`, K ≥ 2.

    Raises:
        ConfigError: The network gives NaN or infinite values.
    """
    only = range(image.shape[1]) if only is None else only
    report = progress or (lambda done: None)
    if frames == "stream":
        slabs = stream(model, image, slab=window[0], frames=True, precision=precision, progress=progress)
        return np.concatenate([scores for _, scores in slabs], axis=1)[:, list(only)]
    settings: dict[str, Any] = {"overlap": overlap, "flips": flips, "precision": precision}
    found = []
    for number, frame in enumerate(only, start=1):
        if frames == "each":
            scores = predict_probabilities(model, image[:, frame], window=window, **settings)
        else:
            series = image[:, frames_up_to(frame, window[0], image.shape[1])]
            scores = predict_batch(model, _by_slice(series), window=window, frames=True, **settings)
            scores = _as_frames(scores[:, :, -1:], len(image.shape))[:, 0]
        found.append(scores)
        report(number / len(only))
    return np.stack(found, axis=1)


def _by_slice(image: np.ndarray) -> Tensor:
    """`(C, T, H, W)` or `(C, T, D, H, W)` as a batch of slice positions `(D, C, T, H, W)`."""
    volume = image if image.ndim == 5 else image[:, :, None]
    return torch.from_numpy(np.ascontiguousarray(volume.transpose(2, 0, 1, 3, 4), dtype=np.float32))


def _as_frames(scores: Tensor, dims: int) -> np.ndarray:
    """`(D, K, T, H, W)` as `(K, T, *spatial)`, an array of `dims` axes."""
    frames = scores.permute(1, 2, 0, 3, 4)
    return (frames if dims == 5 else frames[:, :, 0]).numpy()
