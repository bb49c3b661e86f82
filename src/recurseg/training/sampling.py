"""Training windows: sample number n of seed s is a pure function of (s, n), whoever computes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from recurseg.data.case import IGNORE
from recurseg.training.augment import augmentation
from recurseg.training.recipe import SamplingConfig, Stage

Arrays = tuple[np.ndarray, np.ndarray]
"""Image `(C, D, H, W)` float32 and label `(D, H, W)` of one prepared case."""

Finish = Callable[[torch.Tensor, torch.Tensor, int], tuple[torch.Tensor, torch.Tensor]]
"""Augmented image `(C, D, H, W)`, label `(D, H, W)` and number of a sample → what the network sees and is to give."""

_VOXELS_REMEMBERED = 20_000


class Windows(Dataset):
    """The endless list of training windows of a stage.

    A window is centred on a voxel of a random foreground class, or lies anywhere; where it reaches beyond the
    image, the image is mirrored and the label ignored.

    Args:
        cases: Prepared cases.
        window: Size (D, H, W).
        config: How windows are drawn and augmented.
        seed: s.
        finish: Makes the sample of an augmented window; by default it is image and label.
    """

    def __init__(
        self,
        cases: Sequence[Arrays],
        window: tuple[int, int, int],
        config: SamplingConfig,
        *,
        seed: int,
        finish: Finish | None = None,
    ) -> None:
        self.finish = finish
        self.cases, self.window, self.seed = cases, window, seed
        self.fraction, self.augment = config.foreground, augmentation(config)
        self.foreground = [_foreground_voxels(label, case) for case, (_, label) in enumerate(cases)]
        self.with_foreground = [case for case, classes in enumerate(self.foreground) if classes]

    def __getitem__(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Sample n: image `(C, D, H, W)` and label `(D, H, W)`, or what `finish` makes of them."""
        random = np.random.default_rng([self.seed, n])
        if self.with_foreground and random.random() < self.fraction:
            case = self.with_foreground[random.integers(len(self.with_foreground))]
            classes = self.foreground[case]
            voxels = classes[random.integers(len(classes))]
            centre = voxels[random.integers(len(voxels))]
            wander = [random.integers(-(size // 4), size // 4 + 1) for size in self.window]
            start = centre - np.array(self.window) // 2 + wander
        else:
            case = int(random.integers(len(self.cases)))
            start = None
        image, label = self.cases[case]
        room = np.array(label.shape) - self.window
        if start is None:
            start = random.integers(np.minimum(room, 0), np.maximum(room, 0) + 1)
        start = np.where(room >= 0, np.clip(start, 0, np.maximum(room, 0)), room // 2)
        image, label = _cut(image, label, start, self.window)
        sample = self.augment(image, label, random)
        return self.finish(*sample, n) if self.finish else sample


def batches(windows: Windows, stage: Stage, first: int, offset: int, workers: int) -> DataLoader:
    """The batches of a stage from its update `first` on; its first update uses sample number `offset`."""
    numbers = range(offset + first * stage.batch, offset + stage.steps * stage.batch)
    return DataLoader(windows, stage.batch, sampler=numbers, num_workers=workers)


def _foreground_voxels(label: np.ndarray, case: int) -> list[np.ndarray]:
    """For each foreground class, coordinates `(n, 3)` of up to a fixed number of its voxels."""
    random, voxels = np.random.default_rng(case), []
    flat = label.reshape(-1)
    for index in np.unique(flat):
        if index in (0, IGNORE):
            continue
        found = np.flatnonzero(flat == index)
        if len(found) > _VOXELS_REMEMBERED:
            found = np.sort(random.choice(found, _VOXELS_REMEMBERED, replace=False))
        voxels.append(np.stack(np.unravel_index(found, label.shape), 1))
    return voxels


def _cut(image: np.ndarray, label: np.ndarray, start: np.ndarray, window: Sequence[int]) -> Arrays:
    lower, upper = np.maximum(start, 0), np.minimum(start + window, label.shape)
    inside = tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))
    image, label = image[:, *inside], label[inside]
    missing = [(a - s, s + w - b) for s, a, b, w in zip(start, lower, upper, window, strict=True)]
    if any(map(any, missing)):
        image = np.pad(image, [(0, 0), *missing], mode="symmetric")
        label = np.pad(label, missing, constant_values=IGNORE)
    return image, label
