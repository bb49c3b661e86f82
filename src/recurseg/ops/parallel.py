"""Independent pieces of work: on a CPU on threads of their own with one intra-op thread each, on a GPU on streams."""

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
    order of the items, so sums over them do not depend on which thread was first. On a GPU each item has a stream
    of its own; the caller's stream is the one they begin after and are waited for by.
    """
    items = list(items)
    if device.type == "cuda":
        return _on_streams(work, items, device)
    workers = min(torch.get_num_threads(), len(items))
    if device.type != "cpu" or workers < 2:
        return [work(item) for item in items]
    grad = torch.is_grad_enabled()

    def call(item: Item) -> Result:
        with torch.set_grad_enabled(grad):
            return work(item)

    return list(_pool(workers, os.getpid()).map(call, items))


def _on_streams(work: Callable[[Item], Result], items: list[Item], device: torch.device) -> list[Result]:
    """Work queued on a stream an item. None of it begins before, or lasts beyond, what the caller's stream has to do:
    so memory may go from one stream to another without either being told."""
    current, results = torch.cuda.current_stream(device), []
    for stream, item in zip(_streams(len(items), device), items, strict=True):
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            results.append(work(item))
    for stream in _streams(len(items), device):
        current.wait_stream(stream)
    return results


@functools.lru_cache(maxsize=8)
def _streams(count: int, device: torch.device) -> list[torch.cuda.Stream]:
    return [torch.cuda.Stream(device) for _ in range(count)]


@contextmanager
def one_thread() -> Iterator[None]:
    """Operations inside run on one intra-op thread: small ones are faster so, and hold no other core up."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
