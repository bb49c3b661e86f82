"""Where a run's numbers come from: data hashes, versions, machine."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from recurseg.data.case import Case, Volume

PACKAGES = (
    "recurseg", "torch", "numpy", "scipy", "monai", "nibabel", "SimpleITK", "tifffile", "h5py", "scikit-image",
    "opencv-python-headless",
)  # fmt: skip


def data_hashes(cases: Iterable[Case]) -> dict[str, dict[str, str]]:
    """SHA-256 of every case's files: case id → modality or "label" → hash; of a folder, over the files in it."""
    hashes = {}
    for case in cases:
        volumes = dict(case.images) | ({"label": case.label} if case.label is not None else {})
        hashes[case.id] = {name: _digest(volume) for name, volume in volumes.items()}
    return hashes


def one_hash(hashes: Mapping[str, Mapping[str, str]]) -> str:
    """SHA-256 of all `data_hashes` together, whatever their order."""
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


def _digest(volume: Volume) -> str:
    within = (path for path in volume.path.rglob("*") if path.is_file())
    files = volume.files or ((volume.path,) if volume.path.is_file() else sorted(within))
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """What the run ran on: processor, cores, threads, memory, GPU; no names."""
    import torch

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(memory / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if sys.platform == "linux" and info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
