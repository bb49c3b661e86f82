"""What each sweep of a PyraMiD-LSTM brings to one voxel: gradients through one direction of one layer at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from recurseg.explain.hooks import hooked
from recurseg.explain.scene import Scene
from recurseg.layers.sweep import PyramidSweep
from recurseg.models.pyramid_lstm import PyramidLSTM

SIDES = {"D": ("earlier sections", "later sections"), "H": ("above", "below"), "W": ("the left", "the right")}


@dataclass(frozen=True)
class SweepContext:
    """One direction of one layer.

    Attributes:
        layer: Counted from 1, the one next to the image.
        direction: `2·axis + backward`.
        direct: `(*positions)`: how the layer's output at the voxel depends on the layer's input through this
            direction, the gradient's magnitude: the pyramid of figure 2.
        through: `(*window)`: how the logit depends on the image through this direction alone, the other directions of
            the layer held fixed. Before magnitudes are taken, directions of a layer add up to the whole gradient.
        hidden: `(*positions)`: root mean square of the hidden states.
        cut_logit: The logit without this direction.
    """

    layer: int
    direction: int
    direct: np.ndarray
    through: np.ndarray
    hidden: np.ndarray
    cut_logit: float

    @property
    def axis(self) -> int:
        return self.direction // 2

    @property
    def backward(self) -> bool:
        return self.direction % 2 == 1


def network_of(scene: Scene) -> PyramidLSTM:
    """The network of a scene that is a PyraMiD-LSTM's."""
    assert isinstance(scene.model, PyramidLSTM)
    return scene.model


def direction_name(direction: int, dims: int) -> str:
    """Where a sweep comes from: "from above"; the forward sweep along an axis brings what lies at lower indices."""
    return f"from {SIDES['DHW'[-dims:][direction // 2]][direction % 2]}"


@contextmanager
def cut(sweep: PyramidSweep, direction: int) -> Iterator[None]:
    """Silences one direction of a layer: its parameters are 0 inside, and so are its hidden states."""
    parameters = list(sweep.parameters())
    kept = [parameter[direction].detach().clone() for parameter in parameters]
    with torch.no_grad():
        for parameter in parameters:
            parameter[direction] = 0
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, values in zip(parameters, kept, strict=True):
                parameter[direction] = values


def sweep_contexts(scene: Scene, progress: Callable[[float], None]) -> list[SweepContext]:
    """Follows the logit back through every direction of every layer, one at a time.

    Args:
        scene: Of a PyraMiD-LSTM.
        progress: Called with the fraction done.
    """
    model = network_of(scene)
    image = scene.image.clone().requires_grad_()
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []

    def record(sweep: nn.Module, given: tuple[Tensor, ...], got: tuple[Tensor, list]) -> None:
        inputs.append(given[0])
        outputs.append(got[0])

    hooks = [sweep.register_forward_hook(record) for sweep in model.sweeps]
    with hooked(hooks), torch.enable_grad():
        logit = scene.logit(model(image))
    gradients = torch.autograd.grad(logit, outputs, retain_graph=True)
    position = tuple(index // size for index, size in zip(scene.voxel, model.block, strict=True))
    found, total = [], len(model.sweeps) * 2 * scene.dims
    for layer, (x, y, gradient) in enumerate(zip(inputs, outputs, gradients, strict=True)):
        sweep = model.sweeps[layer]
        assert isinstance(sweep, PyramidSweep)
        own = torch.zeros_like(gradient)
        own[(..., *position)] = gradient[(..., *position)]
        for direction in range(2 * scene.dims):
            source = x.detach().requires_grad_()
            with torch.enable_grad():
                hidden = sweep.hidden(source, direction)
            (direct,) = torch.autograd.grad(hidden, source, own, retain_graph=True)
            (passed,) = torch.autograd.grad(hidden, source, gradient)
            (through,) = torch.autograd.grad(x, image, passed, retain_graph=True)
            with torch.no_grad(), _played_back(model, [*outputs[:layer], y - hidden]):
                without = scene.logit(model(scene.image))
            found.append(
                SweepContext(
                    layer=layer + 1,
                    direction=direction,
                    direct=_magnitude(direct),
                    through=through[0].abs().sum(dim=0).cpu().numpy(),
                    hidden=hidden[0].detach().square().mean(dim=0).sqrt().cpu().numpy(),
                    cut_logit=float(without),
                )
            )
            progress(len(found) / total)
    return found


def pyramid_bound(
    shape: tuple[int, ...], position: tuple[int, ...], *, axis: int, backward: bool, kernel: int
) -> np.ndarray:
    """Where one direction of one layer can take a position's context from, bool `shape`.

    At t planes behind the position the offset within the plane is at most (t + 1)·(kernel - 1)/2: t recurrent
    convolutions and the one of the input. On the other side there is nothing.

    Args:
        shape: Of the layer's grid.
        position: Tip of the pyramid.
        axis: That is swept.
        backward: Whether from high to low indices.
        kernel: Odd side of both convolutions.
    """
    offsets = np.indices(shape) - np.reshape(position, (-1, *(1,) * len(shape)))
    behind = offsets[axis] if backward else -offsets[axis]
    inside = behind >= 0
    for other in range(len(shape)):
        if other != axis:
            inside &= np.abs(offsets[other]) <= (behind + 1) * (kernel // 2)
    return inside


class _Recorded(nn.Module):
    """Stands in for a sweep and says what was recorded."""

    def __init__(self, hidden: Tensor) -> None:
        super().__init__()
        self.hidden = hidden

    def forward(self, x: Tensor, state: None = None) -> tuple[Tensor, list]:
        return self.hidden, []


@contextmanager
def _played_back(model: PyramidLSTM, hidden: list[Tensor]) -> Iterator[None]:
    """Inside, the first layers give these hidden states whatever they read: only what follows is computed."""
    sweeps = list(model.sweeps)
    for layer, recorded in enumerate(hidden):
        model.sweeps[layer] = _Recorded(recorded)
    try:
        yield
    finally:
        for layer in range(len(hidden)):
            model.sweeps[layer] = sweeps[layer]


def _magnitude(gradient: Tensor) -> np.ndarray:
    """Euclidean length over channels of `(1, C, *positions)`."""
    return gradient[0].square().sum(dim=0).sqrt().float().cpu().numpy()
