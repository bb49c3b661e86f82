"""PyraMiD-LSTM: layers of 2·d convolutional LSTM sweeps, pixel-wise maps between them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from jaxtyping import Bool, Float
from torch import Tensor

from recurseg.errors import ConfigError
from recurseg.layers.sweep import PyramidSweep
from recurseg.models.recurrent_stack import RecurrentStack
from recurseg.models.registry import register_model
from recurseg.ops.sweep import Memory, State


@register_model("pyramid_lstm", paper="Stollenga et al. 2015")
class PyramidLSTM(RecurrentStack):
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
        memory: "full", or "low" for training in less memory with a third more arithmetic.
    """

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
        memory: Memory = "full",
    ) -> None:
        if kernel < 1 or kernel % 2 == 0:
            raise ConfigError(f"pyramid_lstm: kernel {kernel} must be odd")
        if memory not in ("full", "low"):
            raise ConfigError(f"pyramid_lstm: memory '{memory}' is neither full nor low")
        sweep = partial(
            PyramidSweep,
            kernel=kernel,
            spatial_dims=spatial_dims,
            double_bias=double_bias,
            forget_bias=forget_bias,
            dropout=dropout,
            init=init,
            memory=memory,
        )
        super().__init__(
            "pyramid_lstm",
            sweep,
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
        finals = []

        def run_layer(number: int, x: Tensor) -> Tensor:
            x, final = self.sweeps[number](x, None if state is None else state[number])
            finals.append(final)
            return x

        logits = self.logits(image, present, run_layer)
        return (logits, finals) if return_state else logits
