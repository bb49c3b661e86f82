"""Small models with known answers, and packages of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from recurseg.inference import PackageSpec, save_package
from recurseg.models import create_model, register_model, registry
from recurseg.preprocess import Preprocessing


class Threshold(nn.Module):
    """Class 1 where the first channel is above `at`; knows nothing of its neighbours."""

    task = "segmentation"
    sequence_axis = None

    def __init__(self, *, in_channels: int, num_classes: int, at: float = 0.5, spatial_dims: int = 2) -> None:
        super().__init__()
        self.spatial_dims = spatial_dims
        self.at = nn.Parameter(torch.tensor(at))
        self.steepness = nn.Parameter(torch.ones(in_channels))
        self.num_classes = num_classes
        self.seen: list[tuple[int, ...]] = []

    def forward(
        self, image: Tensor, state: None = None, *, present: None = None, return_state: bool = False
    ) -> Tensor:
        assert image.ndim == self.spatial_dims + 2
        self.seen.append(tuple(image.shape))
        above = (image[:, :1] - self.at) * self.steepness[0]
        others = [torch.zeros_like(above) for _ in range(self.num_classes - 1)]
        return torch.cat([others[0], above, *others[1:]], dim=1) if others else above


@pytest.fixture(autouse=True, scope="module")
def threshold_model() -> Iterator[None]:
    """Registers the model for these tests alone."""
    known = set(registry._entries)
    register_model("threshold")(Threshold)
    yield
    for name in {"threshold", "mine", "sum"} - known:
        registry._entries.pop(name, None)


@pytest.fixture
def make_package(tmp_path: Path) -> Callable[..., Path]:
    """Writes a package of the threshold model; keywords change its spec."""

    def make(name: str = "package", **changes: object) -> Path:
        values = {
            "model": "threshold",
            "in_channels": 1,
            "num_classes": 2,
            "modalities": ["image"],
            "class_names": ["background", "cell"],
            "preprocessing": Preprocessing(normalise="none"),
            "window": (16, 16),
        } | changes
        spec = PackageSpec(**values)  # pyright: ignore[reportArgumentType]
        model = create_model(spec.model, in_channels=spec.in_channels, num_classes=spec.num_classes, **spec.options)
        return save_package(tmp_path / name, model, spec)

    return make
