"""What each actor says by itself, and what it says when it cannot read what others wrote (SHAMANN, figure 5c)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from recurseg.explain.answers import answer_map, labels
from recurseg.explain.memory_traffic import Traffic, read_image
from recurseg.explain.scene import Scene
from recurseg.layers.actors import MemoryActors
from recurseg.models.shamann import PatchReader


class Said(NamedTuple):
    """What someone says of the window, with and without the exchange.

    Attributes:
        who: An actor, or "all".
        answer: Probability of the explained class, or the completed image, `(*window)`.
        without: The same with the exchange cut; None where there is none.
        masks: Where the explained class is predicted, of both; none of completed images.
    """

    who: str
    answer: np.ndarray
    without: np.ndarray | None
    masks: list[np.ndarray]

    @property
    def change(self) -> np.ndarray | None:
        """What the exchange changes, as absolute differences."""
        return None if self.without is None else np.abs(self.answer - self.without)


def listen(
    scene: Scene, names: Sequence[str], progress: Callable[[float], None] = lambda fraction: None
) -> tuple[list[Said], Traffic | None]:
    """What all actors together and each alone say; with a shared memory, once more with the exchange cut.

    Where one actor is heard alone, the outputs of the others are replaced by their means over patches, the same with
    and without the exchange.

    Args:
        scene: Of a model that reads patches.
        names: Of the actors.
        progress: Called with the fraction done.

    Returns:
        What all say, then what each actor says; and the traffic of the memory, where there is one.
    """
    model = scene.model
    assert isinstance(model, PatchReader)
    whole = read_image(model, scene.image)
    readings = [whole]
    if whole.traffic is not None and whole.traffic.shared:
        with exchange_cut(model):
            readings.append(read_image(model, scene.image))
    mean = whole.outputs.mean(dim=2, keepdim=True)
    said = [_said(scene, "all", [one.logits for one in readings])]
    for actor, name in enumerate(names):
        progress((1 + actor) / (1 + len(names)))
        heard = [answers(model, scene.image, alone(one.outputs, actor, mean)) for one in readings]
        said.append(_said(scene, name, heard))
    return said, whole.traffic


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


def _said(scene: Scene, who: str, logits: Sequence[Tensor]) -> Said:
    maps = [answer_map(scene, one[0].float()) for one in logits]
    masks = [] if scene.completes else [labels(one[0]) == scene.target for one in logits]
    return Said(who, maps[0], maps[1] if len(maps) > 1 else None, masks)
