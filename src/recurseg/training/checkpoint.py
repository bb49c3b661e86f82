"""Checkpoints: all that a training needs to go on as if it had never stopped. safetensors and JSON, never pickle."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from recurseg.errors import DataError, ResourceError


@dataclass
class Progress:
    """Where a training stands.

    Attributes:
        step: Updates done.
        best_step: Step of the best validation so far; None before the first.
        best_value: Its value.
        stale: Validations since then.
        skipped: Updates left out in a row because loss or gradient was not finite.
        stopped: Whether early stopping ended the training.
    """

    step: int = 0
    best_step: int | None = None
    best_value: float | None = None
    stale: int = 0
    skipped: int = 0
    stopped: bool = False
    scaler: dict[str, Any] = field(default_factory=dict)


class Checkpoints:
    """The checkpoints of a run, one folder each, named by step.

    Args:
        folder: Where they are.
        keep_every: Steps whose multiples are kept for good.
    """

    def __init__(self, folder: Path, keep_every: int | None = None) -> None:
        self.folder, self.keep_every = folder, keep_every

    def path(self, step: int) -> Path:
        return self.folder / f"step-{step:07d}"

    def steps(self) -> list[int]:
        """Steps of the checkpoints there are, ascending."""
        return sorted(int(path.name.removeprefix("step-")) for path in self.folder.glob("step-*[0-9]"))

    def save(self, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
        """Writes a checkpoint and removes those that are neither the last, the best nor to be kept.

        Raises:
            ResourceError: If the disk is full or cannot be written.
        """
        final = self.path(progress.step)
        part = final.with_name(f".{final.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        state = optimizer.state_dict()
        try:
            part.mkdir(parents=True)
            save_file(_detached(model.state_dict()), part / "weights.safetensors")
            save_file(_flat(state["state"]), part / "optimizer.safetensors")
            (part / "state.json").write_text(json.dumps(asdict(progress) | {"groups": state["param_groups"]}))
            if final.exists():
                shutil.rmtree(final)
            os.replace(part, final)
        except (OSError, SafetensorError) as error:
            raise ResourceError(
                f"{final}: checkpoint cannot be written ({error}): free some space, then --resume"
            ) from error
        self._prune(progress)

    def load(self, step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
        """Puts model and optimiser in the state of a checkpoint.

        Raises:
            DataError: If the checkpoint is damaged or of another model.
        """
        path = self.path(step)
        try:
            state = json.loads((path / "state.json").read_text())
            groups = state.pop("groups")
            model.load_state_dict(load_file(path / "weights.safetensors"))
            tensors = load_file(path / "optimizer.safetensors")
            optimizer.load_state_dict({"state": _nested(tensors), "param_groups": groups})
            return Progress(**state)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(
                f"{path}: checkpoint cannot be used ({reason}): delete it to resume from an earlier one"
            ) from None

    def load_weights(self, step: int, model: nn.Module) -> None:
        """Gives the model the weights of a checkpoint."""
        model.load_state_dict(load_file(self.path(step) / "weights.safetensors"))

    def _prune(self, progress: Progress) -> None:
        for step in self.steps():
            kept = self.keep_every and step % self.keep_every == 0
            if not kept and step not in (progress.step, progress.best_step):
                shutil.rmtree(self.path(step), ignore_errors=True)


def _detached(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _flat(state: dict[int, dict[str, Tensor]]) -> dict[str, Tensor]:
    """Optimiser state by parameter number and name → by `number.name`."""
    return _detached({f"{index}.{name}": value for index, values in state.items() for name, value in values.items()})


def _nested(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor
    return state
