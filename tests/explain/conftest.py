"""Small models, scenes around one voxel, and packages of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from recurseg.explain import Scene
from recurseg.inference import PackageSpec, save_package
from recurseg.models import create_model
from recurseg.preprocess import Preprocessing


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


@pytest.fixture
def write_package(tmp_path: Path) -> Callable[..., Path]:
    """Writes a package of an untrained model; of a pyramid where no name is given."""

    def write(model: str = "pyramid_lstm", dims: int = 3, **options) -> Path:
        if model == "pyramid_lstm":
            options = {"widths": (2, 2), "pixelwise": (3,), "kernel": 3, "spatial_dims": dims} | options
        spec = PackageSpec(
            model=model,
            options=options,
            in_channels=1,
            num_classes=2,
            modalities=["image"],
            class_names=["cell", "membrane"],
            preprocessing=Preprocessing(),
            window=(4, 24, 24)[-dims:],
        )
        torch.manual_seed(0)
        return save_package(tmp_path / "package", create_model(model, in_channels=1, num_classes=2, **options), spec)

    return write


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """A TIFF volume of six sections of noise."""
    import tifffile

    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.random.default_rng(0).integers(0, 255, (6, 32, 30), dtype=np.uint8))
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A PNG image of noise."""
    from PIL import Image

    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 32), dtype=np.uint8)).save(path)
    return path
