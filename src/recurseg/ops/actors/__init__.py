"""Actors: recurrent readers of a sequence that take turns at one external memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from recurseg.ops.memory import Access, Memory


class ActorWeights(NamedTuple):
    """The weights of one actor: LSTM, interface, merging of the heads, output.

    With d numbers of input and of cell, and r numbers of merged reads:

    Attributes:
        lstm: `(4d, d + r + d)`, gates in the order input, forget, output, candidate; columns input, reads, output.
        lstm_bias: `(4d,)`.
        interface: `(access.size, d)`.
        interface_bias: `(access.size,)`.
        merge: `(r, R Q)`, None where reads are not merged by a linear map.
        merge_bias: `(r,)` or None.
        output: W_g, `(d, d + r)`, columns hidden state, reads.
        output_bias: `(d,)`.
    """

    lstm: Tensor
    lstm_bias: Tensor
    interface: Tensor
    interface_bias: Tensor
    merge: Tensor | None
    merge_bias: Tensor | None
    output: Tensor
    output_bias: Tensor


class ActorState(NamedTuple):
    """What an actor carries from clock to clock, float32.

    Attributes:
        read: Merged reads, `(B, r)`.
        hidden: What the LSTM takes as its last output, `(B, d)`.
        cell: `(B, d)`.
    """

    read: Tensor
    hidden: Tensor
    cell: Tensor


@dataclass(frozen=True)
class Reading:
    """How actors read.

    Attributes:
        access: How their memory is addressed.
        merge: What an actor sees of its heads: "linear" a learned map of all, "concat" all, "mean" their mean.
        feed_hidden: Whether the LSTM's last output is its hidden state h, as in a differentiable neural computer,
            instead of the mapped output g.
    """

    access: Access
    merge: str = "linear"
    feed_hidden: bool = False


def read_sequences(
    inputs: Float[Tensor, "actors b clocks d"],
    weights: Sequence[ActorWeights],
    states: Sequence[ActorState],
    memory: Memory,
    reading: Reading,
) -> tuple[Float[Tensor, "actors b clocks d"], list[ActorState], Memory]:
    """Actors read their sequences; at each clock each writes to its memory and then reads from it.

    `[h, c] = LSTM(x ⊕ r, g, c)`; the interface vector is a linear map of the cell c; after the memory step
    `g = W_g (h ⊕ r) + b_g`.

    Args:
        inputs: What each actor reads, in its own order.
        weights: Of each actor.
        states: Of each actor, before the first clock.
        memory: Of batch B: all actors share it and take turns; or of batch A B, actor by actor: each has its own.
        reading: How they read.

    Returns:
        The outputs g of each actor in its own order, float32; states and memory after the last clock.

    Source: SHAMANN, eq. 2-3 and section 3.3.3.
    """
    from recurseg.ops.actors import fast, reference

    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    op = reference if traced or reading.access.addressing == "dnc" else fast
    return op.read_sequences(inputs, weights, states, memory, reading)
