"""The most memory that a piece of work holds at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import torch
from torch.autograd.profiler import profile

from recurseg.ops.parallel import one_thread

MEMORY_EVENT = "[memory]"
QUIET = "6"
"""Log level at which the profiler does not announce itself; it reads it when first used."""


def peak_memory(work: Callable[[], object], device: str = "cpu") -> int:
    """Returns the bytes that torch held for a piece of work at its height, beyond what it held before.

    On a CPU they are counted from what torch's allocator hands out and takes back, to the byte and the same every
    time, whatever else the machine does; on a GPU torch counts them itself. What the libraries beneath torch take
    without it is left out. On a CPU the work is done by one thread, as only its own memory is seen: directions of a
    sweep one after the other, what they keep at the end the same.

    Args:
        work: Is run once, on a GPU twice.
        device: Where its tensors are, "cpu" or "cuda".
    """
    if device == "cuda":
        work()  # workspaces that stay are taken now
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    os.environ.setdefault("KINETO_LOG_LEVEL", QUIET)
    watch = profile(profile_memory=True)
    with one_thread(), watch:
        work()
    seen: Any = watch.kineto_results
    events = sorted(seen.events(), key=lambda event: event.start_ns())
    return max(accumulate((event.nbytes() for event in events if event.name() == MEMORY_EVENT), initial=0))
