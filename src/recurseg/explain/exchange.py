"""What each actor says by itself, and what it says when it cannot read what others wrote (SHAMANN, figure 5c)."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from recurseg.layers.actors import MemoryActors
from recurseg.models.shamann import PatchReader


@contextmanager
def exchange_cut(model: PatchReader) -> Iterator[None]:
    """Inside, each actor has a memory of its own, with the weights that it has."""
    assert isinstance(model.actors, MemoryActors)
    alone = copy.copy(model.actors)
    alone.shared = False
    with _standing_in(model, alone):
        yield


def answers(model: PatchReader, image: Tensor, outputs: Tensor) -> Tensor:
    """What the network makes of outputs of its actors, whatever they are.

    Args:
        model: In evaluation mode.
        image: `(1, C, *spatial)`, for the encoder's maps that the decoder sees.
        outputs: `(A, 1, T, d)`, as `read_image` records them.

    Returns:
        Logits `(1, K, *spatial)`.
    """
    with torch.no_grad(), _standing_in(model, _Played(outputs)):
        return model(image)


def alone(outputs: Tensor, actor: int, mean: Tensor) -> Tensor:
    """The outputs of one actor, those of the others replaced by a mean that says nothing of any patch.

    Args:
        outputs: `(A, 1, T, d)`.
        actor: Who is heard.
        mean: `(A, 1, 1, d)`: of each actor over all patches; what the fusion is used to, as zeros are not.
    """
    heard = mean.expand_as(outputs).clone()
    heard[actor] = outputs[actor]
    return heard


class _Played(nn.Module):
    """Stands in for actors and says what was recorded; its state is the clock."""

    def __init__(self, outputs: Tensor) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, inputs: Tensor, clock: int | None) -> tuple[Tensor, int]:
        start = clock or 0
        stop = start + inputs.shape[2]
        return self.outputs[:, :, start:stop], stop


@contextmanager
def _standing_in(model: PatchReader, actors: nn.Module) -> Iterator[None]:
    own = model.actors
    model.actors = actors
    try:
        yield
    finally:
        model.actors = own
