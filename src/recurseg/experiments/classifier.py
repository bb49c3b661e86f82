"""A classifier of digits, trained on unaltered ones: it says whether a completed digit is legible."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

EPOCHS, BATCH, RATE = 5, 128, 3e-3
"""Passes over the digits, digits an update, and the highest learning rate of one cycle."""


def digit_classifier(images: np.ndarray, labels: np.ndarray, folder: Path) -> nn.Module:
    """A small convolutional network for ten classes, trained once and kept.

    Args:
        images: float32 `(n, 28, 28)` in the range from 0 to 1.
        labels: Their digits, `(n,)`.
        folder: Where weights are kept, under a name made of the digits.

    Returns:
        The network in evaluation mode; the same digits give the same network on the same machine.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = _network()
        settings = repr((EPOCHS, BATCH, RATE, model)).encode()
        content = hashlib.sha256(images.tobytes() + labels.tobytes() + settings).hexdigest()
        path = folder / f"classifier-{content[:12]}.safetensors"
        if path.exists():
            model.load_state_dict(load_file(path))
            return model.eval()
        _train(model, torch.from_numpy(images)[:, None], torch.from_numpy(labels.astype(np.int64)))
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    save_file(model.state_dict(), part)
    os.replace(part, path)
    return model.eval()


def classify(model: nn.Module, images: np.ndarray) -> np.ndarray:
    """The digit that each image `(n, H, W)` is taken for, `(n,)`."""
    with torch.inference_mode():
        parts = torch.from_numpy(np.ascontiguousarray(images, np.float32))[:, None].split(500)
        return torch.cat([model(part).argmax(1) for part in parts]).numpy()


def _network() -> nn.Module:
    """Two convolutions and two linear maps; without normalisation, which pale or blurred digits would upset."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(49 * 64, 256),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(256, 10),
    )


def _train(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    random = torch.Generator().manual_seed(0)
    updates = EPOCHS * -(-len(images) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-2)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=updates)
    model.train()
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(images), generator=random).split(BATCH):
            optimizer.zero_grad()
            cross_entropy(model(images[chosen]), labels[chosen]).backward()
            optimizer.step()
            cycle.step()
