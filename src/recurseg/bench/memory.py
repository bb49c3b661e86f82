"""A step of the external memory beside that of the package `dnc`, where it is installed."""

from __future__ import annotations

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recurseg.bench.registry import Measurement, benchmark
from recurseg.bench.timing import SECONDS, forward_of, take_turns, training_of
from recurseg.ops.memory import Access, empty_memory, memory_step

SLOTS, WORD, HEADS, BATCH = 400, 128, 32, 4
STEPS = 8

SIZE = f"{SLOTS} slots of {WORD}, {HEADS} heads, batch {BATCH}"


class Steps(nn.Module):
    """Steps of our memory from an empty one on; takes interface vectors `(T, B, access.size)`."""

    def __init__(self, access: Access, slots: int) -> None:
        super().__init__()
        self.access, self.slots = access, slots

    def forward(self, vectors: Float[Tensor, "t b interface"]) -> Float[Tensor, "t b heads word"]:
        memory, reads = empty_memory(self.access, vectors.shape[1], self.slots, vectors.device), []
        for vector in vectors:
            read, memory = memory_step(memory, vector, self.access)
            reads.append(read)
        return torch.stack(reads)


class PeerSteps(nn.Module):
    """Steps of the package's memory, which always has allocation, free gates and temporal links."""

    def __init__(self, access: Access, slots: int) -> None:
        super().__init__()
        from dnc.memory import Memory  # pyright: ignore[reportMissingImports]

        memory = Memory(1, mem_size=slots, cell_size=access.word, read_heads=access.heads, independent_linears=False)
        self.size, memory.interface_weights = memory.interface_size, nn.Identity()
        self.step = memory

    def forward(self, vectors: Float[Tensor, "t b interface"]) -> Float[Tensor, "t b heads word"]:
        hidden, reads = self.step.reset(vectors.shape[1]), []
        for vector in vectors:
            read, hidden = self.step(vector, hidden)
            reads.append(read)
        return torch.stack(reads)


def dnc_over_ours(
    access: Access, *, train: bool, slots: int = SLOTS, batch: int = BATCH, seconds: float = SECONDS
) -> Measurement:
    """Times steps of the package's memory in turns with ours; the samples are its time over ours.

    Both take interface vectors as they are, so that what maps a state to them is left out.

    Args:
        access: How ours is addressed.
        train: Whether the gradients of all interface vectors are taken too.
        slots: N.
        batch: B.
        seconds: About how long it takes.
    """
    peer, ours = PeerSteps(access, slots), Steps(access, slots)
    work_of = training_of if train else forward_of
    works = [
        work_of(memory, torch.randn(STEPS, batch, size)) for memory, size in ((peer, peer.size), (ours, access.size))
    ]
    taken = take_turns(works, seconds=seconds)
    return Measurement((taken[:, 0] / taken[:, 1]).tolist())


_OURS = {
    "memory_step": (Access(WORD, HEADS), "content and least used slots"),
    "memory_step_dnc": (Access(WORD, HEADS, addressing="dnc"), "all addressing of a differentiable neural computer"),
}
_MODES = {"": "forward and backward", "_forward": "forward"}
for _name, (_access, _what) in _OURS.items():
    for _last, _mode in _MODES.items():
        benchmark(
            f"{_name}{_last}",
            unit="ratio",
            what=f"{_mode} time of a memory step of the package dnc over ours with {_what}: {SIZE}",
            needs="dnc",
        )(partial(dnc_over_ours, _access, train=_mode != "forward"))
