"""What every model promises that reads a volume slab after slab, or a cine frame after frame: nothing changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recurseg.errors import ConfigError
from recurseg.inference.streaming import can_stream, stream
from recurseg.models import model_names

from .test_models import CHANNELS, build

LENGTH = 7
SLABS = (1, 3, 5, LENGTH + 2)
OF_VOLUMES = ("cross_modality", "encoder_decoder", "k_unet")
"""Models of volumes that stream; those of images do all."""

pytestmark = pytest.mark.parametrize("name", model_names())


def noise(*size: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(CHANNELS, *size)).astype(np.float32)


def whole(model: torch.nn.Module, image: np.ndarray, *, frames: bool = False) -> np.ndarray:
    """Probabilities `(K, n, H, W)` of all slices or frames at once."""
    batch = torch.from_numpy(image)
    slices = model.spatial_dims == 2 and not frames
    with torch.no_grad():
        logits = model(batch.transpose(0, 1) if slices else batch[None])
    return (logits.transpose(0, 1) if slices else logits[0]).softmax(dim=0).numpy()


def in_slabs(model: torch.nn.Module, image: np.ndarray, **settings) -> np.ndarray:
    starts, found = zip(*stream(model, image, **settings), strict=True)
    assert list(starts) == list(np.cumsum([0, *(part.shape[1] for part in found[:-1])]))
    return np.concatenate(found, axis=1)


def test_slices_in_slabs_are_as_they_are_whole_or_refused(name):
    model, image = build(name).eval(), noise(LENGTH, 9, 6)
    assert can_stream(model) == (model.task != "classification" and (model.spatial_dims == 2 or name in OF_VOLUMES))
    if not can_stream(model):
        with pytest.raises(ConfigError, match="volumes whole and cannot stream: predict in windows"):
            stream(model, image)
        return
    expected = whole(model, image)
    for slab in SLABS:
        found = in_slabs(model, image, slab=slab)
        np.testing.assert_allclose(found, expected, atol=5e-6)
        np.testing.assert_array_equal(found.argmax(axis=0), expected.argmax(axis=0))


def test_frames_in_slabs_are_as_they_are_whole_or_refused(name):
    model, image = build(name).eval(), noise(LENGTH, 9, 6)
    assert can_stream(model, frames=True) == (name == "gamma_net")
    if not can_stream(model, frames=True):
        with pytest.raises(ConfigError, match="cines whole and cannot stream"):
            stream(model, image, frames=True)
        return
    expected = whole(model, image, frames=True)
    for slab in SLABS:
        np.testing.assert_allclose(in_slabs(model, image, slab=slab, frames=True), expected, atol=5e-6)
