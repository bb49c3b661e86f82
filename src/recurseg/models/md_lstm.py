"""The standard multi-dimensional LSTM as PyraMiD-LSTM's rival: the same stack, another recurrence."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from jaxtyping import Bool, Float
from torch import Tensor

from recurseg.errors import ConfigError
from recurseg.layers.md_lstm import MDLSTM
from recurseg.models.recurrent_stack import RecurrentStack
from recurseg.models.registry import register_model


@register_model("md_lstm", paper="Graves & Schmidhuber 2009")
class MultiDimensionalLSTM(RecurrentStack):
    """Segments images and volumes with the context of every voxel gathered by scans from all corners.

    Each layer sums 2^d scans (`MDLSTM`); a pixel-wise linear map follows it, with tanh between layers and without
    before the softmax. The stack and its defaults are PyraMiD-LSTM's, so that the two differ in the recurrence
    alone: here a cell sees single voxels, not planes, and has far fewer weights.

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        widths: Hidden channels of each recurrent layer.
        pixelwise: Channels of the pixel-wise maps between them, one fewer than `widths`.
        spatial_dims: 2 for images, 3 for volumes.
        block: Voxels per axis that one position of the scans holds: its input is their values side by side and
            its output their logits. One entry an axis; shorter is filled with 1 in front.
        forget_bias: Added to the forget gates' initial bias. In volumes cells grow where it is above −0.7.
        dropout: On the non-recurrent connections.
        init: "uniform" U(−0.1, 0.1), or "orthogonal".
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int] = (16, 32, 64),
        pixelwise: Sequence[int] = (25, 45),
        spatial_dims: int = 3,
        block: Sequence[int] = (),
        forget_bias: float = 0.0,
        dropout: float = 0.0,
        init: str = "uniform",
    ) -> None:
        layer = partial(MDLSTM, spatial_dims=spatial_dims, forget_bias=forget_bias, dropout=dropout, init=init)
        super().__init__(
            "md_lstm",
            layer,
            in_channels=in_channels,
            num_classes=num_classes,
            widths=widths,
            pixelwise=pixelwise,
            spatial_dims=spatial_dims,
            block=block,
            init=init,
        )

    def forward(
        self,
        image: Float[Tensor, "b c *spatial"],
        state: None = None,
        *,
        present: Bool[Tensor, "b c"] | None = None,
        return_state: bool = False,
    ) -> Float[Tensor, "b k *spatial"] | tuple[Float[Tensor, "b k *spatial"], None]:
        """Computes the logits of an image of any size.

        Args:
            image: `(B, C, H, W)` or `(B, C, D, H, W)`, as `spatial_dims` says.
            state: Refused: a scan from a corner has no plane to carry on from.
            present: Refused: a missing modality cannot be left out.
            return_state: Whether to return `(logits, None)`, the form of the models that carry a state.

        Returns:
            Logits `(B, K, *spatial)`.

        Raises:
            ConfigError: If `state` or `present` is given, or the image has other axes or channels.
        """
        if state is not None:
            raise ConfigError("md_lstm carries no state: call it without 'state'")
        logits = self.logits(image, present, lambda number, x: self.sweeps[number](x))
        return (logits, None) if return_state else logits
