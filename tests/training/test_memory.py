"""Peak memory of a training, and not of the one before it."""

from __future__ import annotations

import sys

import pytest
import torch

from recurseg.inference import memory
from recurseg.training.memory import PeakMemory

CPU = torch.device("cpu")
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a process")


@linux
def test_the_peak_is_kept_after_memory_is_freed():
    peak = PeakMemory(CPU)
    before = peak.mib()
    torch.ones(64, 2**20)
    assert 250 <= peak.mib() - before <= 300


@linux
def test_an_earlier_training_does_not_count():
    many = [torch.ones(2**10) for _ in range(2**15)]
    high = PeakMemory(CPU).mib()
    del many
    assert PeakMemory(CPU).mib() < high - 100


def test_a_system_that_cannot_tell_says_none(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "no folder" / "clear_refs")
    assert PeakMemory(CPU).mib() is None
