"""The stack that PyraMiD-LSTM and its rival share: recurrent layers, pixel-wise maps between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from recurseg.errors import ConfigError
from recurseg.models.blocks import fold, unfold
from recurseg.models.padding import crop_to


class RecurrentStack(nn.Module):
    """Layers that see the whole image, each followed by a pixel-wise linear map; tanh between layers.

    A subclass gives the layers and writes `forward` around `logits`.

    Args:
        name: Name of the model, for messages.
        layer: `(in_channels, width)` → one recurrent layer.
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        widths: Hidden channels of each layer.
        pixelwise: Channels of the pixel-wise maps between them, one fewer than `widths`.
        spatial_dims: 2 for images, 3 for volumes.
        block: Voxels per axis that one position holds, up to one entry an axis; shorter is filled with 1 in front.
        init: Of the pixel-wise maps: "uniform" U(−0.1, 0.1), or "orthogonal": Glorot-uniform, biases zero.
    """

    task = "segmentation"
    sequence_axis = None

    def __init__(
        self,
        name: str,
        layer: Callable[[int, int], nn.Module],
        *,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int],
        pixelwise: Sequence[int],
        spatial_dims: int,
        block: Sequence[int],
        init: str,
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ConfigError(f"{name}: spatial_dims {spatial_dims} is not 2 or 3")
        if len(pixelwise) != len(widths) - 1:
            raise ConfigError(f"{name}: {len(widths)} widths need {len(widths) - 1} pixelwise, not {len(pixelwise)}")
        if init not in ("uniform", "orthogonal"):
            raise ConfigError(f"{name}: init '{init}' is not 'uniform' or 'orthogonal'")
        if len(block) > spatial_dims or any(size < 1 for size in block):
            raise ConfigError(f"{name}: block {tuple(block)} needs up to {spatial_dims} sizes of at least 1")
        self.name = name
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.block = (1,) * (spatial_dims - len(block)) + tuple(block)
        voxels = torch.Size(self.block).numel()
        pointwise = {2: nn.Conv2d, 3: nn.Conv3d}[spatial_dims]
        inputs = (in_channels * voxels, *pixelwise)
        outputs = (*pixelwise, num_classes * voxels)
        self.sweeps = nn.ModuleList(layer(c, w) for c, w in zip(inputs, widths, strict=True))
        self.pixelwise = nn.ModuleList(pointwise(w, k, 1) for w, k in zip(widths, outputs, strict=True))
        for parameter in self.pixelwise.parameters():
            if init == "uniform":
                nn.init.uniform_(parameter, -0.1, 0.1)
            elif parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)
            else:
                nn.init.zeros_(parameter)

    def logits(
        self,
        image: Float[Tensor, "b c *spatial"],
        present: Bool[Tensor, "b c"] | None,
        run_layer: Callable[[int, Tensor], Tensor],
    ) -> Float[Tensor, "b k *spatial"]:
        """Computes the logits of an image of any size.

        Args:
            image: `(B, C, *spatial)`.
            present: Refused: a missing modality cannot be left out.
            run_layer: `(number of the layer, its input)` → its hidden states.

        Raises:
            ConfigError: If `present` is given, or the image has other axes or channels.
        """
        if present is not None:
            raise ConfigError(f"{self.name} needs every modality: call it without 'present'")
        if image.ndim != self.spatial_dims + 2 or image.shape[1] != self.in_channels:
            axes = ", ".join("DHW"[-self.spatial_dims :])
            raise ConfigError(f"{self.name} takes (B, {self.in_channels}, {axes}), not {tuple(image.shape)}")
        x = fold(image, self.block)
        for number, pixelwise in enumerate(self.pixelwise):
            x = pixelwise(run_layer(number, x.tanh() if number else x))
        return crop_to(unfold(x, self.block), image.shape[2:])
