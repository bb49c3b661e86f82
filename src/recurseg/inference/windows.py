"""Windows over an image on disk, blended in a band that is only as thick as a window.

The same windows in the same order and groups, with the same weights, as `predict_probabilities` gives to MONAI's
`sliding_window_inference`; sums and quotients are those to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from recurseg.data.case import LazyArray
from recurseg.data.formats.lazy import DiskArray
from recurseg.inference.tiling import (
    Precision,
    device_of,
    evaluating,
    require_finite,
    window_network,
    window_of,
    window_starts,
    windows_at_once,
)
from recurseg.models import spatial_dims_of

_BLOCK_BYTES = 2**22
"""About how much of the finished probabilities is handed on at once."""


@dataclass(frozen=True)
class Windows:
    """How windows lie over an image.

    Attributes:
        model: What sees them.
        sizes: Sides of the image, with a first side of 1 where a model of volumes sees an image.
        roi: Sides of a window, the first 1 where a model of images sees a volume.
        overlap: Fraction in [0, 1).
    """

    model: nn.Module
    sizes: tuple[int, ...]
    roi: tuple[int, ...]
    overlap: float

    @property
    def seen(self) -> tuple[int, ...]:
        """Sides of a window as the model takes it."""
        return self.roi[-spatial_dims_of(self.model) :]

    @property
    def at_once(self) -> int:
        return windows_at_once(self.seen, device_of(self.model))

    @property
    def starts(self) -> list[list[int]]:
        """Along each side, where windows begin."""
        return [window_starts(size, side, self.overlap) for size, side in zip(self.sizes, self.roi, strict=True)]

    def depth(self, at_once: int) -> int:
        """Sections that a group of windows touches, from its first to its last."""
        starts = self.starts
        row = math.prod(map(len, starts[1:]))
        rows = 1 if row % at_once == 0 else (at_once + row - 2) // row + 1
        far = max((b - a for a, b in zip(starts[0], starts[0][rows - 1 :], strict=False)), default=starts[0][-1])
        return min(self.sizes[0], self.roi[0] + far)


def windows_over(model: nn.Module, shape: Sequence[int], window: Sequence[int], overlap: float) -> Windows:
    """Lays windows over an image.

    Args:
        model: Of images or volumes.
        shape: `(H, W)` or `(D, H, W)`.
        window: `(H, W)` or `(D, H, W)`; clipped to the image.
        overlap: Fraction in [0, 1).
    """
    dims = spatial_dims_of(model)
    sizes = (1, *shape) if len(shape) < dims else tuple(shape)
    roi = tuple(min(*pair) for pair in zip(window_of(window, dims), sizes[-dims:], strict=True))
    return Windows(model, sizes, (1, *roi) if len(sizes) > dims else roi, overlap)


def predict_windows(
    windows: Windows,
    image: LazyArray,
    band: np.ndarray | DiskArray,
    *,
    at_once: int,
    flips: bool = False,
    precision: Precision = "float32",
    present: np.ndarray | None = None,
    first: int = 0,
    after_group: Callable[[float], None] = lambda done: None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Predicts the class probabilities of a prepared image of any length.

    Args:
        windows: From `windows_over`.
        image: float32 `(C, *spatial)`, anything with `shape` and `[...]`.
        band: Zeros `(windows.depth(at_once), K + 1, *sizes[1:])`, in memory or on disk.
        at_once: Windows that go through the network together.
        flips: As for `predict_probabilities`, like `precision` and `present`.
        first: Place along the first axis of the image from which on the answer is wanted.
        after_group: Called with the fraction done, in (0, 1], after every group of windows.

    Yields:
        In order the first place and float32 `(K, n, *others)`.

    Raises:
        ConfigError: The network gives NaN or infinite values.
    """
    starts, roi, device = windows.starts, windows.roi, device_of(windows.model)
    counts = [len(along) for along in starts]
    total, row = math.prod(counts), math.prod(counts[1:])
    begun = next((number for number, start in enumerate(starts[0]) if start + roi[0] > first), 0)
    network = window_network(windows.model, windows.seen, flips=flips, precision=precision, present=present)
    blend = _Band(band, _weights(windows), done=first)
    with evaluating(windows.model):
        for group in range(begun * row // at_once * at_once, total, at_once):
            numbers = np.unravel_index(range(group, min(group + at_once, total)), counts)
            corners = [tuple(starts[axis][at] for axis, at in enumerate(place)) for place in np.transpose(numbers)]
            scores = network(_read(image, corners, windows).to(device))
            for corner, found in zip(corners, require_finite(scores, precision).cpu().numpy(), strict=True):
                blend.add(corner, found.reshape(-1, *roi))
            following = group + at_once
            complete = starts[0][following // row] if following < total else windows.sizes[0]
            after_group(min(following, total) / total)
            for start, block in blend.finish(complete):
                yield (start, block) if len(windows.sizes) == len(image.shape) - 1 else (0, block[:, 0])


def _read(image: LazyArray, corners: Sequence[tuple[int, ...]], windows: Windows) -> Tensor:
    """The windows at some corners: `(B, C, *seen)`."""
    dims = len(image.shape) - 1
    found = []
    for corner in corners:
        place = [slice(start, start + side) for start, side in zip(corner, windows.roi, strict=True)][-dims:]
        part = np.ascontiguousarray(image[(slice(None), *place)], np.float32)
        found.append(torch.from_numpy(part).reshape(image.shape[0], *windows.seen))
    return torch.stack(found)


def _weights(windows: Windows) -> np.ndarray:
    """MONAI's Gaussian weights of a window, `(*roi)`."""
    from monai.data.utils import compute_importance_map

    weights = compute_importance_map(windows.seen, mode="gaussian", sigma_scale=0.125)
    return weights.numpy().reshape(windows.roi)


@dataclass
class _Band:
    """Weighted sums of probabilities, and of weights behind them, for the sections that windows still touch.

    Section number s lies at place s modulo the depth of the band.
    """

    sums: np.ndarray | DiskArray
    weights: np.ndarray
    done: int
    _depth: int = field(init=False)

    def __post_init__(self) -> None:
        self._depth = self.sums.shape[0]

    def add(self, corner: Sequence[int], scores: np.ndarray) -> None:
        """Adds a window's probabilities `(K, *roi)`; sections that are finished stay as they are."""
        weighted = np.concatenate([scores * self.weights, self.weights[None]])
        sides = self.weights.shape
        across = [slice(start, start + side) for start, side in zip(corner[1:], sides[1:], strict=True)]
        for section in range(max(corner[0], self.done), corner[0] + sides[0]):
            place = (section % self._depth, slice(None), *across)
            self.sums[place] = self.sums[place] + weighted[:, section - corner[0]]

    def finish(self, stop: int) -> Iterator[tuple[int, np.ndarray]]:
        """Gives the probabilities of the sections before `stop`, some at a time, and makes room."""
        section_bytes = math.prod(self.sums.shape[1:]) * 4
        step = max(1, _BLOCK_BYTES // section_bytes)
        while self.done < stop:
            sections = range(self.done, min(self.done + step, stop))
            block = []
            for place in (section % self._depth for section in sections):
                sums = self.sums[place]
                block.append(sums[:-1] / sums[-1])
                self.sums[place] = 0
            self.done = sections.stop
            yield sections.start, np.stack(block, axis=1)
