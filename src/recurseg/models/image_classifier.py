"""The model contract around a network of classes of whole images: filters in front, a global maximum behind."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from recurseg.errors import ConfigError
from recurseg.models.padding import pad_to_multiple

WAVELENGTH = 0.8
"""Wavelength of the Gabor filters, of the window's side."""


class ImageClassifier(nn.Module):
    """Squared oriented filters, a network that joins what they see, and one answer for the image.

    The front end is a convolution that begins as Gabor filters, squared. The readout is a 1×1 convolution to a map of
    evidence for each class (two for a single logit), the maximum of each over the image, batch norm and a linear
    map. A single image has no statistics: in training it is normalised by the running ones.

    Args:
        name: Name of the model, for messages.
        context: Maps `(B, channels, H, W)` to the same.
        in_channels: Channels of the image.
        num_classes: Logits.
        channels: Filters.
        input_kernel: Odd side of the filters.
        stride: Pixels from one position of the filters to the next.
        gain: What images are multiplied with.

    Source: Linsley et al. 2018, the networks of the Pathfinder task.
    """

    task = "classification"
    spatial_dims = 2
    sequence_axis = None

    def __init__(
        self,
        name: str,
        context: nn.Module,
        *,
        in_channels: int,
        num_classes: int,
        channels: int,
        input_kernel: int,
        stride: int,
        gain: float,
    ) -> None:
        super().__init__()
        if input_kernel % 2 == 0 or stride < 1:
            raise ConfigError(f"model '{name}': input_kernel {input_kernel} must be odd, stride {stride} at least 1")
        self.name, self.in_channels, self.gain = name, in_channels, gain
        self.filters = nn.Conv2d(in_channels, channels, input_kernel, stride, padding=input_kernel // 2)
        with torch.no_grad():
            self.filters.weight.copy_(gabor_filters(channels, input_kernel).unsqueeze(1) / in_channels)
            self.filters.get_parameter("bias").zero_()
        self.context = context
        evidence = max(2, num_classes)
        self.evidence = nn.Conv2d(channels, evidence, 1)
        self.norm = nn.BatchNorm1d(evidence)
        self.head = nn.Linear(evidence, num_classes)

    def forward(
        self,
        image: Float[Tensor, "b c h w"],
        state: None = None,
        *,
        present: Bool[Tensor, "b c"] | None = None,
        return_state: bool = False,
    ) -> Float[Tensor, "b k"] | tuple[Float[Tensor, "b k"], None]:
        """Computes the logits of whole images.

        Args:
            image: Images of any size ≥ 1.
            state: Refused: an image is seen whole.
            present: Refused: a missing modality cannot be left out.
            return_state: Whether to return `(logits, None)`, the form of the models that carry a state.

        Returns:
            Logits `(B, K)`.

        Raises:
            ConfigError: If `state` or `present` is given, or the image has other axes or channels.
        """
        if state is not None:
            raise ConfigError(f"model '{self.name}' sees an image whole: call it without 'state'")
        if present is not None:
            raise ConfigError(f"model '{self.name}' needs every modality: call it without 'present'")
        if image.ndim != 4 or image.shape[1] != self.in_channels:
            raise ConfigError(f"model '{self.name}' takes (B, {self.in_channels}, H, W), not {tuple(image.shape)}")
        image = pad_to_multiple(image, (1, 1), positions=2)
        maps = self.context(self.filters(self.gain * image).float().square())
        strongest = self.evidence(maps).amax((2, 3))  # (B, evidence)
        norm = self.norm if len(image) > 1 else self._norm_of_one
        logits = self.head(norm(strongest.float()))
        return (logits, None) if return_state else logits

    def _norm_of_one(self, x: Tensor) -> Tensor:
        norm = self.norm
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)


def gabor_filters(count: int, side: int) -> Float[Tensor, "count side side"]:
    """Oriented filters of zero mean and norm 1: angles spread over half a turn, each even (cosine) and odd (sine)."""
    axis = torch.arange(side, dtype=torch.float32) - side // 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    envelope = torch.exp(-(x.square() + y.square()) / (2 * (side / 5) ** 2))
    filters = []
    for number in range(count):
        angle = math.pi * (number // 2) / math.ceil(count / 2)
        along = x * math.cos(angle) + y * math.sin(angle)
        wave = torch.cos(2 * math.pi * along / (WAVELENGTH * side) - (number % 2) * math.pi / 2)
        carried = envelope * wave
        carried = carried - envelope * carried.mean() / envelope.mean()
        filters.append(carried / carried.norm().clamp_min(1e-6))
    return torch.stack(filters)
