"""What becomes of a sweep's time when another process takes a core."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from recurseg.bench.bound import SWEEPS, SweepSize
from recurseg.bench.registry import Measurement, benchmark
from recurseg.bench.timing import SECONDS, take_turns, training_of
from recurseg.errors import ConfigError
from recurseg.layers.sweep import PyramidSweep

SPIN = """
import os
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
print("spinning", flush=True)
while True:
    pass
"""
"""Keeps the last core busy where the system lets it choose one."""
STEPS_A_TURN = 3


@benchmark(
    "sweep_small_busy",
    unit="ratio",
    what=f"training time with one core kept busy by another process over the time without: {SWEEPS['sweep_small']}",
)
def small_busy(
    size: SweepSize = SWEEPS["sweep_small"], *, seconds: float = SECONDS, steps: int = STEPS_A_TURN
) -> Measurement:
    """Times training steps while another process spins and while it is stopped, in turns."""
    layer = PyramidSweep(size.channels, size.width, kernel=size.kernel, spatial_dims=len(size.spatial))
    step = training_of(layer, torch.randn(1, size.channels, *size.spatial))

    def idle() -> None:
        for _ in range(steps):
            step()

    with spinning() as switch:

        def busy() -> None:
            switch(True)
            idle()
            switch(False)

        taken = take_turns([busy, idle], seconds=seconds)
    return Measurement((taken[:, 0] / taken[:, 1]).tolist())


@contextmanager
def spinning() -> Iterator[Callable[[bool], None]]:
    """Gives a switch that lets another process spin, on one core, and stops it; it begins stopped.

    Raises:
        ConfigError: If the system cannot stop a process and let it go on.
    """
    if not hasattr(signal, "SIGSTOP"):
        raise ConfigError("this system cannot stop a process and let it go on: measure on Linux or macOS")
    with subprocess.Popen([sys.executable, "-c", SPIN], stdout=subprocess.PIPE) as process:

        def switch(on: bool) -> None:
            os.kill(process.pid, signal.SIGCONT if on else signal.SIGSTOP)

        try:
            assert process.stdout is not None
            process.stdout.readline()
            switch(False)
            yield switch
        finally:
            process.kill()
