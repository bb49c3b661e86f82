"""How many multiply-adds a piece of work has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from recurseg.ops.parallel import one_thread

Shape = Sequence[int]


def forward_multiply_adds(module: nn.Module, shape: Shape) -> int:
    """Multiply-adds of all products and convolutions in a forward pass; taps that fall on padding count.

    Args:
        module: Of one input.
        shape: Of the input.
    """
    with torch.no_grad():
        return counted(lambda: module(torch.zeros(shape)))


def counted(work: Callable[[], object]) -> int:
    """Multiply-adds of the matrix products, convolutions and LSTMs of any work, which is done once."""
    aten = torch.ops.aten
    more = {aten.addmm_: _onto, aten.baddbmm_: _onto, aten.mkldnn_rnn_layer: _lstm}
    counter = FlopCounterMode(display=False, custom_mapping=more)
    with one_thread(), counter:  # other threads would not be seen
        work()
    return counter.get_total_flops() // 2


def _onto(onto: Shape, a: Shape, b: Shape, **how: object) -> int:
    return 2 * prod(a) * b[-1]


def _lstm(x: Shape, weight_x: Shape, weight_h: Shape, *rest: object, **how: object) -> int:
    return 2 * prod(x[:-1]) * (prod(weight_x) + prod(weight_h))
