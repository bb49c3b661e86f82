"""Actors at one memory as they run by default: the same numbers as `reference.py`, the backward pass written out.

The inputs of all clocks are mapped at once, and so are the gradients of all weights: what is left in the scan is
what waits for the clock before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from recurseg.ops.actors import ActorState, ActorWeights, Reading
from recurseg.ops.memory import Memory, fast


class _Weights(NamedTuple):
    """The weights of one actor but for what maps its inputs; None where reads are not merged by a linear map."""

    recurrent: Tensor  # (4d, r + d)
    interface: Tensor
    interface_bias: Tensor
    output: Tensor
    output_bias: Tensor
    merge: Tensor | None = None
    merge_bias: Tensor | None = None


class _Tape(NamedTuple):
    """One actor at one clock."""

    gates: Tensor  # after their non-linearity, (B, 4d)
    past: Tensor  # reads and output before, (B, r + d)
    cell_before: Tensor
    cell: Tensor
    tanh_cell: Tensor
    heads: Tensor  # (B, R Q)
    mapped: Tensor  # what the output is mapped from, (B, d + r)
    memory: fast.Tape


class _Scan(NamedTuple):
    """What a reading leaves: outputs `(A, B, T, d)`, final states and memory, and the tapes in their order."""

    outputs: Tensor
    states: list[ActorState]
    memory: Memory
    tapes: list[_Tape]


def _scan(x: Tensor, weights: Sequence[_Weights], states, memory: Memory, reading: Reading, keep: bool) -> _Scan:
    """`x` is `(A, B, T, 4d)`: the part of the gates that comes of the inputs."""
    size = x.shape[3] // 4
    cells = [state.cell for state in states]
    pasts = [torch.cat([state.read, state.hidden], dim=1) for state in states]
    inverse = fast.inverse_norms(memory.content)
    outputs = x.new_empty(*x.shape[:3], size)
    tapes = []
    for clock in range(x.shape[2]):
        for actor, w in enumerate(weights):
            past, before = pasts[actor], cells[actor]
            gates = torch.addmm(x[actor, :, clock], past, w.recurrent.mT)
            gates[:, : 3 * size].sigmoid_()
            gates[:, 3 * size :].tanh_()
            i, f, o, candidate = gates.chunk(4, dim=1)
            cell = torch.addcmul(f * before, i, candidate)
            tanh_cell = cell.tanh()
            interface = torch.addmm(w.interface_bias, cell, w.interface.mT)
            heads, memory, tape = fast.forward(memory, inverse, interface, reading.access)
            inverse = tape.inverse_after
            read = _merge(heads, w, reading)
            mapped = torch.cat([o * tanh_cell, read], dim=1)
            output = torch.addmm(w.output_bias, mapped, w.output.mT)
            outputs[actor, :, clock] = output
            cells[actor] = cell
            pasts[actor] = torch.cat([read, mapped[:, :size] if reading.feed_hidden else output], dim=1)
            if keep:
                tapes.append(_Tape(gates, past, before, cell, tanh_cell, heads.flatten(1), mapped, tape))
    final = [ActorState(past[:, :-size], past[:, -size:], cell) for past, cell in zip(pasts, cells, strict=True)]
    return _Scan(outputs, final, memory, tapes)


def _merge(heads: Tensor, w: _Weights, reading: Reading) -> Tensor:
    if w.merge is not None and w.merge_bias is not None:
        return torch.addmm(w.merge_bias, heads.flatten(1), w.merge.mT)
    return heads.mean(dim=1) if reading.merge == "mean" else heads.flatten(1)


def _scan_backward(
    tapes: Sequence[_Tape],
    weights: Sequence[_Weights],
    reading: Reading,
    grad_outputs: Tensor,
    grad_states: list[ActorState],
    grad_content: Tensor,
) -> tuple[Tensor, list[_Weights], list[ActorState], Tensor]:
    """Gradients of x, the weights, the first states and the first content."""
    actors, batch, clocks, size = grad_outputs.shape
    access = reading.access
    to_x = grad_outputs.new_empty(actors, batch, clocks, 4 * size)
    to_past = [torch.cat([state.read, state.hidden], dim=1) for state in grad_states]
    to_cells = [state.cell for state in grad_states]
    content = grad_content.clone()
    to_output, to_interface, to_read = ([[] for _ in weights] for _ in range(3))
    backward = iter(reversed(tapes))
    for clock in reversed(range(clocks)):
        for actor in reversed(range(actors)):
            w, tape = weights[actor], next(backward)
            i, f, o, candidate = tape.gates.chunk(4, dim=1)
            past = to_past[actor]
            output = grad_outputs[actor, :, clock]
            if not reading.feed_hidden:
                output = output + past[:, -size:]
            mapped = output @ w.output
            hidden, read = mapped[:, :size], mapped[:, size:] + past[:, :-size]
            if reading.feed_hidden:
                hidden = hidden + past[:, -size:]
            if w.merge is not None:
                heads = (read @ w.merge).unflatten(1, (access.heads, access.word))
            elif reading.merge == "mean":
                heads = (read / access.heads).unsqueeze(1).expand(-1, access.heads, -1).contiguous()
            else:
                heads = read.unflatten(1, (access.heads, access.word))
            interface, content = fast.backward(tape.memory, heads, content, out=content)
            cell = torch.addmm(to_cells[actor], interface, w.interface)
            cell.addcmul_(hidden * o, 1 - tape.tanh_cell.square())
            gates = to_x[actor, :, clock]
            torch.mul(cell * candidate, i * (1 - i), out=gates[:, :size])
            torch.mul(cell * tape.cell_before, f * (1 - f), out=gates[:, size : 2 * size])
            torch.mul(hidden * tape.tanh_cell, o * (1 - o), out=gates[:, 2 * size : 3 * size])
            torch.mul(cell * i, 1 - candidate.square(), out=gates[:, 3 * size :])
            to_cells[actor] = cell * f
            to_past[actor] = gates @ w.recurrent
            to_output[actor].append(output)
            to_interface[actor].append(interface)
            to_read[actor].append(read)
    to_weights = []
    for actor, w in enumerate(weights):
        own = tapes[actor::actors][::-1]
        gates = to_x[actor].transpose(0, 1).flip(0).flatten(0, 1)
        output, interface, read = (torch.cat(part[actor]) for part in (to_output, to_interface, to_read))
        found = _Weights(
            recurrent=gates.mT @ torch.cat([tape.past for tape in own]),
            interface=interface.mT @ torch.cat([tape.cell for tape in own]),
            interface_bias=interface.sum(0),
            output=output.mT @ torch.cat([tape.mapped for tape in own]),
            output_bias=output.sum(0),
        )
        if w.merge is not None:
            merge = read.mT @ torch.cat([tape.heads for tape in own])
            found = found._replace(merge=merge, merge_bias=read.sum(0))
        to_weights.append(found)
    first = [ActorState(p[:, :-size], p[:, -size:], c) for p, c in zip(to_past, to_cells, strict=True)]
    return to_x, to_weights, first, content


class _ReadSequences(torch.autograd.Function):
    """Inputs that have gradients: x, the content, then the states and the weights of each actor, flat."""

    @staticmethod
    def forward(ctx: Any, memory: Memory, reading: Reading, actors: int, x: Tensor, content: Tensor, *flat: Any):
        states = [ActorState(*flat[3 * a : 3 * a + 3]) for a in range(actors)]
        each = len(_Weights._fields)
        first = 3 * actors
        ctx.weights = [_Weights(*flat[first + each * a : first + each * (a + 1)]) for a in range(actors)]
        ctx.reading, keep = reading, any(ctx.needs_input_grad)
        scan = _scan(x, ctx.weights, states, memory._replace(content=content), reading, keep)
        ctx.tapes = scan.tapes
        left = [tensor.clone() for tensor in scan.memory[:3]]  # an output may not be an input
        ctx.mark_non_differentiable(*left[1:])
        return scan.outputs, *left, *(tensor.clone() for state in scan.states for tensor in state)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_outputs: Tensor, grad_content: Tensor, _usage, _written, *grad_finals: Tensor):
        states = [ActorState(*grad_finals[3 * a : 3 * a + 3]) for a in range(len(ctx.weights))]
        to_x, to_weights, to_states, to_content = _scan_backward(
            ctx.tapes, ctx.weights, ctx.reading, grad_outputs, states, grad_content
        )
        flat = [tensor for own in (*to_states, *to_weights) for tensor in own]
        return None, None, None, to_x, to_content, *flat


def read_sequences(
    inputs: Tensor,
    weights: Sequence[ActorWeights],
    states: Sequence[ActorState],
    memory: Memory,
    reading: Reading,
) -> tuple[Tensor, list[ActorState], Memory]:
    """Arguments as in `recurseg.ops.actors.read_sequences`."""
    size, actors = inputs.shape[3], len(weights)
    with torch.autocast(inputs.device.type, enabled=False):
        each = zip(inputs.float(), weights, strict=True)
        x = torch.stack([F.linear(own, w.lstm[:, :size], w.lstm_bias) for own, w in each])
        recurrent = [
            _Weights(w.lstm[:, size:].contiguous(), *w[2:4], w.output, w.output_bias, w.merge, w.merge_bias)
            for w in weights
        ]
        flat = [tensor for own in (*states, *recurrent) for tensor in own]
        outputs, *left = _ReadSequences.apply(memory, reading, actors, x, memory.content, *flat)
    after = Memory(*left[:3], writes=memory.writes + actors * inputs.shape[2])
    return outputs, [ActorState(*left[3 * a + 3 : 3 * a + 6]) for a in range(actors)], after
