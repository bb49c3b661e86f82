"""The most memory that a training held at once."""

from __future__ import annotations

import ctypes
import gc
import re
from pathlib import Path

import torch

CLEAR = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")
FORGET_PEAK = "5"


class PeakMemory:
    """Watches memory from its creation on.

    On a GPU it is what torch held there; else the resident memory of this process, interpreter and data included,
    processes that prepare windows left out.

    Args:
        device: What trains.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        self.known = device.type == "cuda" or _forget_peak()

    def mib(self) -> int | None:
        """The peak so far, 2²⁰ bytes; None where the system cannot tell it from that of an earlier training."""
        if self.device.type == "cuda":
            return round(torch.cuda.max_memory_allocated(self.device) / 2**20)
        if not self.known:
            return None
        found = re.search(r"^VmHWM:\s*(\d+) kB", STATUS.read_text(), re.MULTILINE)
        return round(int(found[1]) / 2**10) if found else None


def _forget_peak() -> bool:
    """Gives back what is free and sets the peak to what is held now; False where the system is no Linux that can."""
    gc.collect()
    try:
        c = ctypes.CDLL(None)
        if hasattr(c, "malloc_trim"):  # glibc keeps the memory that an earlier training freed
            c.malloc_trim(0)
        CLEAR.write_text(FORGET_PEAK)
    except (OSError, TypeError):
        return False
    return True
