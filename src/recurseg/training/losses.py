"""Losses of a segmentation: each takes logits and class labels and leaves ignored voxels out.

Each is a function of sums over the batch, which may be spread over processes (`of_all_ranks`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from recurseg.data.case import IGNORE
from recurseg.training.distributed import of_all_ranks

Logits = Float[Tensor, "b k *spatial"]
Labels = Int[Tensor, "b *spatial"]
Loss = Callable[[Logits, Labels], Tensor]

SMOOTH = 1e-5
"""Added to both sides of Dice's fraction."""


def as_softmax(logits: Logits) -> Logits:
    """One sigmoid logit z as the two softmax logits (0, z); more logits as they are."""
    return torch.cat([torch.zeros_like(logits), logits], 1) if logits.shape[1] == 1 else logits


def mean_squared_error(logits: Logits, labels: Labels) -> Tensor:
    """Squared error of the probabilities, sum over classes, mean over voxels (Stollenga et al. 2015, eq. 14)."""
    probabilities, target, counted = _compare(logits, labels)
    return _mean(((probabilities - target).square().sum(1) * counted).sum(), labels)


def cross_entropy(logits: Logits, labels: Labels) -> Tensor:
    """Negative log-probability of the true class, mean over voxels."""
    total = F.cross_entropy(as_softmax(logits), labels, ignore_index=IGNORE, reduction="sum")
    return _mean(total, labels)


def balanced_cross_entropy(weights: Float[Tensor, " k"]) -> Loss:
    """Builds the mean over voxels of weight of the true class times its negative log-probability.

    Args:
        weights: Of each class; one for every logit or more. See `median_frequency_weights`, `exponential_weights`.
    """

    def loss(logits: Logits, labels: Labels) -> Tensor:
        logits = as_softmax(logits)
        own = weights[: logits.shape[1]].to(logits)
        total = F.cross_entropy(logits, labels, own, ignore_index=IGNORE, reduction="sum")
        return _mean(total, labels)

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


def exponential_weights(fraction: float, *, as_printed: bool = False) -> Float[Tensor, " 255"]:
    """Weights of classes by how rare foreground is: e^(1-r) for foreground, e^r for background, over their sum.

    At the fraction of the paper, r = 5.15e-4, foreground weighs 0.731 and background 0.269, and so it stays for
    whatever is rare: r must reach a tenth for foreground to fall to 0.69.

    Args:
        fraction: r, share of the voxels that are foreground, in [0, 1]; see `foreground_fraction`.
        as_printed: Exchanges the two weights. The paper gives e^r to lesions and e^(1-r) to all else, which makes
            light of the lesions it means to stress; so it is only done where it is asked for.

    Source: Zhang et al. 2019 (RSANet), section 3.1. Several foreground classes have one weight, which the paper, with
    lesions alone, does not say.
    """
    foreground = math.exp(1 - fraction) / (math.exp(fraction) + math.exp(1 - fraction))
    if as_printed:
        foreground = 1 - foreground
    weights = torch.full((IGNORE,), foreground)
    weights[0] = 1 - foreground
    return weights


def foreground_fraction(labels: Iterable[np.ndarray]) -> float:
    """Mean over cases of the share of their counted voxels that are foreground, of whatever class.

    Args:
        labels: Of the training cases as the network sees them; 255 is not counted.
    """
    shares = []
    for label in labels:
        background, ignored = (np.count_nonzero(label == value) for value in (0, IGNORE))
        shares.append((label.size - background - ignored) / max(label.size - ignored, 1))
    return math.fsum(shares) / len(shares)


def soft_dice(logits: Logits, labels: Labels) -> Tensor:
    """One minus the Dice of probabilities, mean over the foreground classes, over the whole batch at once."""
    probabilities, target, counted = _compare(logits, labels)
    mask, axes = counted.unsqueeze(1), [0, *range(2, logits.ndim)]
    found, true = (probabilities * mask)[:, 1:], (target * mask)[:, 1:]
    hits = (found * true).sum(axes)
    extra, missed = found.sum(axes) - hits, true.sum(axes) - hits
    hits, extra, missed = of_all_ranks(torch.stack([hits, extra, missed]))
    return (1 - (2 * hits + SMOOTH) / (2 * (hits + 0.5 * extra + 0.5 * missed) + SMOOTH)).mean()


def dice_cross_entropy(logits: Logits, labels: Labels) -> Tensor:
    """`soft_dice` plus `cross_entropy`."""
    return soft_dice(logits, labels) + cross_entropy(logits, labels)


def _mean(total: Tensor, labels: Labels) -> Tensor:
    """A sum over voxels over the number of those that count."""
    return of_all_ranks(total) / of_all_ranks((labels != IGNORE).sum()).clamp(min=1)


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
