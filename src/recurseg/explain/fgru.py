"""A gamma-Net looked at step by step: what it says, how active its levels are, and what its gates let through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from recurseg.explain.hooks import hooked
from recurseg.explain.scene import Scene
from recurseg.layers.fgru import FGRU
from recurseg.models.gamma_net import GammaNet
from recurseg.ops.fgru.fast import instance_norm

GATE_1 = 3
"""Which of a cell's norms is that of the first gate."""


class Place(NamedTuple):
    """Where a cell stands: on the way down or up, at a level counted from 0, the finest."""

    way: Literal["down", "up"]
    level: int


@dataclass(frozen=True)
class Gate:
    """What the attention of a cell does at one step; maps are as large as the image.

    Attributes:
        where: The map that all channels share, before it meets what each channel looks for.
        gate: What the state is multiplied with, mean over channels.
        held_back: How much of the state's magnitude that takes away, mean over channels; 0 where it takes none.
        share: The same of the whole state, a fraction.
    """

    where: np.ndarray
    gate: np.ndarray
    held_back: np.ndarray
    share: float


@dataclass(frozen=True)
class Step:
    """One step of the network.

    Attributes:
        name: "step 2", or "frame 7".
        logits: float32 `(K, H, W)` after it.
        activity: Of each level, finest first, float32 `(H, W)`: mean over channels of the state's magnitude after it.
        gates: By place; a cell without a state to gate has none.
    """

    name: str
    logits: Tensor
    activity: list[np.ndarray]
    gates: dict[Place, Gate]


def gamma_net_of(scene: Scene) -> GammaNet:
    """The network of a scene that is a gamma-Net's."""
    assert isinstance(scene.model, GammaNet)
    return scene.model


def step_by_step(scene: Scene, progress: Callable[[float], None] = lambda fraction: None) -> list[Step]:
    """Follows an image through the steps that it is seen, or the frames of a cine.

    Args:
        scene: Of a gamma-Net.
        progress: Called with the fraction done.
    """
    model, state, found = gamma_net_of(scene), None, []
    if scene.at_once is None:
        frames, names = [scene.image] * model.time_steps, [f"step {n}" for n in range(1, model.time_steps + 1)]
    else:
        frames, names = list(scene.image.unbind(2)), scene.planes[0]
    height, width = scene.image.shape[-2:]

    def enlarged(maps: Tensor, level: int) -> np.ndarray:
        """Maps `(h, w)` of a level, as large as the image."""
        array = maps.float().cpu().numpy()
        return array.repeat(2**level, axis=0).repeat(2**level, axis=1)[:height, :width]

    for done, (frame, name) in enumerate(zip(frames, names, strict=True), start=1):
        gates: dict[Place, Gate] = {}

        def record(place: Place, cell: FGRU, given: Tensor, product: Tensor, *, gates=gates, step=done - 1) -> None:
            gates[place] = gate_of(cell, given, product, step, lambda maps: enlarged(maps, place.level))

        with torch.no_grad(), _attending(model, record):
            logits, state = model(frame[:, :, None], state, return_state=True)
        activity = [enlarged(hidden[0].abs().mean(dim=0), level) for level, hidden in enumerate(state.hidden)]
        found.append(Step(name, logits[0, :, 0].float(), activity, gates))
        progress(done / len(frames))
    return found


def gate_of(
    cell: FGRU, state: Tensor, product: Tensor, step: int, shown: Callable[[Tensor], np.ndarray] = np.asarray
) -> Gate:
    """What a cell's attention does to a state `(1, C, h, w)`.

    Args:
        cell: With attention.
        state: That it gates.
        product: What the attention says of that.
        step: Of the cell, from 0.
        shown: Makes a map `(h, w)` a picture's.
    """
    assert cell.attention is not None
    gate = first_gate(cell, product, step)[0]
    before = state[0].abs()
    held_back = (before - (gate * state[0]).abs()).clamp_min(0)
    return Gate(
        where=shown(cell.attention.locally(state)[0, 0]),
        gate=shown(gate.mean(dim=0)),
        held_back=shown(held_back.mean(dim=0)),
        share=float(held_back.sum() / before.sum().clamp_min(1e-12)),
    )


def first_gate(cell: FGRU, product: Tensor, step: int) -> Tensor:
    """The gate that a cell makes of what its attention says: itself, or its sigmoid after norm and bias."""
    if cell.rule.attention_is_gate:
        return product
    weights = cell.weights(step)
    bias = 0 if weights.bias_1 is None else weights.bias_1.view(-1, 1, 1)
    gate = product + bias if cell.rule.bias_before_norm else product
    if cell.rule.normalise:
        scale, shift = (None if value is None else value[GATE_1] for value in (weights.scale, weights.shift))
        gate = instance_norm(gate, scale, shift)
    return (gate if cell.rule.bias_before_norm else gate + bias).sigmoid()


def cells_of(model: GammaNet) -> dict[Place, FGRU]:
    """The cells by their place, in the order in which a step comes through."""
    down = [(Place("down", level), cell) for level, cell in enumerate(model.down_cells)]
    up = [(Place("up", level), cell) for level, cell in enumerate(model.up_cells)]
    return {place: cell for place, cell in [*down, *reversed(up)] if isinstance(cell, FGRU)}


Record = Callable[[Place, FGRU, Tensor, Tensor], None]


@contextmanager
def _attending(model: GammaNet, record: Record) -> Iterator[None]:
    """Inside, what attention is given and says is recorded."""

    def hook(place: Place, cell: FGRU):
        return lambda attention, given, product: record(place, cell, given[0], product)

    hooks = [
        cell.attention.register_forward_hook(hook(place, cell))
        for place, cell in cells_of(model).items()
        if cell.attention is not None
    ]
    with hooked(hooks):
        yield
