"""A long volume beside a short one with planes as large, both predicted through files by a process of their own."""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recurseg.bench.registry import Measurement, benchmark
from recurseg.data.case import Deferred
from recurseg.errors import ConfigError
from recurseg.inference.bar import CasesBar
from recurseg.inference.out_of_core import predict_out_of_core
from recurseg.models import create_model
from recurseg.training.memory import PeakMemory

Size = tuple[int, int, int]

LONG, SHORT = (256, 256, 256), (256, 256, 64)
OPTIONS = {"widths": (16, 16, 16), "pixelwise": (16, 16), "kernel": 5, "block": (2, 2)}
"""What `recurseg plan` takes for 15 minutes of training."""
MAX_RAM = 2**28


@benchmark(
    "out_of_core_memory",
    unit="ratio",
    what=f"peak memory of predicting {' × '.join(map(str, LONG))} voxels out of core, beyond what the process held "
    f"before and the states (hidden and cell planes of two directions) of the largest plane, over that of "
    f"{' × '.join(map(str, SHORT))}: pyramid_lstm with widths 16, 16, 16, kernel 5 and blocks of 2 × 2, "
    f"{MAX_RAM // 2**20} MiB allowed",
    long=True,
)
def out_of_core_memory(sizes: Sequence[Size] = (LONG, SHORT), max_ram: int = MAX_RAM) -> Measurement:
    long, short = (_held_in_its_own_process(size, max_ram) - states(size) for size in sizes)
    return Measurement([long / short])


def states(size: Size) -> int:
    """Bytes of the planes that the sweeps of an axis carry, where they are largest."""
    block = (1, *OPTIONS["block"])
    positions = [-(-voxels // side) for voxels, side in zip(size, block, strict=True)]
    return 4 * 4 * max(OPTIONS["widths"]) * math.prod(positions) // min(positions)


def held(size: Size, max_ram: int) -> int:
    """Predicts a volume of noise, with a bar on stderr; returns the peak beyond what the process held before, bytes.

    Raises:
        ConfigError: The system does not tell the peak.
    """

    def noise(index: tuple[slice, slice]) -> np.ndarray:
        planes = len(range(size[0])[index[1]])
        return np.random.default_rng(index[1].start).standard_normal((1, planes, *size[1:]), dtype=np.float32)

    options: dict[str, Any] = OPTIONS
    torch.manual_seed(0)
    model = create_model("pyramid_lstm", in_channels=1, num_classes=2, **options)
    image = Deferred((1, *size), np.dtype(np.float32), noise)
    peak = PeakMemory(torch.device("cpu"))
    before = peak.mib()
    with tempfile.TemporaryDirectory() as folder, CasesBar([math.prod(size)], quiet=False) as bar:
        bar.start(" × ".join(map(str, size)))
        for _ in predict_out_of_core(model, image, Path(folder), max_ram=max_ram, progress=bar.within):
            pass
        bar.finish()
    after = peak.mib()
    if before is None or after is None:
        raise ConfigError("only Linux tells the most memory that a process held: measure there")
    return (after - before) * 2**20


def _held_in_its_own_process(size: Size, max_ram: int) -> int:
    program = f"from recurseg.bench.out_of_core import held; print(held({size}, {max_ram}))"
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout)
