"""Actors at their memories as they run by default: the same numbers as `reference.py`, the backward pass written out.

The inputs of all clocks are mapped at once, and so are the gradients of all weights: what is left in the scan is
what waits for the clock before. There all actors go through each map together; only at a memory that they share they
take turns, while memories of their own are one batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from recurseg.ops.actors import ActorState, ActorWeights, Reading
from recurseg.ops.memory import Memory, fast


class _Weights(NamedTuple):
    """The weights of all actors but for what maps their inputs, each `(A, in, out)`; biases `(A, 1, out)`."""

    recurrent: Tensor
    interface: Tensor
    interface_bias: Tensor
    output: Tensor
    output_bias: Tensor
    merge: Tensor | None = None
    merge_bias: Tensor | None = None


class _Tape(NamedTuple):
    """All actors at one clock."""

    gates: Tensor  # after their non-linearity, (A, B, 4d)
    past: Tensor  # reads and output before, (A, B, r + d)
    cell_before: Tensor
    cell: Tensor
    tanh_cell: Tensor
    heads: Tensor  # (A, B, R Q)
    mapped: Tensor  # what the output is mapped from, (A, B, d + r)
    memory: list[fast.Tape]  # of the turns that were taken


def _scan(x: Tensor, w: _Weights, past: Tensor, cell: Tensor, memory: Memory, reading: Reading, *, keep: bool):
    """Outputs `(A, B, T, d)`, the last `past` and cells, the memory, and the tapes.

    Args:
        x: The part of the gates that comes of the inputs, `(T, A, B, 4d)`.
        w: Weights.
        past: Reads and output before, `(A, B, r + d)`.
        cell: `(A, B, d)`.
        memory: Of batch B where it is shared, of batch A B where each actor has its own.
        reading: How actors read.
        keep: Whether tapes are wanted.
    """
    clocks, actors, batch, size = *x.shape[:3], x.shape[3] // 4
    turns = actors * batch // len(memory.content)
    inverse = fast.inverse_norms(memory.content)
    outputs, tapes = x.new_empty(clocks, actors, batch, size), []
    for clock in range(clocks):
        before = cell
        gates = torch.baddbmm(x[clock], past, w.recurrent)
        gates[..., : 3 * size].sigmoid_()
        gates[..., 3 * size :].tanh_()
        i, f, o, candidate = gates.chunk(4, dim=2)
        cell = torch.addcmul(f * before, i, candidate)
        tanh_cell = cell.tanh()
        interfaces = torch.baddbmm(w.interface_bias, cell, w.interface).flatten(0, 1)
        reads, turn_tapes = [], []
        for interface in interfaces.chunk(turns):
            read, memory, tape = fast.forward(memory, inverse, interface, reading.access)
            inverse = tape.inverse_after
            reads.append(read)
            turn_tapes.append(tape)
        heads = torch.cat(reads).flatten(1).unflatten(0, (actors, batch))
        read = _merge(heads, w, reading)
        mapped = torch.cat([o * tanh_cell, read], dim=2)
        output = torch.baddbmm(w.output_bias, mapped, w.output, out=outputs[clock])
        if keep:
            tapes.append(_Tape(gates, past, before, cell, tanh_cell, heads, mapped, turn_tapes))
        past = torch.cat([read, mapped[..., :size] if reading.feed_hidden else output], dim=2)
    return outputs, past, cell, memory, tapes


def _merge(heads: Tensor, w: _Weights, reading: Reading) -> Tensor:
    if w.merge is not None and w.merge_bias is not None:
        return torch.baddbmm(w.merge_bias, heads, w.merge)
    return heads.unflatten(2, (reading.access.heads, -1)).mean(dim=2) if reading.merge == "mean" else heads


def _scan_backward(
    tapes: Sequence[_Tape],
    w: _Weights,
    reading: Reading,
    grad_outputs: Tensor,
    grad_past: Tensor,
    grad_cell: Tensor,
    grad_content: Tensor,
) -> tuple[Tensor, _Weights, Tensor, Tensor, Tensor]:
    """Gradients of x, the weights, `past` and cells before the first clock, and the first content."""
    clocks, actors, batch, size = grad_outputs.shape
    heads_word = (reading.access.heads, reading.access.word)
    to_x = grad_outputs.new_empty(clocks, actors, batch, 4 * size)
    past, to_cell, content = grad_past, grad_cell, grad_content.clone()
    outputs, interfaces, reads = [], [], []
    for clock in reversed(range(clocks)):
        tape = tapes[clock]
        i, f, o, candidate = tape.gates.chunk(4, dim=2)
        output = grad_outputs[clock]
        if not reading.feed_hidden:
            output = output + past[..., -size:]
        mapped = torch.bmm(output, w.output.mT)
        hidden, read = mapped[..., :size], mapped[..., size:] + past[..., :-size]
        if reading.feed_hidden:
            hidden = hidden + past[..., -size:]
        if w.merge is not None:
            heads = torch.bmm(read, w.merge.mT)
        elif reading.merge == "mean":
            heads = (read / heads_word[0]).repeat(1, 1, heads_word[0])
        else:
            heads = read
        turns = []
        for own, turn in zip(
            reversed(heads.flatten(0, 1).chunk(len(tape.memory))), reversed(tape.memory), strict=True
        ):
            found, content = fast.backward(turn, own.unflatten(1, heads_word), content, out=content)
            turns.insert(0, found)
        interface = torch.cat(turns).unflatten(0, (actors, batch))
        cell = torch.baddbmm(to_cell, interface, w.interface.mT)
        cell.addcmul_(hidden * o, 1 - tape.tanh_cell.square())
        gates = to_x[clock]
        torch.mul(cell * candidate, i * (1 - i), out=gates[..., :size])
        torch.mul(cell * tape.cell_before, f * (1 - f), out=gates[..., size : 2 * size])
        torch.mul(hidden * tape.tanh_cell, o * (1 - o), out=gates[..., 2 * size : 3 * size])
        torch.mul(cell * i, 1 - candidate.square(), out=gates[..., 3 * size :])
        to_cell = cell * f
        past = torch.bmm(gates, w.recurrent.mT)
        outputs.append(output)
        interfaces.append(interface)
        reads.append(read)

    def product(of: Sequence[Tensor], grads: Sequence[Tensor]) -> Tensor:
        """Gradient of a map: the sum over clocks of (what it took)ᵀ (gradient of what it gave)."""
        return torch.bmm(torch.cat(list(of), dim=1).mT, torch.cat(list(grads), dim=1))

    def total(grads: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(grads), dim=1).sum(1, keepdim=True)

    back = tapes[::-1]
    to_weights = _Weights(
        recurrent=product([tape.past for tape in tapes], to_x.unbind()),
        interface=product([tape.cell for tape in back], interfaces),
        interface_bias=total(interfaces),
        output=product([tape.mapped for tape in back], outputs),
        output_bias=total(outputs),
    )
    if w.merge is not None:
        merge = product([tape.heads for tape in back], reads)
        to_weights = to_weights._replace(merge=merge, merge_bias=total(reads))
    return to_x, to_weights, past, to_cell, content


class _ReadSequences(torch.autograd.Function):
    """Inputs that have gradients: x, past, cell, the content, then the weights."""

    @staticmethod
    def forward(
        ctx: Any, memory: Memory, reading: Reading, x: Tensor, past: Tensor, cell: Tensor, content: Tensor, *w
    ):
        ctx.reading, ctx.weights = reading, _Weights(*w)
        start = memory._replace(content=content)
        keep = any(ctx.needs_input_grad)
        outputs, past, cell, left, ctx.tapes = _scan(x, ctx.weights, past, cell, start, reading, keep=keep)
        finals = [tensor.clone() for tensor in (past, cell, *left[:3])]  # an output may not be an input
        ctx.mark_non_differentiable(*finals[3:])
        return outputs, *finals

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_outputs: Tensor, grad_past: Tensor, grad_cell: Tensor, grad_content: Tensor, *_: Tensor
    ):
        to_x, to_weights, *rest = _scan_backward(
            ctx.tapes, ctx.weights, ctx.reading, grad_outputs, grad_past, grad_cell, grad_content
        )
        return None, None, to_x, *rest, *to_weights


def _map(layers: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """The same map of each actor as a batched product takes it: weights `(A, in, out)`, biases `(A, 1, out)`."""
    weights, biases = zip(*layers, strict=True)
    return torch.stack([weight.mT for weight in weights]), torch.stack(biases).unsqueeze(1)


def read_sequences(
    inputs: Tensor,
    weights: Sequence[ActorWeights],
    states: Sequence[ActorState],
    memory: Memory,
    reading: Reading,
) -> tuple[Tensor, list[ActorState], Memory]:
    """Arguments as in `recurseg.ops.actors.read_sequences`."""
    actors, _, clocks, size = inputs.shape
    with torch.autocast(inputs.device.type, enabled=False):
        lstm = torch.stack([own.lstm for own in weights])
        lstm_bias = torch.stack([own.lstm_bias for own in weights])
        sequences = inputs.float().transpose(1, 2).flatten(1, 2)  # (A, T B, d)
        x = torch.baddbmm(lstm_bias.unsqueeze(1), sequences, lstm[..., :size].mT)
        x = x.unflatten(1, (clocks, -1)).transpose(0, 1)
        past = torch.stack([torch.cat([state.read, state.hidden], dim=1) for state in states])
        cell = torch.stack([state.cell for state in states])
        merges = [(w.merge, w.merge_bias) for w in weights if w.merge is not None and w.merge_bias is not None]
        w = _Weights(
            lstm[..., size:].mT.contiguous(),
            *_map([(own.interface, own.interface_bias) for own in weights]),
            *_map([(own.output, own.output_bias) for own in weights]),
            *(_map(merges) if merges else ()),
        )
        outputs, past, cell, *left = _ReadSequences.apply(memory, reading, x, past, cell, memory.content, *w)
    turns = actors * inputs.shape[1] // len(memory.content)
    after = Memory(*left, writes=memory.writes + turns * clocks)
    finals = [ActorState(p[:, :-size], p[:, -size:], c) for p, c in zip(past, cell, strict=True)]
    return outputs.permute(1, 2, 0, 3), finals, after
