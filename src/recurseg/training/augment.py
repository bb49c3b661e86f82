"""Flips, turns, changes of size and of intensity of a training window, by MONAI's transforms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from monai.transforms.compose import Compose
from monai.transforms.intensity.dictionary import RandGaussianNoised, RandScaleIntensityd, RandShiftIntensityd
from monai.transforms.spatial.dictionary import RandAffined, RandFlipd, RandRotate90d

from recurseg.ops.parallel import one_thread
from recurseg.training.recipe import SamplingConfig

Augment = Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[torch.Tensor, torch.Tensor]]

_BOTH = ("image", "label")


def augmentation(config: SamplingConfig) -> Augment:
    """Builds a function of (image `(C, D, H, W)`, label `(D, H, W)`, generator) from a recipe's settings.

    What happens in the section plane happens to all sections and channels alike, so they go as channels through
    two-dimensional transforms: a fraction of the cost of three-dimensional ones.
    """
    steps = _in_plane(config) + _intensity(config)
    transforms = Compose(steps)
    flip_sections = "D" in config.flip

    def apply(image: np.ndarray, label: np.ndarray, random: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        shape = image.shape
        if flip_sections and random.random() < 0.5:
            image, label = image[:, ::-1], label[::-1]
        seed = int(random.integers(2**32))
        window = {
            "image": torch.from_numpy(image.reshape(-1, *shape[2:]).copy()),
            "label": torch.from_numpy(label.copy()),
        }
        changed: Any = window
        if steps:
            transforms.set_random_state(seed=seed)
            with one_thread():
                changed = transforms(window)
        image_out, label_out = (torch.as_tensor(changed[key]).as_subclass(torch.Tensor) for key in _BOTH)
        return image_out.reshape(shape).contiguous(), label_out.long().contiguous()

    return apply


def _in_plane(config: SamplingConfig) -> list:
    steps: list = [RandFlipd(_BOTH, prob=0.5, spatial_axis="HW".index(axis)) for axis in config.flip if axis != "D"]
    if config.right_angles:
        steps.append(RandRotate90d(_BOTH, prob=0.75, max_k=3))
    if config.rotate or config.scale:
        affine = RandAffined(
            _BOTH,
            prob=config.affine_probability,
            rotate_range=float(np.deg2rad(config.rotate)),
            scale_range=(config.scale, config.scale),
            mode=("bilinear", "nearest"),
            padding_mode="reflection",
        )
        steps.append(affine)
    return steps


def _intensity(config: SamplingConfig) -> list:
    steps: list = []
    if config.contrast:
        steps.append(RandScaleIntensityd("image", factors=config.contrast, prob=1.0))
    if config.brightness:
        steps.append(RandShiftIntensityd("image", offsets=config.brightness, prob=1.0))
    if config.noise:
        steps.append(RandGaussianNoised("image", prob=1.0, std=config.noise))
    return steps
