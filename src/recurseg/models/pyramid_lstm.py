"""PyraMiD-LSTM: layers of 2·d convolutional LSTM sweeps, pixel-wise maps between them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from recurseg.errors import ConfigError
from recurseg.layers.sweep import PyramidSweep
from recurseg.models.padding import crop_to, pad_to_multiple
from recurseg.models.registry import register_model
from recurseg.ops.sweep import State


@register_model("pyramid_lstm", paper="Stollenga et al. 2015")
class PyramidLSTM(nn.Module):
    """Segments images and volumes with the context of every voxel gathered by sweeps along all axes.

    Each layer sums 2·d C-LSTMs (`PyramidSweep`); a pixel-wise linear map follows it, with tanh between layers
    and without before the softmax. The defaults are the paper's: 10,748,859 parameters at 5 channels and
    5 classes, 10,751,547 with `double_bias` (printed: 10,751,549).

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        widths: Hidden channels of each sweep layer.
        pixelwise: Channels of the pixel-wise maps between them, one fewer than `widths`.
        kernel: Odd side of the convolutions within a plane.
        spatial_dims: 2 for images, 3 for volumes.
        block: Voxels per axis that one position of the sweeps holds: its input is their values side by side and
            its output their logits. A departure from the paper, which has one voxel a position: (1, 2, 2) costs
            a quarter and lets the same kernel see twice as far. One entry an axis; shorter is filled with 1 in
            front.
        double_bias: Two biases a gate, as in the authors' code.
        forget_bias: Added to the forget gates' initial bias.
        dropout: On the non-recurrent connections.
        init: "uniform" U(−0.1, 0.1), the paper's, or "orthogonal".
    """

    task = "segmentation"
    sequence_axis = None

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int] = (16, 32, 64),
        pixelwise: Sequence[int] = (25, 45),
        kernel: int = 7,
        spatial_dims: int = 3,
        block: Sequence[int] = (),
        double_bias: bool = False,
        forget_bias: float = 0.0,
        dropout: float = 0.0,
        init: str = "uniform",
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ConfigError(f"pyramid_lstm: spatial_dims {spatial_dims} is not 2 or 3")
        if len(pixelwise) != len(widths) - 1:
            raise ConfigError(
                f"pyramid_lstm: {len(widths)} widths need {len(widths) - 1} pixelwise, not {len(pixelwise)}"
            )
        if kernel < 1 or kernel % 2 == 0:
            raise ConfigError(f"pyramid_lstm: kernel {kernel} must be odd")
        if init not in ("uniform", "orthogonal"):
            raise ConfigError(f"pyramid_lstm: init '{init}' is not 'uniform' or 'orthogonal'")
        if len(block) > spatial_dims or any(size < 1 for size in block):
            raise ConfigError(f"pyramid_lstm: block {tuple(block)} needs up to {spatial_dims} sizes of at least 1")
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.block = (1,) * (spatial_dims - len(block)) + tuple(block)
        voxels = torch.Size(self.block).numel()
        sweep = partial(
            PyramidSweep,
            kernel=kernel,
            spatial_dims=spatial_dims,
            double_bias=double_bias,
            forget_bias=forget_bias,
            dropout=dropout,
            init=init,
        )
        pointwise = {2: nn.Conv2d, 3: nn.Conv3d}[spatial_dims]
        inputs = (in_channels * voxels, *pixelwise)
        outputs = (*pixelwise, num_classes * voxels)
        self.sweeps = nn.ModuleList(sweep(c, w) for c, w in zip(inputs, widths, strict=True))
        self.pixelwise = nn.ModuleList(pointwise(w, k, 1) for w, k in zip(widths, outputs, strict=True))
        for parameter in self.pixelwise.parameters():
            if init == "uniform":
                nn.init.uniform_(parameter, -0.1, 0.1)
            elif parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)
            else:
                nn.init.zeros_(parameter)

    def forward(
        self,
        image: Float[Tensor, "b c *spatial"],
        state: list[list[State]] | None = None,
        *,
        present: Bool[Tensor, "b c"] | None = None,
        return_state: bool = False,
    ) -> Float[Tensor, "b k *spatial"] | tuple[Float[Tensor, "b k *spatial"], list[list[State]]]:
        """Computes the logits of an image of any size.

        Args:
            image: `(B, C, H, W)` or `(B, C, D, H, W)`, as `spatial_dims` says.
            state: For each layer and direction, the hidden and cell plane that the sweep starts from, as a
                previous call returned them.
            present: Refused: a missing modality cannot be left out.
            return_state: Whether to return the final states too.

        Returns:
            Logits `(B, K, *spatial)`, or those and the states.

        Raises:
            ConfigError: If `present` is given, or the image has other axes or channels.
        """
        if present is not None:
            raise ConfigError("pyramid_lstm needs every modality: call it without 'present'")
        if image.ndim != self.spatial_dims + 2 or image.shape[1] != self.in_channels:
            axes = ", ".join("DHW"[-self.spatial_dims :])
            raise ConfigError(f"pyramid_lstm takes (B, {self.in_channels}, {axes}), not {tuple(image.shape)}")
        x = _fold(_pad(image, self.block), self.block)
        states = []
        for layer, (sweep, pixelwise) in enumerate(zip(self.sweeps, self.pixelwise, strict=True)):
            if layer:
                x = x.tanh()
            x, final = sweep(x, None if state is None else state[layer])
            x = pixelwise(x)
            states.append(final)
        logits = crop_to(_unfold(x, self.block), image.shape[2:])
        return (logits, states) if return_state else logits


def _pad(image: Tensor, block: tuple[int, ...]) -> Tensor:
    return image if all(size == 1 for size in block) else pad_to_multiple(image, block)


def _fold(image: Tensor, block: tuple[int, ...]) -> Tensor:
    """`(B, C, *spatial)` → `(B, C·voxels, *spatial/block)`."""
    for axis, size in enumerate(block, start=2):
        if size > 1:
            image = image.unflatten(axis, (-1, size)).movedim(axis + 1, 2).flatten(1, 2)
    return image


def _unfold(logits: Tensor, block: tuple[int, ...]) -> Tensor:
    """The inverse of `_fold`."""
    for axis, size in reversed(list(enumerate(block, start=2))):
        if size > 1:
            logits = logits.unflatten(1, (-1, size)).movedim(2, axis + 1).flatten(axis, axis + 1)
    return logits
