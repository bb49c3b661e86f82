"""An external memory: slots that recurrent readers write to and read from by content, and by how used a slot is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

Addressing = Literal["least_used", "dnc"]


class Memory(NamedTuple):
    """A memory and what addressing remembers of it, all float32.

    Attributes:
        content: M, `(B, N, Q)`.
        usage: How much was written to each slot, in [0, 1], `(B, N)`.
        written: Number of the last write that went to a slot, counted from 1; 0 where none did, `(B, N)`. A write
            goes to the slot of its largest weight.
        writes: How many there were.
        links: What "dnc" addressing remembers beside that, else None.
    """

    content: Tensor
    usage: Tensor
    written: Tensor
    writes: int = 0
    links: Links | None = None

    def detach(self) -> Memory:
        """The same numbers; no gradient goes through them to earlier steps."""
        links = self.links and Links(*(tensor.detach() for tensor in self.links))
        return self._replace(content=self.content.detach(), usage=self.usage.detach(), links=links)

    @property
    def turnover(self) -> Float[Tensor, " b"]:
        """Writes that went to a slot already written to, `(B,)`."""
        return self.writes - (self.written > 0).sum(dim=1)


class Links(NamedTuple):
    """What the addressing of a differentiable neural computer remembers beside the memory itself.

    Attributes:
        order: L, which slot was written after which, `(B, N, N)`.
        precedence: p, where the last writes went, `(B, N)`.
        write: Weights of the last write, `(B, N)`.
        read: Weights of the last reads, `(B, R, N)`.
    """

    order: Tensor
    precedence: Tensor
    write: Tensor
    read: Tensor


@dataclass(frozen=True)
class Access:
    """How a memory is addressed, and so what an interface vector means.

    Attributes:
        word: Q, numbers in a slot.
        heads: R, slots read at once.
        strength: Whether interface vectors hold key strengths, 1 + softplus of them. Without, a weight is at most
            `e² / (e² + N - 1)`, so that a read is nearly the mean of all slots. DNC addressing has them always.
        addressing: "least_used": content or the least used slot, content reads (Shamann); "dnc": allocation,
            free gates and temporal links (Graves et al. 2016).
    """

    word: int
    heads: int
    strength: bool = True
    addressing: Addressing = "least_used"

    @property
    def parts(self) -> dict[str, int]:
        """Name → length of the parts of an interface vector, in their order.

        Keys and strengths are those of the reads and, last, that of the write.
        """
        vectors = {"keys": (self.heads + 1) * self.word, "erase": self.word, "add": self.word}
        strengths = {"strengths": self.heads + 1}
        if self.addressing == "dnc":
            gates = {"free_gates": self.heads, "allocation_gate": 1, "write_gate": 1, "read_modes": 3 * self.heads}
            return {**vectors, **strengths, **gates}
        return {**vectors, "content_gate": 1, **(strengths if self.strength else {})}

    @property
    def size(self) -> int:
        """Length of an interface vector: RQ + 3Q + 1, with strengths R + 1 more; RQ + 3Q + 5R + 3 for "dnc"."""
        return sum(self.parts.values())


def empty_memory(access: Access, batch: int, slots: int, device: torch.device) -> Memory:
    """A memory of zeros that nothing was written to."""
    content = torch.zeros(batch, slots, access.word, device=device)
    usage = torch.zeros(batch, slots, device=device)
    links = None
    if access.addressing == "dnc":
        links = Links(
            torch.zeros(batch, slots, slots, device=device),
            torch.zeros_like(usage),
            torch.zeros_like(usage),
            torch.zeros(batch, access.heads, slots, device=device),
        )
    return Memory(content, usage, torch.zeros_like(usage), links=links)


def split_memory(memory: Memory, batch: int) -> list[Memory]:
    """The memories of as many batches of this size as lie one after the other in one."""
    tensors = [memory.content, memory.usage, memory.written, *(memory.links or ())]
    return [
        Memory(*own[:3], writes=memory.writes, links=Links(*own[3:]) if memory.links else None)
        for own in zip(*(tensor.split(batch) for tensor in tensors), strict=True)
    ]


def join_memories(memories: Sequence[Memory]) -> Memory:
    """The inverse of `split_memory`."""
    links = [memory.links for memory in memories if memory.links]
    content, usage, written = (torch.cat(own) for own in zip(*(memory[:3] for memory in memories), strict=True))
    joined = Links(*(torch.cat(own) for own in zip(*links, strict=True))) if links else None
    return Memory(content, usage, written, memories[0].writes, joined)


def memory_step(
    memory: Memory, interface: Float[Tensor, "b interface"], access: Access
) -> tuple[Float[Tensor, "b heads word"], Memory]:
    """One write and, after it, one read of all heads.

    The write weights are `w = α·content + (1 - α)·least used`, without gradient through the choice of the least
    used slot; `M[i] ← M[i] ∘ (1 - w[i] e) + w[i] a`; each head reads `Σ_i softmax(β cos(k, M[i])) M[i]`. While there
    are slots that no write went to, the least used of them is taken, the first of equals; afterwards the one
    whose last write is longest ago.

    Args:
        memory: From `empty_memory`, or what the last step left.
        interface: What a reader emits: the parts that `access.parts` lists, before any non-linearity.
        access: How the memory is addressed.

    Returns:
        What the heads read, float32, and the memory afterwards; the memory given is left as it is.

    Source: SHAMANN, section 3.3.2. Departures from the printed text: usage, which it does not define, is
    `u ← u + (1 - u) w`; cosines have 1e-6 under the roots of their norms, so that slots of zeros are safe; keys
    have strengths (`Access.strength`).
    """
    from recurseg.ops.memory import fast, reference

    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    return (reference if traced else fast).memory_step(memory, interface, access)
