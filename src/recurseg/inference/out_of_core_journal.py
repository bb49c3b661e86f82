"""What an out-of-core prediction did last, in one file that is replaced whole: from it a killed one goes on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import nn

from recurseg.data.formats.writing import writing
from recurseg.ops.sweep import State

NAME = "journal.npz"


@dataclass(frozen=True)
class Entry:
    """The last step.

    Attributes:
        done: Steps done, this one counted.
        longest: Of the bricks in which the sums lie.
        slabs: The sums after this step by number of the slab; to be written again, as that may have been cut short.
        states: What the forward and the backward sweep carry on, `(1, O, *plane)` each.
    """

    done: int
    longest: int
    slabs: dict[int, np.ndarray]
    states: list[State]


def write_entry(folder: Path, fingerprint: str, entry: Entry) -> None:
    """Replaces the journal in one go. Raises ResourceError where the disk is full."""
    part = folder / f"{NAME}.part"
    arrays: dict[str, Any] = {f"slab {index}": slab for index, slab in entry.slabs.items()}
    for direction, state in enumerate(entry.states):
        arrays |= {f"{name} {direction}": plane.cpu().numpy() for name, plane in zip("hc", state, strict=True)}
    with writing(part):
        with part.open("wb") as file:
            np.savez(file, fingerprint=fingerprint, done=entry.done, longest=entry.longest, **arrays)
        os.replace(part, folder / NAME)


def read_entry(folder: Path, fingerprint: str, device: torch.device) -> Entry | None:
    """Reads the journal; None where there is none that can be read, or that of another prediction."""
    try:
        with np.load(folder / NAME) as saved:
            if str(saved["fingerprint"]) != fingerprint:
                return None
            slabs = {int(name.split()[1]): saved[name] for name in saved.files if name.startswith("slab")}
            states = [tuple(torch.from_numpy(saved[f"{name} {d}"]).to(device) for name in "hc") for d in (0, 1)]
            return Entry(int(saved["done"]), int(saved["longest"]), slabs, [(h, c) for h, c in states])
    except (OSError, ValueError, KeyError, BadZipFile):
        return None


def forget(folder: Path) -> None:
    """Removes the journal."""
    for name in (NAME, f"{NAME}.part"):
        (folder / name).unlink(missing_ok=True)


def fingerprint_of(model: nn.Module, facts: object, parts: Iterable[np.ndarray]) -> str:
    """What a prediction depends on: weights, `facts` by what they print, and the image piece by piece."""
    digest = hashlib.sha256(repr(facts).encode())
    for name, weight in model.state_dict().items():
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    for part in parts:
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()
