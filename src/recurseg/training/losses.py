"""Losses of a segmentation: each takes logits and class labels and leaves ignored voxels out."""

from __future__ import annotations

from collections.abc import Callable

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
