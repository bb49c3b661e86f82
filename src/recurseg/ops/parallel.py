"""Independent pieces of work on threads of their own, each with one intra-op thread."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


@functools.lru_cache(maxsize=4)
def _pool(workers: int, process: int) -> ThreadPoolExecutor:
    """A pool a process (threads do not survive a fork), with every thread started and set to one intra-op thread."""
    threads, started = torch.get_num_threads(), threading.Barrier(workers + 1)

    def start() -> None:
        torch.get_num_threads()  # makes torch's own lazy initialisation of the thread happen now, not later
        torch.set_num_threads(1)
        started.wait()

    pool = ThreadPoolExecutor(workers, "recurseg", initializer=start)
    for _ in range(workers):
        pool.submit(int)
    started.wait()
    torch.set_num_threads(threads)  # the default of threads to come, which the pool's have changed
    return pool


def run_parallel(work: Callable[[Item], Result], items: Iterable[Item], *, device: torch.device) -> list[Result]:
    """Returns `[work(item) for item in items]`, on the CPU by as many threads as torch may use.

    Grad mode goes with the work; the caller's thread settings are the same afterwards. Results come in the
    order of the items, so sums over them do not depend on which thread was first.
    """
    items = list(items)
    workers = min(torch.get_num_threads(), len(items))
    if device.type != "cpu" or workers < 2:
        return [work(item) for item in items]
    grad = torch.is_grad_enabled()

    def call(item: Item) -> Result:
        with torch.set_grad_enabled(grad):
            return work(item)

    return list(_pool(workers, os.getpid()).map(call, items))


@contextmanager
def one_thread() -> Iterator[None]:
    """Operations inside run on one intra-op thread: small ones are faster so, and hold no other core up."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
