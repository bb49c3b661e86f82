"""Whether a gradient is recorded, for autograd functions of our own."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def as_recorded(tensors: Iterable[Tensor | None]) -> list[Tensor | None]:
    """The tensors, detached where no gradient is recorded.

    A function's `ctx.needs_input_grad` is true of parameters under `no_grad` as well, and so would have it keep what
    only a backward pass reads.
    """
    recorded = torch.is_grad_enabled()
    return [tensor if recorded or tensor is None else tensor.detach() for tensor in tensors]
