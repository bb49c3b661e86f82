"""A whole volume, as large as they come, through RSANet as published: attention over all of it, no windows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch

from recurseg.bench.registry import Measurement, benchmark
from recurseg.errors import ConfigError
from recurseg.inference import PackageSpec, Segmenter
from recurseg.models import create_model
from recurseg.preprocess import Preprocessing
from recurseg.training.memory import PeakMemory

MODALITIES = ["FLAIR", "T1", "T2"]
LARGEST = (60, 260, 320)
"""Sections, rows and columns of the largest volumes of Zhang et al. 2019."""
WHAT = (
    "a volume of 60 × 260 × 320 voxels and three modalities in one window by rsanet with 32 to 512 channels, float32"
)


@benchmark("rsanet_volume_memory", unit="GB", what=f"most memory of the process that predicts {WHAT}, CPU", long=True)
def volume_memory(size: Sequence[int] = LARGEST) -> Measurement:
    return Measurement([predicted(tuple(size))[0]])


@benchmark("rsanet_volume_seconds", unit="s", what=f"time of predicting {WHAT}, CPU", long=True)
def volume_seconds(size: Sequence[int] = LARGEST) -> Measurement:
    return Measurement([predicted(tuple(size))[1]])


@cache
def predicted(size: tuple[int, int, int]) -> tuple[float, float]:
    """Predicts labels of a volume of noise once, from an array to its own grid.

    Returns:
        The most memory that the process held meanwhile, GB of 10⁹ bytes, interpreter and libraries included; and
        seconds.

    Raises:
        ConfigError: If the system does not tell the peak.
    """
    cpu = torch.device("cpu")
    channels, classes = len(MODALITIES), ["background", "lesion"]
    spec = PackageSpec(
        model="rsanet",
        in_channels=channels,
        num_classes=len(classes),
        modalities=MODALITIES,
        class_names=classes,
        preprocessing=Preprocessing(),
        window=size,
    )
    segmenter = Segmenter(spec, create_model("rsanet", in_channels=channels, num_classes=len(classes)), cpu)
    volume = np.random.default_rng(0).standard_normal((channels, *size), dtype=np.float32)
    peak, begun = PeakMemory(cpu), time.perf_counter()
    segmenter.predict(volume)
    seconds, mib = time.perf_counter() - begun, peak.mib()
    if mib is None:
        raise ConfigError("only Linux tells the most memory that a process held: measure there")
    return mib * 2**20 / 1e9, seconds
