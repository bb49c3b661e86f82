"""Initial weights of convolutions, by name; apply one with `network.apply(INITS[name])`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import nn

Init = Literal["he", "orthogonal"]
CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def he(layer: nn.Module) -> None:
    """Normal with variance 2 / fan-in, biases 0; up-convolutions keep PyTorch's (He et al. 2015)."""
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        _no_bias(layer)


def orthogonal(layer: nn.Module) -> None:
    """Orthogonal rows or columns with the gain of ReLU, √2, biases 0 (Saxe et al. 2014)."""
    if isinstance(layer, CONVOLUTIONS):
        nn.init.orthogonal_(layer.weight, gain=nn.init.calculate_gain("relu"))
        _no_bias(layer)


def _no_bias(layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


INITS: dict[str, Callable[[nn.Module], None]] = {"he": he, "orthogonal": orthogonal}
