"""The state that a model carries as a file of tensors: data only, whole or not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from recurseg.data.files import write_bytes
from recurseg.errors import DataError

FORM = "form"


def save_state(path: Path, state: Any, **notes: int) -> None:
    """Writes a state.

    Args:
        path: File, whose folder is made.
        state: Tensors, whole numbers and None in tuples and lists, as models return them.
        notes: Whole numbers to keep with it.

    Raises:
        ResourceError: The folder cannot be written or the disk is full.
    """
    tensors: dict[str, Tensor] = {}
    form = json.dumps({"state": _taken(state, tensors), "notes": notes})
    write_bytes(path, save(tensors, {FORM: form}))


def load_state(path: Path, device: torch.device | None = None) -> tuple[Any, dict[str, int]]:
    """Reads what `save_state` wrote: the state, tuples where there were tuples or lists, and the notes.

    Args:
        path: The file.
        device: Where the tensors go; None: the CPU.

    Raises:
        DataError: The file is damaged or no state.
    """
    try:
        with safe_open(path, framework="pt", device=str(device or "cpu")) as file:
            found = json.loads(file.metadata()[FORM])
            tensors = [file.get_tensor(str(number)) for number in range(len(list(file.keys())))]
        return _filled(found["state"], tensors), found["notes"]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: no state to go on from ({reason}): delete it to begin anew") from None


def _taken(part: Any, tensors: dict[str, Tensor]) -> Any:
    """The form of a state; its tensors go into `tensors` by their numbers."""
    if isinstance(part, Tensor):
        number = len(tensors)
        tensors[str(number)] = part.detach().cpu().contiguous().clone()
        return {"tensor": number}
    return [_taken(each, tensors) for each in part] if isinstance(part, tuple | list) else part


def _filled(form: Any, tensors: list[Tensor]) -> Any:
    if isinstance(form, dict):
        return tensors[form["tensor"]]
    return tuple(_filled(each, tensors) for each in form) if isinstance(form, list) else form
