"""A long volume beside a short one, both predicted from files to a file by a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recurseg.bench.registry import Measurement, benchmark
from recurseg.errors import ConfigError
from recurseg.inference import PackageSpec, load, predict_files, save_package
from recurseg.models import create_model
from recurseg.preprocess import Preprocessing
from recurseg.training.memory import PeakMemory

LENGTHS = (100, 1000)
"""Slices."""
SIDE = 256
MODALITIES = ["FLAIR", "T1", "T1c", "T2"]
CLASSES = ["background", "necrosis", "edema", "non_enhancing", "enhancing"]
WIDTHS = (16, 16, 16, 16)
MAX_RAM = "2GB"
UNIT = 256
"""Stored intensities a standard deviation."""
ROUNDS = 3
WHAT = (
    f"{LENGTHS[1]} slices of {SIDE}² over {LENGTHS[0]}, `predict --max-ram {MAX_RAM}` of {len(MODALITIES)} NIfTI "
    f"files into one of labels: cross_modality with its ConvLSTM and {WIDTHS[0]} channels at every level, as in its "
    "tables at the small scale"
)


@benchmark("stream_memory", unit="ratio", what=f"most memory of the process: {WHAT}", long=True)
def stream_memory(side: int = SIDE, lengths: tuple[int, int] = LENGTHS, rounds: int = ROUNDS) -> Measurement:
    return _compared("peak_mib", side, lengths, rounds)


@benchmark("stream_time", unit="ratio", what=f"time, imports left out: {WHAT}", long=True)
def stream_time(side: int = SIDE, lengths: tuple[int, int] = LENGTHS, rounds: int = ROUNDS) -> Measurement:
    return _compared("seconds", side, lengths, rounds)


def _compared(quantity: str, side: int, lengths: tuple[int, int], rounds: int) -> Measurement:
    found = measured(side, lengths, rounds)
    return Measurement([long[quantity] / short[quantity] for short, long in found])


@cache
def measured(side: int, lengths: tuple[int, int], rounds: int) -> Sequence[tuple[dict[str, float], dict[str, float]]]:
    """What a short and a long volume took, taken in turns: `peak_mib` of the whole process, and `seconds`."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        for length in lengths:
            write_volume(Path(name) / str(length), length, side)
        for _ in range(rounds):
            found.append(tuple(_in_its_own_process(Path(name) / str(length)) for length in lengths))
    return found


def write_volume(folder: Path, length: int, side: int) -> None:
    """Writes a case of noise, a slice at a time, and a package that sees volumes of its size whole."""
    import nibabel as nib

    (folder / "case").mkdir(parents=True)
    header: Any = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((side, side, length))
    header.set_zooms((1, 1, 2))
    header["vox_offset"] = header.sizeof_hdr + 4
    for seed, modality in enumerate(MODALITIES):
        generator = np.random.default_rng(seed)
        with (folder / "case" / f"{modality}.nii").open("wb") as file:
            file.write(header.binaryblock + bytes(4))
            for _ in range(length):
                file.write((UNIT * generator.standard_normal((side, side))).astype(np.int16).tobytes())
    channels: dict[str, Any] = {"in_channels": len(MODALITIES), "num_classes": len(CLASSES)}
    spec = PackageSpec(
        model="cross_modality",
        options={"widths": WIDTHS},
        modalities=MODALITIES,
        class_names=CLASSES,
        preprocessing=Preprocessing(),
        window=(length, side, side),
        **channels,
    )
    torch.manual_seed(0)
    save_package(folder / "package", create_model("cross_modality", widths=WIDTHS, **channels), spec)


def predict_volume(folder: Path) -> dict[str, float | None]:
    """Predicts the case of a folder into its `labels`; returns the peak in MiB and the seconds."""
    peak = PeakMemory(torch.device("cpu"))
    segmenter = load(folder / "package", device="cpu")
    with torch.no_grad():
        segmenter.model(torch.zeros(1, len(MODALITIES), 1, *segmenter.spec.window[1:]))
    begun = time.perf_counter()
    predict_files(segmenter, [folder / "case"], folder / "labels", max_ram=MAX_RAM, overwrite=True, quiet=True)
    return {"seconds": time.perf_counter() - begun, "peak_mib": peak.mib()}


def _in_its_own_process(folder: Path) -> dict[str, float]:
    program = "import json, sys; from pathlib import Path; from recurseg.bench.stream import predict_volume; "
    program += "print(json.dumps(predict_volume(Path(sys.argv[1]))))"
    done = subprocess.run([sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    if found["peak_mib"] is None:
        raise ConfigError("only Linux tells the most memory that a process held: measure there")
    return found
