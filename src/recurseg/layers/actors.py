"""Actors that read the same patches in orders of their own: with a memory, with an LSTM alone, or with neither."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recurseg.ops.actors import ActorState, ActorWeights, Reading, read_sequences
from recurseg.ops.memory import Memory, empty_memory


class ActorsState(NamedTuple):
    """What actors with memories carry from chunk to chunk.

    Attributes:
        actors: State of each actor.
        memory: Of batch B where all share it; of batch A B, actor by actor, where each has its own.
    """

    actors: list[ActorState]
    memory: Memory

    def detach(self) -> ActorsState:
        """The same numbers; no gradient goes through them to what was before."""
        actors = [ActorState(*(tensor.detach() for tensor in state)) for state in self.actors]
        return ActorsState(actors, self.memory.detach())


class Actor(nn.Module):
    """The weights of an actor that reads and writes a memory.

    Args:
        size: d, numbers of an input, of the cell and of an output.
        reading: How it reads.
    """

    def __init__(self, size: int, reading: Reading) -> None:
        super().__init__()
        access = reading.access
        heads = access.heads * access.word
        read = {"linear": size, "concat": heads, "mean": access.word}[reading.merge]
        self.lstm = nn.Linear(2 * size + read, 4 * size)
        self.interface = nn.Linear(size, access.size)
        self.merge = nn.Linear(heads, read) if reading.merge == "linear" else None
        self.output = nn.Linear(size + read, size)
        self.size, self.read = size, read

    @property
    def weights(self) -> ActorWeights:
        merge = self.merge
        return ActorWeights(
            lstm=self.lstm.weight,
            lstm_bias=self.lstm.bias,
            interface=self.interface.weight,
            interface_bias=self.interface.bias,
            merge=None if merge is None else merge.weight,
            merge_bias=None if merge is None else merge.bias,
            output=self.output.weight,
            output_bias=self.output.bias,
        )

    def first_state(self, batch: int, device: torch.device) -> ActorState:
        read, hidden = torch.zeros(batch, self.read, device=device), torch.zeros(batch, self.size, device=device)
        return ActorState(read, hidden, hidden)


class MemoryActors(nn.Module):
    """Actors with an external memory that all share, or with one each (SHAMANN, sections 3.3.2 and 3.3.3).

    Args:
        actors: How many.
        size: d, numbers of an input, of a cell and of an output.
        slots: N of each memory.
        reading: How they read.
        shared: Whether they share one memory.
    """

    def __init__(self, actors: int, size: int, *, slots: int, reading: Reading, shared: bool) -> None:
        super().__init__()
        self.actors = nn.ModuleList(Actor(size, reading) for _ in range(actors))
        self.slots, self.reading, self.shared = slots, reading, shared

    def forward(
        self,
        inputs: Float[Tensor, "actors b clocks d"],
        state: ActorsState | None,
        read: Callable[..., tuple[Tensor, list[ActorState], Memory]] = read_sequences,
    ) -> tuple[Float[Tensor, "actors b clocks d"], ActorsState]:
        """Reads some clocks, each actor in its own order.

        Args:
            inputs: What each actor reads.
            state: What the clocks before left; None at the first.
            read: The op, or what does the same and looks on.

        Returns:
            The outputs of each actor, and what the next clocks start from.
        """
        state = state or self.first_state(inputs.shape[1], inputs.device)
        weights = [actor.weights for actor in self.actors if isinstance(actor, Actor)]
        outputs, actors, memory = read(inputs, weights, state.actors, state.memory, self.reading)
        return outputs, ActorsState(actors, memory)

    def first_state(self, batch: int, device: torch.device) -> ActorsState:
        """Empty memories and actors that have read nothing."""
        actors = [actor.first_state(batch, device) for actor in self.actors if isinstance(actor, Actor)]
        memories = batch if self.shared else batch * len(actors)
        return ActorsState(actors, empty_memory(self.reading.access, memories, self.slots, device))


class LSTMState(NamedTuple):
    """What actors without memories carry: hidden states and cells of each, `(1, B, d)`."""

    hidden: list[Tensor]
    cell: list[Tensor]

    def detach(self) -> LSTMState:
        """The same numbers; no gradient goes through them to what was before."""
        return LSTMState([h.detach() for h in self.hidden], [c.detach() for c in self.cell])


class LSTMActors(nn.Module):
    """Actors that are plain LSTMs: two of them are a bidirectional LSTM (SHAMANN, eq. 1).

    Args:
        actors: How many.
        size: d, numbers of an input, of a cell and of an output.
    """

    def __init__(self, actors: int, size: int) -> None:
        super().__init__()
        self.actors = nn.ModuleList(nn.LSTM(size, size, batch_first=True) for _ in range(actors))

    def forward(
        self, inputs: Float[Tensor, "actors b clocks d"], state: LSTMState | None
    ) -> tuple[Float[Tensor, "actors b clocks d"], LSTMState]:
        """Reads some clocks; arguments as `MemoryActors` takes them. Cells stay float32 under autocast."""
        outputs, hidden, cells = [], [], []
        with torch.autocast(inputs.device.type, enabled=False):
            for number, (actor, own) in enumerate(zip(self.actors, inputs.float(), strict=True)):
                output, (h, c) = actor(own, None if state is None else (state.hidden[number], state.cell[number]))
                outputs.append(output)
                hidden.append(h)
                cells.append(c)
        return torch.stack(outputs), LSTMState(hidden, cells)


class FeedForwardActors(nn.Module):
    """Actors that remember nothing: each maps a patch's features by one layer with tanh.

    Args:
        actors: How many.
        size: d, numbers of an input and of an output.
    """

    def __init__(self, actors: int, size: int) -> None:
        super().__init__()
        self.actors = nn.ModuleList(nn.Linear(size, size) for _ in range(actors))

    def forward(
        self, inputs: Float[Tensor, "actors b clocks d"], state: None
    ) -> tuple[Float[Tensor, "actors b clocks d"], None]:
        """Maps some clocks; there is no state."""
        each = zip(self.actors, inputs, strict=True)
        return torch.stack([actor(own).tanh() for actor, own in each]), None
