"""The most memory that a training held at once."""

from __future__ import annotations

import torch

from recurseg.inference.memory import forget_peak, peak


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
        self.known = device.type == "cuda" or forget_peak()

    def mib(self) -> int | None:
        """The peak so far, 2²⁰ bytes; None where the system cannot tell it from that of an earlier training."""
        if self.device.type == "cuda":
            return round(torch.cuda.max_memory_allocated(self.device) / 2**20)
        if not self.known:
            return None
        return round(peak() / 2**20)
