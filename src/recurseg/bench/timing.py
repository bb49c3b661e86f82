"""Seconds of competing pieces of work, taken in turns so that what else the machine does falls on all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from recurseg.training.allocation import keep_freed_memory

SECONDS = 8.0
"""Time that a comparison takes, warm-up left out."""
LEAST_ROUNDS, MOST_ROUNDS = 5, 50


def take_turns(
    works: Sequence[Callable[[], object]], *, seconds: float = SECONDS, least: int = LEAST_ROUNDS
) -> Float[np.ndarray, "rounds works"]:
    """Times pieces of work in turns, after one round that does not count.

    From then on the process keeps the memory that it frees, as a training does: else most of what is timed of small
    work is the system handing out pages.

    Args:
        works: What to time; every other round goes through them backward.
        seconds: About how long all rounds take; at most 50 rounds are made.
        least: How many rounds are made in any case.

    Returns:
        Seconds of each work, a row a round.
    """
    keep_freed_memory()
    rounds: list[list[float]] = []
    begun = time.perf_counter()
    while len(rounds) <= least or (time.perf_counter() - begun < seconds and len(rounds) <= MOST_ROUNDS):
        taken = [0.0] * len(works)
        for number in range(len(works)) if len(rounds) % 2 else reversed(range(len(works))):
            taken[number] = _seconds(works[number])
        if not rounds:
            begun = time.perf_counter()
        rounds.append(taken)
    return np.array(rounds[1:])


def forward_of(layer: nn.Module, image: Float[Tensor, "b c *spatial"]) -> Callable[[], object]:
    """Returns the work of applying a layer without gradients."""

    def work() -> None:
        with torch.no_grad():
            layer(image)

    return work


def training_of(layer: nn.Module, image: Float[Tensor, "b c *spatial"]) -> Callable[[], object]:
    """Returns the work of a forward pass and the gradients of all parameters and of the image."""
    image = image.clone().requires_grad_()

    def work() -> None:
        found = layer(image)
        hidden = found[0] if isinstance(found, tuple) else found
        torch.autograd.grad(hidden.sum(), [image, *layer.parameters()])

    return work


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begun
