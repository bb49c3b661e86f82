"""What a network says of an image of any size, predicted in overlapping windows that are blended."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from recurseg.errors import ConfigError
from recurseg.models import spatial_dims_of

Precision = Literal["float32", "bf16", "fp16"]
AUTOCAST: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
_VOXELS_AT_ONCE = 2**16
"""Windows so small that several have no more voxels than this go through the network together."""
_FEWEST_AT_ONCE = {"cpu": 1}


def predict_probabilities(
    model: nn.Module,
    image: np.ndarray,
    *,
    window: Sequence[int],
    overlap: float = 0.25,
    flips: bool = False,
    precision: Precision = "float32",
    present: np.ndarray | None = None,
    progress: Callable[[float], None] | None = None,
) -> np.ndarray:
    """Predicts the class probabilities of one prepared image; of a model of regression, the values it gives.

    The image is tiled by windows. Their probabilities, not their logits, are averaged with Gaussian weights
    (standard deviation an eighth of the window), so that the middle of a window counts most. Models of images see a
    volume slice by slice; models of volumes see an image as a volume of one slice.

    Args:
        model: On its device. Is put into evaluation mode and left in the mode in which it came.
        image: float32 `(C, H, W)` or `(C, D, H, W)`, spatial size ≥ 1.
        window: `(H, W)` or `(D, H, W)`; clipped to the image, D = 1 or ignored where the other side has no such axis.
        overlap: How far neighbouring windows overlap, a fraction of the window in [0, 1).
        flips: Whether to average over the image and its mirror images along every set of spatial axes.
        precision: Of the network; probabilities are float32 always.
        present: bool `(C,)`, which channels are there, for models that cope with less; None: all.
        progress: Called with the fraction done, in (0, 1], after every few windows.

    Returns:
        float32 `(K, *spatial)`, K ≥ 2; a model of one sigmoid logit gives background and foreground. Of a model of
        regression `(C, *spatial)`.

    Raises:
        ConfigError: The network gives NaN or infinite values.
    """
    dims = spatial_dims_of(model)
    batch = _to_batch(torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32)), dims)
    probabilities = predict_batch(
        model,
        batch,
        window=window_of(window, batch.ndim - 2),
        overlap=overlap,
        flips=flips,
        precision=precision,
        present=present,
        progress=progress,
    )
    return _from_batch(probabilities, image.ndim - 1).numpy()


def predict_batch(
    model: nn.Module,
    batch: Tensor,
    *,
    window: Sequence[int],
    overlap: float = 0.25,
    flips: bool = False,
    frames: bool = False,
    precision: Precision = "float32",
    present: np.ndarray | None = None,
    progress: Callable[[float], None] | None = None,
) -> Tensor:
    """Predicts a batch in the form that the model takes; otherwise as `predict_probabilities`.

    Args:
        model: On its device.
        batch: float32 `(B, C, *sizes)`.
        window: One number for each of `sizes`.
        overlap: As there.
        flips: As there.
        frames: Whether the first of `sizes` is time, which is never mirrored.
        precision: As there.
        present: As there.
        progress: As there.

    Returns:
        float32 `(B, K, *sizes)` on the CPU, K ≥ 2.

    Raises:
        ConfigError: The network gives NaN or infinite values.
    """
    from monai.inferers.utils import sliding_window_inference

    device = device_of(model)
    sizes = tuple(batch.shape[2:])
    roi = tuple(min(*pair) for pair in zip(window, sizes, strict=True))
    total, done = len(batch) * window_count(sizes, roi, overlap), 0
    network = window_network(model, roi, flips=flips, frames=frames, precision=precision, present=present)

    def counted(part: Tensor) -> Tensor:
        nonlocal done
        found = network(part)
        if progress:
            done += len(part)
            progress(done / total)
        return found

    with evaluating(model), torch.inference_mode():
        probabilities = sliding_window_inference(
            batch,
            roi_size=roi,
            sw_batch_size=windows_at_once(roi, device),
            predictor=counted,
            overlap=overlap,
            mode="gaussian",
            sw_device=device,
            device="cpu",
        )
    assert isinstance(probabilities, Tensor)
    return require_finite(probabilities, precision)


def window_network(
    model: nn.Module,
    roi: Sequence[int],
    *,
    flips: bool = False,
    frames: bool = False,
    precision: Precision = "float32",
    present: np.ndarray | None = None,
) -> Callable[[Tensor], Tensor]:
    """The model as a function from windows `(B, C, *roi)` to probabilities `(B, K, *roi)`; arguments as before."""
    device = device_of(model)
    activation = _ACTIVATIONS[getattr(model, "task", "segmentation")]
    mirrors = _mirrors(roi, first=3 if frames else 2) if flips else [()]

    def run(part: Tensor) -> Tensor:
        if present is None:
            return model(part)
        return model(part, present=torch.from_numpy(present).to(part.device).expand(len(part), -1))

    def network(part: Tensor) -> Tensor:
        low = AUTOCAST.get(precision)
        with torch.inference_mode(), torch.autocast(device.type, low) if low else nullcontext():
            views = [run(part.flip(axes)).flip(axes) if axes else run(part) for axes in mirrors]
            return torch.stack([activation(output.float()) for output in views]).mean(dim=0)

    return network


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode; afterwards it is in the mode in which it came."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def device_of(model: nn.Module) -> torch.device:
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def windows_at_once(roi: Sequence[int], device: torch.device) -> int:
    """How many windows of a size go through the network together."""
    return max(_FEWEST_AT_ONCE.get(device.type, 4), _VOXELS_AT_ONCE // math.prod(roi))


def require_finite(probabilities: Tensor, precision: Precision) -> Tensor:
    """The probabilities as they are. Raises ConfigError where they are NaN or infinite."""
    if not probabilities.isfinite().all():
        raise ConfigError(f"the network gives NaN in {precision}: predict with precision float32 or train it again")
    return probabilities


def window_count(sizes: Sequence[int], roi: Sequence[int], overlap: float) -> int:
    """Number of windows of size `roi` that cover an image of `sizes` with an overlap in [0, 1)."""
    return math.prod(len(window_starts(size, side, overlap)) for size, side in zip(sizes, roi, strict=True))


def window_starts(size: int, side: int, overlap: float) -> list[int]:
    """Where windows begin along one axis; the last ends where the axis does."""
    stride = side if side == size else max(1, int(side * (1 - overlap)))
    return [min(number * stride, size - side) for number in range(math.ceil((size - side) / stride) + 1)]


def window_of(window: Sequence[int], dims: int) -> tuple[int, ...]:
    """The window of a model of `dims` axes."""
    return (1, *window) if len(window) < dims else tuple(window[-dims:])


def _to_batch(image: Tensor, dims: int) -> Tensor:
    if image.ndim - 1 == dims:
        return image[None]
    if dims == 2:
        return image.movedim(1, 0)  # (D, C, H, W)
    return image[None, :, None]  # (1, C, 1, H, W)


def _from_batch(probabilities: Tensor, dims: int) -> Tensor:
    if probabilities.ndim - 2 == dims:
        return probabilities[0]
    if dims == 3:
        return probabilities.movedim(0, 1).contiguous()  # (K, D, H, W)
    return probabilities[0, :, 0]


def _mirrors(roi: Sequence[int], first: int) -> list[tuple[int, ...]]:
    axes = [axis for axis, side in enumerate(roi, start=2) if side > 1 and axis >= first]
    return [chosen for count in range(len(axes) + 1) for chosen in itertools.combinations(axes, count)]


def to_probabilities(logits: Tensor) -> Tensor:
    """Logits `(B, K, ...)` as probabilities `(B, max(K, 2), ...)`."""
    if logits.shape[1] == 1:
        foreground = logits.sigmoid()
        return torch.cat([1 - foreground, foreground], dim=1)
    return logits.softmax(dim=1)


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"segmentation": to_probabilities, "regression": lambda v: v}
