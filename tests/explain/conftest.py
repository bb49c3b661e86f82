"""Small models and scenes around one voxel."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from recurseg.explain import Scene
from recurseg.models import create_model


def small_pyramid(dims: int, *, kernel: int = 3, **options) -> torch.nn.Module:
    """Two layers with weights large enough that nothing of the context vanishes."""
    torch.manual_seed(0)
    options = {"widths": (3, 2), "pixelwise": (4,), "kernel": kernel, "spatial_dims": dims} | options
    model = create_model("pyramid_lstm", in_channels=1, num_classes=2, **options).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5)
    return model


@pytest.fixture
def pyramid_scene() -> Callable[..., Scene]:
    """Makes a small PyraMiD-LSTM and a window of noise around a voxel."""

    def make(shape: tuple[int, ...], voxel: tuple[int, ...], **options) -> Scene:
        model = small_pyramid(len(shape), **options)
        return Scene(
            model=model,
            image=torch.randn(1, 1, *shape),
            voxel=voxel,
            target=1,
            class_names=["cell", "membrane"],
            modalities=["image"],
            spacing=(1.0,) * len(shape),
            planes=tuple([f"plane {index}" for index in range(size)] for size in shape),
            stored=voxel,
            whole=shape,
        )

    return make
