"""Actors at one memory, clock by clock, as the paper's equations (SHAMANN, eq. 2-3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from recurseg.ops.actors import ActorState, ActorWeights, Reading
from recurseg.ops.memory import Memory, join_memories, memory_step, split_memory


def read_sequences(
    inputs: Tensor,
    weights: Sequence[ActorWeights],
    states: Sequence[ActorState],
    memory: Memory,
    reading: Reading,
    access_memory: Callable[..., tuple[Tensor, Memory]] = memory_step,
) -> tuple[Tensor, list[ActorState], Memory]:
    """Arguments as in `recurseg.ops.actors.read_sequences`; `access_memory` takes those of `memory_step`."""
    with torch.autocast(inputs.device.type, enabled=False):
        carried, outputs = list(states), [[] for _ in states]
        memories = split_memory(memory, inputs.shape[1])
        for clock in inputs.float().unbind(2):
            for actor, x in enumerate(clock):
                own = actor % len(memories)
                output, carried[actor], memories[own] = _step(
                    x, weights[actor], carried[actor], memories[own], reading, access_memory
                )
                outputs[actor].append(output)
        return torch.stack([torch.stack(own, dim=1) for own in outputs]), carried, join_memories(memories)


def _step(x: Tensor, w: ActorWeights, state: ActorState, memory: Memory, reading: Reading, access_memory):
    gates = F.linear(torch.cat([x, state.read, state.hidden], dim=1), w.lstm, w.lstm_bias)
    i, f, o, candidate = gates.chunk(4, dim=1)
    cell = f.sigmoid() * state.cell + i.sigmoid() * candidate.tanh()
    hidden = o.sigmoid() * cell.tanh()
    heads, memory = access_memory(memory, F.linear(cell, w.interface, w.interface_bias), reading.access)
    if reading.merge == "mean":
        read = heads.mean(dim=1)
    else:
        read = heads.flatten(1) if w.merge is None else F.linear(heads.flatten(1), w.merge, w.merge_bias)
    output = F.linear(torch.cat([hidden, read], dim=1), w.output, w.output_bias)
    return output, ActorState(read, hidden if reading.feed_hidden else output, cell), memory
