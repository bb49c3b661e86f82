"""The recurrent layers as they stand in textbooks, tutorials and other people's packages, to be measured against.

Plain PyTorch: one step after the other, gates from one convolution of input and hidden state side by side, gradients
by autograd, every pair of voxels attending to each other.
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from recurseg.layers.actors import MemoryActors
from recurseg.layers.conv_lstm import ConvLSTM
from recurseg.layers.non_local import NonLocalBlock
from recurseg.layers.slice_attention import RSABlock
from recurseg.layers.sweep import PyramidSweep

State = tuple[Tensor, Tensor]


class ConvLSTMCell(nn.Module):
    """A step of a convolutional LSTM: all gates from one convolution of `[x, h]` (Shi et al. 2015)."""

    def __init__(self, in_channels: int, width: int, *, kernel: int, plane_dims: int = 2) -> None:
        super().__init__()
        conv = {1: nn.Conv1d, 2: nn.Conv2d}[plane_dims]
        self.width = width
        self.gates = conv(in_channels + width, 4 * width, kernel, padding=kernel // 2)

    def forward(self, x: Tensor, state: State | None) -> State:
        if state is None:
            zeros = x.new_zeros(len(x), self.width, *x.shape[2:])
            state = zeros, zeros
        h, c = state
        i, f, o, g = self.gates(torch.cat([x, h], dim=1)).chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class TextbookConvLSTM(ConvLSTM):
    """A cell in a loop over slices; a `ConvLSTM` for the networks that ask what it is."""

    def __init__(self, cell: ConvLSTMCell) -> None:
        nn.Module.__init__(self)
        self.cell = cell

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        hidden, state = _loop(self.cell, x, range(x.shape[2]), axis=2, state=state)
        return hidden, state


class TextbookPyramid(nn.Module):
    """`PyramidSweep`: a cell a direction, one direction after the other."""

    def __init__(self, cells: list[ConvLSTMCell]) -> None:
        super().__init__()
        self.cells = nn.ModuleList(cells)

    def forward(self, x: Tensor, state: list[State] | None = None) -> tuple[Tensor, list[State]]:
        total, finals = torch.zeros(()), []
        for direction, cell in enumerate(self.cells):
            axis = 2 + direction // 2
            order = range(x.shape[axis]) if direction % 2 == 0 else reversed(range(x.shape[axis]))
            hidden, final = _loop(cell, x, order, axis=axis, state=None if state is None else state[direction])
            total = hidden if direction == 0 else total + hidden
            finals.append(final)
        return total, finals


def _loop(
    cell: nn.Module, x: Tensor, order: Iterable[int], *, axis: int, state: State | None
) -> tuple[Tensor, State]:
    hidden: dict[int, Tensor] = {}
    for t in order:
        h, c = cell(x.select(axis, t), state)
        hidden[t], state = h, (h, c)
    assert state is not None
    return torch.stack([hidden[t] for t in sorted(hidden)], dim=axis), state


class DNCActors(nn.Module):
    """`MemoryActors`: each actor a differentiable neural computer of the package `dnc`, with a memory of its own."""

    def __init__(self, actors: int, size: int, *, slots: int, word: int, heads: int) -> None:
        super().__init__()
        from dnc import DNC  # pyright: ignore[reportMissingImports]

        memory = {"nr_cells": slots, "cell_size": word, "read_heads": heads}
        self.actors = nn.ModuleList(DNC(size, size, num_hidden_layers=1, **memory) for _ in range(actors))

    def forward(self, inputs: Tensor, state: list | None) -> tuple[Tensor, list]:
        states = [None] * len(self.actors) if state is None else state
        found = [actor(own, before) for actor, own, before in zip(self.actors, inputs, states, strict=True)]
        return torch.stack([output for output, _ in found]), [after for _, after in found]


def _cell(weight_x: Tensor, weight_h: Tensor, bias: Tensor) -> ConvLSTMCell:
    """A cell with the weights of ours."""
    rows, channels, *kernel = weight_x.shape
    cell = ConvLSTMCell(channels, rows // 4, kernel=kernel[0], plane_dims=len(kernel))
    with torch.no_grad():
        cell.gates.weight.copy_(torch.cat([weight_x, weight_h], dim=1))
        cell.gates.get_parameter("bias").copy_(bias)
    return cell


def _pyramid(layer: PyramidSweep) -> nn.Module:
    bias = layer.bias_x if layer.bias_h is None else layer.bias_x + layer.bias_h
    return TextbookPyramid([_cell(*own) for own in zip(layer.weight_x, layer.weight_h, bias, strict=True)])


def _conv_lstm(layer: ConvLSTM) -> nn.Module:
    return TextbookConvLSTM(_cell(layer.weight_x, layer.weight_h, layer.bias))


def _non_local(layer: RSABlock) -> nn.Module:
    return NonLocalBlock(layer.weight.shape[1])


def _dnc(layer: MemoryActors) -> nn.Module:
    access, size = layer.reading.access, layer.actors[0].get_parameter("output.bias")
    return DNCActors(len(layer.actors), len(size), slots=layer.slots, word=access.word, heads=access.heads)


TEXTBOOK: Mapping[type[nn.Module], Callable[..., nn.Module]] = {
    PyramidSweep: _pyramid,
    ConvLSTM: _conv_lstm,
    RSABlock: _non_local,
    MemoryActors: _dnc,
}
"""Layer → what makes its textbook form, with its weights where these are the same."""


def textbook(module: nn.Module) -> nn.Module | None:
    """Returns a layer or network with every recurrent or attentive layer in its textbook form.

    Args:
        module: Is left as it is.

    Returns:
        Its like; None where it has no such layer, or one that needs the package `dnc` where that is not installed.
    """
    kinds = {kind for kind in map(type, module.modules()) if kind in TEXTBOOK}
    if not kinds or (MemoryActors in kinds and importlib.util.find_spec("dnc") is None):
        return None
    return _replaced(copy.deepcopy(module))


def _replaced(module: nn.Module) -> nn.Module:
    if type(module) in TEXTBOOK:
        return TEXTBOOK[type(module)](module)
    for name, child in module.named_children():
        setattr(module, name, _replaced(child))
    return module
