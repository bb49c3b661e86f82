"""Training windows: sample number n of seed s is a pure function of (s, n), whoever computes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from recurseg.data.case import IGNORE
from recurseg.training.augment import augmentation
from recurseg.training.recipe import SamplingConfig, Stage


class Arrays(NamedTuple):
    """What windows of one prepared case are cut from.

    Attributes:
        image: float32 `(C, D, H, W)`.
        label: `(D, H, W)`.
        present: bool `(C,)`, which channels are there; None: all of them.
        target: Class of the whole image, given in the place of a label; None: the label is learned.
    """

    image: np.ndarray
    label: np.ndarray
    present: np.ndarray | None = None
    target: int | None = None


class Sample(NamedTuple):
    """What the network sees and is to give; batched, each with a first axis more.

    Attributes:
        image: float32 `(C, D, H, W)`, zero where a channel is not present.
        target: Label `(D, H, W)`, class `()`, or what else is to be given.
        present: bool `(C,)`.
    """

    image: torch.Tensor
    target: torch.Tensor
    present: torch.Tensor


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
        non_empty: Whether windows that are not centred on a foreground voxel hold one in some of their sections; all
            ranges of sections of which that is true are equally likely.
        finish: Makes image and target of an augmented window; by default they are image and label.
    """

    def __init__(
        self,
        cases: Sequence[Arrays],
        window: tuple[int, int, int],
        config: SamplingConfig,
        *,
        seed: int,
        non_empty: bool = False,
        finish: Finish | None = None,
    ) -> None:
        self.finish = finish
        self.cases, self.window, self.seed = cases, window, seed
        self.fraction, self.augment = config.foreground, augmentation(config)
        self.modality_dropout = config.modality_dropout
        self.foreground = [_foreground_voxels(case.label, number) for number, case in enumerate(cases)]
        self.with_foreground = [case for case, classes in enumerate(self.foreground) if classes]
        self.sections = _non_empty_sections(cases, window[0]) if non_empty else []

    def __getitem__(self, n: int) -> Sample:
        """Sample number n."""
        random = np.random.default_rng([self.seed, n])
        case, start = self._place(random)
        image, label = _cut(self.cases[case], start, self.window)
        image, target = self.augment(image, label, random)
        if self.finish:
            image, target = self.finish(image, target, n)
        if (whole := self.cases[case].target) is not None:
            target = torch.tensor(whole)
        present = self._present(self.cases[case], n)
        return Sample(image.masked_fill(~present[:, None, None, None], 0), target, present)

    def _place(self, random: np.random.Generator) -> tuple[int, np.ndarray]:
        """Number of a case, and first voxel (D, H, W) of a window, before the image where it is smaller."""
        if self.with_foreground and random.random() < self.fraction:
            case = self.with_foreground[random.integers(len(self.with_foreground))]
            classes = self.foreground[case]
            voxels = classes[random.integers(len(classes))]
            centre = voxels[random.integers(len(voxels))]
            wander = [random.integers(-(size // 4), size // 4 + 1) for size in self.window]
            start = centre - np.array(self.window) // 2 + wander
        else:
            first = None
            if self.sections:
                case, first = self.sections[random.integers(len(self.sections))]
            else:
                case = int(random.integers(len(self.cases)))
            room = self._room(case)
            start = random.integers(np.minimum(room, 0), np.maximum(room, 0) + 1)
            start[0] = start[0] if first is None else first
        room = self._room(case)
        return case, np.where(room >= 0, np.clip(start, 0, np.maximum(room, 0)), room // 2)

    def _room(self, case: int) -> np.ndarray:
        return np.array(self.cases[case].label.shape) - self.window

    def _present(self, case: Arrays, n: int) -> torch.Tensor:
        """Which channels sample n shows: those that are there, some of them dropped, at least one kept."""
        there = np.ones(len(case.image), bool) if case.present is None else case.present
        if not self.modality_dropout:
            return torch.from_numpy(there)
        random = np.random.default_rng([self.seed, n, 1])
        kept = there & (random.random(len(there)) >= self.modality_dropout)
        if not kept.any():
            kept[random.choice(np.flatnonzero(there))] = True
        return torch.from_numpy(kept)


def batches(
    windows: Windows, stage: Stage, first: int, offset: int, workers: int, *, rank: int = 0, ranks: int = 1
) -> DataLoader:
    """The batches of a stage, or of each the share of one of several processes.

    Args:
        windows: The samples.
        stage: Says how many updates there are, and samples an update of all processes together.
        first: The update to begin with.
        offset: Number of the stage's first sample.
        workers: Processes that prepare windows.
        rank: Number of this process: it has every `ranks`-th sample of a batch.
        ranks: How many processes share a batch.
    """
    begins = range(offset + first * stage.batch, offset + stage.steps * stage.batch, stage.batch)
    numbers = [list(range(begin + rank, begin + stage.batch, ranks)) for begin in begins]
    return DataLoader(windows, batch_sampler=numbers, num_workers=workers)


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


def _non_empty_sections(cases: Sequence[Arrays], depth: int) -> list[tuple[int, int]]:
    """Number of the case and first section of each range of so many sections that holds foreground."""
    found = []
    for number, case in enumerate(cases):
        filled = ((case.label != 0) & (case.label != IGNORE)).any(axis=(1, 2))
        starts = range(max(len(filled) - depth, 0) + 1)
        found += [(number, start) for start in starts if filled[start : start + depth].any()]
    return found


def _cut(case: Arrays, start: np.ndarray, window: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    image, label = case.image, case.label
    lower, upper = np.maximum(start, 0), np.minimum(start + window, label.shape)
    inside = tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))
    image, label = image[:, *inside], label[inside]
    missing = [(a - s, s + w - b) for s, a, b, w in zip(start, lower, upper, window, strict=True)]
    if any(map(any, missing)):
        image = np.pad(image, [(0, 0), *missing], mode="symmetric")
        label = np.pad(label, missing, constant_values=IGNORE)
    return image, label
