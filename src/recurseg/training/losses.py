"""Losses of a segmentation: each takes logits and class labels and leaves ignored voxels out."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from recurseg.data.case import IGNORE

Logits = Float[Tensor, "b k *spatial"]
Labels = Int[Tensor, "b *spatial"]
Loss = Callable[[Logits, Labels], Tensor]


def as_softmax(logits: Logits) -> Logits:
    """One sigmoid logit z as the two softmax logits (0, z); more logits as they are."""
    return torch.cat([torch.zeros_like(logits), logits], 1) if logits.shape[1] == 1 else logits


def mean_squared_error(logits: Logits, labels: Labels) -> Tensor:
    """Squared error of the probabilities, sum over classes, mean over voxels (Stollenga et al. 2015, eq. 14)."""
    probabilities, target, counted = _compare(logits, labels)
    return ((probabilities - target).square().sum(1) * counted).sum() / counted.sum().clamp(min=1)


def cross_entropy(logits: Logits, labels: Labels) -> Tensor:
    """Negative log-probability of the true class, mean over voxels."""
    total = F.cross_entropy(as_softmax(logits), labels, ignore_index=IGNORE, reduction="sum")
    return total / (labels != IGNORE).sum().clamp(min=1)


def balanced_cross_entropy(weights: Float[Tensor, " k"]) -> Loss:
    """Builds the mean over voxels of weight of the true class times its negative log-probability.

    Args:
        weights: Of each class; one for every logit or more. See `median_frequency_weights`.
    """

    def loss(logits: Logits, labels: Labels) -> Tensor:
        logits = as_softmax(logits)
        own = weights[: logits.shape[1]].to(logits)
        total = F.cross_entropy(logits, labels, own, ignore_index=IGNORE, reduction="sum")
        return total / (labels != IGNORE).sum().clamp(min=1)

    return loss


def median_frequency_weights(labels: Iterable[np.ndarray]) -> Float[Tensor, " 255"]:
    """Weights of classes by median frequency: the median of all frequencies over a class's own.

    A class's frequency is its voxels over all counted voxels of the sections that hold it. A class that no section
    holds weighs nothing and has no part in the median.

    Args:
        labels: Of the training cases, `(D, H, W)`; 255 is not counted.

    Source: Tseng et al. 2017, section 3.5, after Eigen and Fergus 2015.
    """
    voxels, room = np.zeros(IGNORE), np.zeros(IGNORE)
    for section in (section for label in labels for section in label):
        counts = np.bincount(section.ravel(), minlength=IGNORE + 1)[:IGNORE]
        voxels += counts
        room += counts.sum() * (counts > 0)
    there = voxels > 0
    frequency = voxels[there] / room[there]
    weights = torch.zeros(IGNORE)
    weights[torch.from_numpy(there)] = torch.from_numpy(np.median(frequency) / frequency).float()
    return weights


def soft_dice(logits: Logits, labels: Labels) -> Tensor:
    """One minus the Dice of probabilities, mean over the foreground classes, over the whole batch at once."""
    from monai.losses.dice import DiceLoss

    probabilities, target, counted = _compare(logits, labels)
    mask = counted.unsqueeze(1)
    dice = DiceLoss(include_background=False, batch=True, smooth_nr=1e-5, smooth_dr=1e-5)
    return dice(probabilities * mask, target * mask)


def dice_cross_entropy(logits: Logits, labels: Labels) -> Tensor:
    """`soft_dice` plus `cross_entropy`."""
    return soft_dice(logits, labels) + cross_entropy(logits, labels)


def _compare(logits: Logits, labels: Labels) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities and one-hot labels `(B, K, *spatial)`, and which voxels count `(B, *spatial)`."""
    probabilities = as_softmax(logits).float().softmax(1)
    counted = labels != IGNORE
    target = F.one_hot(labels.where(counted, 0), probabilities.shape[1]).movedim(-1, 1)
    return probabilities, target.to(probabilities.dtype), counted.to(probabilities.dtype)


LOSSES: dict[str, Loss] = {
    "mean_squared_error": mean_squared_error,
    "cross_entropy": cross_entropy,
    "soft_dice": soft_dice,
    "dice_cross_entropy": dice_cross_entropy,
}
