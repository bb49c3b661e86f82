"""What goes in and out of the memory of actors, step by step, and whose writes a read is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import entr
from torch import Tensor, nn

from recurseg.explain.hooks import hooked
from recurseg.layers.actors import MemoryActors
from recurseg.models.patches import PatchGrid, scan_order
from recurseg.models.shamann import PatchReader
from recurseg.ops.actors import reference
from recurseg.ops.memory.reference import weighted_step


class Steps(NamedTuple):
    """What actors do to their memory, by clock and actor: one writes and reads, then the next.

    Attributes:
        write: Write weights, float32 `(T, A, N)`.
        erase: Erase vectors, `(T, A, Q)`, in (0, 1).
        add: Add vectors, `(T, A, Q)`.
        read: Read weights of the heads, `(T, A, R, N)`.
        usage: Of the slots after the step, `(T, A, N)`; of the actor's own memory where each has one.
        turnover: Writes so far, this one included, that went to a slot already written to, int `(T, A)`.
    """

    write: np.ndarray
    erase: np.ndarray
    add: np.ndarray
    read: np.ndarray
    usage: np.ndarray
    turnover: np.ndarray


class Traffic(NamedTuple):
    """All that passes between actors and their memory while they read one image.

    Attributes:
        steps: By clock and actor.
        patches: Number of the patch that each actor reads, int `(T, A)`.
        shared: Whether all write to one memory.
    """

    steps: Steps
    patches: np.ndarray
    shared: bool


class Recording(NamedTuple):
    """One reading of an image.

    Attributes:
        logits: `(1, K, *spatial)`.
        outputs: What each actor says at each clock, `(A, 1, T, d)`.
        traffic: None where the actors have no external memory.
    """

    logits: Tensor
    outputs: Tensor
    traffic: Traffic | None


def read_image(model: PatchReader, image: Tensor) -> Recording:
    """Reads an image as a prediction does, chunk by chunk, and remembers what the actors do.

    Args:
        model: In evaluation mode.
        image: `(1, C, *spatial)`.
    """
    outputs: list[Tensor] = []
    chunks: list[Steps] = []

    def look_on(actors: nn.Module, given: tuple) -> tuple:
        return (*given, _watched(chunks))

    def keep(actors: nn.Module, given: tuple, got: tuple[Tensor, object]) -> None:
        outputs.append(got[0])

    actors = model.actors
    hooks = [actors.register_forward_hook(keep)]
    if isinstance(actors, MemoryActors):
        hooks.append(actors.register_forward_pre_hook(look_on))
    with hooked(hooks), torch.no_grad():
        logits = model(image)
    traffic = None
    if isinstance(actors, MemoryActors):
        patches = np.stack([scan_order(order, grid_of(model, image).counts) for order in model.orders], axis=1)
        traffic = Traffic(_joined(chunks), patches, actors.shared)
    return Recording(logits, torch.cat(outputs, dim=2), traffic)


def grid_of(model: PatchReader, image: Tensor) -> PatchGrid:
    """The patches that an image is read as."""
    return PatchGrid(tuple(image.shape[2:]), model.patch, model.stride)


def read_parts(traffic: Traffic, clock: int, actor: int) -> np.ndarray:
    """Takes what an actor reads at a clock apart: the part of every write so far, `(T, A, Q)`.

    A slot is the sum of all that was added to it, less what was erased since:
    `M[i] = Σ_s w_s[i] a_s ∘ Π_{u>s} (1 - w_u[i] e_u)`. So a read is a sum over writes, and the parts add up to the
    mean of what the heads read. They are found backwards in time: before each write, less of what is read was there.

    Args:
        traffic: From `read_image`.
        clock: Counted from 0.
        actor: Who reads.

    Returns:
        float32, 0 for later writes and those to another memory.
    """
    steps = traffic.steps
    parts = np.zeros_like(steps.add)
    writers = range(steps.add.shape[1]) if traffic.shared else [actor]
    read = steps.read[clock, actor].mean(axis=0)
    left = np.repeat(read[:, None], steps.add.shape[2], axis=1)  # (N, Q)
    for then in range(clock, -1, -1):
        for writer in reversed(writers):
            if (then, writer) <= (clock, actor):
                write = steps.write[then, writer]
                parts[then, writer] = write @ left * steps.add[then, writer]
                left *= 1 - np.outer(write, steps.erase[then, writer])
    return parts


def sources(traffic: Traffic, clock: int, actor: int) -> np.ndarray:
    """Which patches what an actor reads comes from: shares `(patches, A)` by patch and by the actor that wrote it.

    Args:
        traffic: From `read_image`.
        clock: Counted from 0.
        actor: Who reads.

    Returns:
        float32, the sizes (sums of absolute numbers) of the parts over that of all; adds up to 1, or to 0 where
        nothing was written.
    """
    size = np.abs(read_parts(traffic, clock, actor)).sum(axis=2)
    shares = np.zeros_like(size)
    np.put_along_axis(shares, traffic.patches, size / (size.sum() or 1.0), axis=0)
    return shares


def evenness(read: np.ndarray) -> np.ndarray:
    """How evenly heads read all slots: entropy over its largest value, averaged over heads.

    Args:
        read: Weights `(..., R, N)`.

    Returns:
        `(...)`: 1 where every slot is read alike, 0 where each head reads one slot.
    """
    if read.shape[-1] == 1:
        return np.ones(read.shape[:-2])
    share = read / np.maximum(read.sum(axis=-1, keepdims=True), 1e-12)
    return entr(share).sum(axis=-1).mean(axis=-1) / np.log(read.shape[-1])


def _watched(chunks: list[Steps]) -> Callable:
    """Actors at their memories, by the equations; the steps of every call are remembered."""

    def read(inputs, weights, states, memory, reading):
        found: list[tuple[Tensor, ...]] = []

        def access_memory(memory, interface, access):
            reads, after, write, read = weighted_step(memory, interface, access)
            lengths = list(access.parts.values())
            parts = dict(zip(access.parts, interface.float().split(lengths, dim=1), strict=True))
            kept = (write, parts["erase"].sigmoid(), parts["add"], read, after.usage, after.turnover)
            found.append(tuple(tensor[0] for tensor in kept))
            return reads, after

        result = reference.read_sequences(inputs, weights, states, memory, reading, access_memory)
        stacked = (torch.stack(column).unflatten(0, (-1, len(weights))) for column in zip(*found, strict=True))
        chunks.append(Steps(*(tensor.cpu().numpy() for tensor in stacked)))
        return result

    return read


def _joined(chunks: list[Steps]) -> Steps:
    return Steps(*(np.concatenate(arrays) for arrays in zip(*chunks, strict=True)))
