"""Feed-forward rivals with as many parameters as what they are measured against."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from recurseg.models import create_model

Rival = Callable[[int], nn.Module]
"""Number of parameters → a rival that has about as many."""

SIXTEENTHS = 16 * 256
"""Widest rival in sixteenths of a channel at its finest level."""
LEVELS = range(5)

Options = Callable[[int], dict[str, Any]]


def _levels(width: int) -> dict[str, Any]:
    """Five levels that double, from a width in sixteenths, so that steps are fine at the coarsest level too."""
    return {"widths": tuple(max(1, round(width * 2**level / 16)) for level in LEVELS)}


SIZED: Mapping[str, Options] = {
    "unet": _levels,
    "light_unet": _levels,
    "unet3d": lambda width: {**_levels(width), "groups": 1},
    "feed_forward_classifier": lambda width: {"channels": max(1, width // 16)},
}
"""Rival → its options from a width in sixteenths of a channel."""


def network(name: str, *, in_channels: int, num_classes: int) -> Rival:
    """A model of `SIZED`, as wide as brings its parameters nearest to a number."""

    def build(width: int) -> nn.Module:
        return create_model(name, in_channels=in_channels, num_classes=num_classes, **SIZED[name](width))

    def count(width: int) -> int:
        with torch.device("meta"):
            return count_parameters(build(width))

    def rival(parameters: int) -> nn.Module:
        above = max(2, bisect_left(range(SIXTEENTHS), parameters, key=count))
        return build(min((above - 1, above), key=lambda width: abs(count(width) - parameters)))

    return rival


def convolutions(in_channels: int, width: int, *, dims: int = 3) -> Rival:
    """Two convolutions with 3 taps an axis and a ReLU between them."""
    conv = {2: nn.Conv2d, 3: nn.Conv3d}[dims]

    def rival(parameters: int) -> nn.Module:
        between = max(1, round((parameters - width) / (3**dims * (in_channels + width) + 1)))
        return nn.Sequential(conv(in_channels, between, 3, padding=1), nn.ReLU(), conv(between, width, 3, padding=1))

    return rival


def perceptron(size: int) -> Rival:
    """Two linear maps of each element of a sequence with a ReLU between them."""

    def rival(parameters: int) -> nn.Module:
        between = max(1, round((parameters - size) / (2 * size + 1)))
        return nn.Sequential(nn.Linear(size, between), nn.ReLU(), nn.Linear(between, size))

    return rival


def count_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
