"""The class of whole images: how probable each is, and a folder's answers in one index."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from recurseg.errors import DataError
from recurseg.inference.tiling import AUTOCAST, Precision, require_finite, to_probabilities

if TYPE_CHECKING:
    from recurseg.inference.package import PackageSpec

AT_ONCE = 32


def classify(model: nn.Module, images: Iterable[np.ndarray], *, precision: Precision = "float32") -> np.ndarray:
    """Probabilities of the classes of whole images; neighbours of one size go through the network together.

    Args:
        model: Of task classification, on its device. Is put into evaluation mode and left as it came.
        images: float32 `(C, H, W)` each, of any sizes.
        precision: Of the network; probabilities are float32 always.

    Returns:
        float32 `(images, K)`, K ≥ 2.

    Raises:
        ConfigError: The network gives NaN or infinite values.
    """
    device = next(model.parameters()).device
    low, was_training = AUTOCAST.get(precision), model.training
    model.eval()
    try:
        with torch.inference_mode(), torch.autocast(device.type, low) if low else nullcontext():
            found = [
                to_probabilities(model(torch.from_numpy(np.stack(part)).to(device)).float()).cpu()
                for part in _together(images)
            ]
    finally:
        model.train(was_training)
    return require_finite(torch.cat(found), precision).numpy()


def whole_image(image: np.ndarray, case: str) -> np.ndarray:
    """A prepared image `(C, H, W)`. Raises DataError for a volume or a cine."""
    if image.ndim != 3:
        raise DataError(f"case {case}: a volume {image.shape[1:]}: whole images are classified, give its sections")
    return image


def answer(spec: PackageSpec, probabilities: np.ndarray) -> dict[str, Any]:
    """Class of an image, its name and the probabilities `(K,)` of all, as plain data."""
    found = int(probabilities.argmax())
    rounded = [round(float(p), 6) for p in probabilities]
    return {"class": found, "name": spec.class_names[found], "probabilities": rounded}


def _together(images: Iterable[np.ndarray]) -> Iterable[list[np.ndarray]]:
    """Runs of images of one shape, none longer than `AT_ONCE`."""
    part: list[np.ndarray] = []
    for image in images:
        if part and (image.shape != part[0].shape or len(part) == AT_ONCE):
            yield part
            part = []
        part.append(image)
    if part:
        yield part
