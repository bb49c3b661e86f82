"""A step of the external memory beside that of the package `dnc`, where it is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn

from recurseg.bench.registry import Measurement, benchmark
from recurseg.bench.timing import SECONDS, take_turns
from recurseg.ops.memory import Access, empty_memory, memory_step

SLOTS, WORD, HEADS, BATCH = 400, 128, 32, 4
STEPS = 8

Reads = Iterable[Tensor]
SIZE = f"{SLOTS} slots of {WORD}, {HEADS} heads, batch {BATCH}"


def dnc_over_ours(
    access: Access, *, train: bool, slots: int = SLOTS, batch: int = BATCH, seconds: float = SECONDS
) -> Measurement:
    """Times steps of the package's memory in turns with ours; the samples are its time over ours.

    Both take interface vectors as they are, so that what maps a state to them is left out.

    Args:
        access: How ours is addressed; the package's always has allocation, free gates and temporal links.
        train: Whether the gradients of all interface vectors are taken too.
        slots: N.
        batch: B.
        seconds: About how long it takes.
    """
    from dnc.memory import Memory  # pyright: ignore[reportMissingImports]

    peer = Memory(1, mem_size=slots, cell_size=access.word, read_heads=access.heads, independent_linears=False)
    size, peer.interface_weights = peer.interface_size, nn.Identity()

    def theirs(vectors: Tensor) -> Reads:
        hidden = peer.reset(batch)
        for vector in vectors:
            reads, hidden = peer(vector, hidden)
            yield reads

    def ours(vectors: Tensor) -> Reads:
        memory = empty_memory(access, batch, slots, vectors.device)
        for vector in vectors:
            reads, memory = memory_step(memory, vector, access)
            yield reads

    works = [_work(run, torch.randn(STEPS, batch, n), train) for run, n in ((theirs, size), (ours, access.size))]
    taken = take_turns(works, seconds=seconds)
    return Measurement((taken[:, 0] / taken[:, 1]).tolist())


def _work(run: Callable[[Tensor], Reads], vectors: Tensor, train: bool) -> Callable[[], object]:
    def work() -> None:
        with torch.set_grad_enabled(train):
            given = vectors.clone().requires_grad_(train)
            total = torch.stack([reads.sum() for reads in run(given)]).sum()
            if train:
                torch.autograd.grad(total, given)

    return work


_OURS = {
    "memory_step": (Access(WORD, HEADS), "content and least used slots"),
    "linked_step": (Access(WORD, HEADS, addressing="dnc"), "all addressing of a differentiable neural computer"),
}
for _name, (_access, _what) in _OURS.items():
    for _mode in ("forward", "train"):
        benchmark(
            f"dnc_over_{_name}_{_mode}",
            unit="ratio",
            what=f"{_mode} time of a memory step of the package dnc over ours with {_what}: {SIZE}",
            needs="dnc",
        )(partial(dnc_over_ours, _access, train=_mode == "train"))
