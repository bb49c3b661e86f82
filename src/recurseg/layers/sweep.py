"""The PyraMiD-LSTM layer: one C-LSTM a direction, all hidden states summed."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recurseg.ops.sweep import Memory, State, pyramid_sweep


class PyramidSweep(nn.Module):
    """Owns the weights of the 2·d sweeps over a d-dimensional image.

    Args:
        in_channels: Channels C of the input.
        width: Channels O of the hidden and cell states.
        kernel: Odd side of the convolutions within a plane.
        spatial_dims: 2 (planes are lines) or 3.
        double_bias: A bias for each of the two convolutions, as in the authors' code, instead of one a gate.
        forget_bias: Added to the forget gates' initial bias.
        dropout: Probability with which input channels are dropped (non-recurrent connections only).
        init: "uniform": all parameters U(−0.1, 0.1), the paper's; "orthogonal": recurrent weights orthogonal,
            input weights Glorot-uniform with the fan of one gate, biases zero.
        memory: "full", or "low" for training in a third of the memory with a third more arithmetic: gates are
            computed again for the backward pass.

    Source: Stollenga et al. 2015, eq. 7-13.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        *,
        kernel: int = 7,
        spatial_dims: int = 3,
        double_bias: bool = False,
        forget_bias: float = 0.0,
        dropout: float = 0.0,
        init: str = "uniform",
        memory: Memory = "full",
    ) -> None:
        super().__init__()
        self.memory: Memory = memory
        directions, window = 2 * spatial_dims, (kernel,) * (spatial_dims - 1)
        self.weight_x = nn.Parameter(torch.empty(directions, 4 * width, in_channels, *window))
        self.weight_h = nn.Parameter(torch.empty(directions, 4 * width, width, *window))
        self.bias_x = nn.Parameter(torch.empty(directions, 4 * width))
        self.bias_h = nn.Parameter(torch.empty(directions, 4 * width)) if double_bias else None
        dropouts = {2: nn.Dropout2d, 3: nn.Dropout3d}
        self.dropout = dropouts[spatial_dims](dropout)
        self.reset_parameters(init, forget_bias)

    @torch.no_grad()
    def reset_parameters(self, init: str, forget_bias: float) -> None:
        if init == "uniform":
            for parameter in self.parameters():
                nn.init.uniform_(parameter, -0.1, 0.1)
        else:
            width = self.weight_h.shape[2]
            for weights, fill in (
                (self.weight_x, nn.init.xavier_uniform_),
                (self.weight_h, nn.init.orthogonal_),
            ):
                for direction in weights:
                    for gate in direction.split(width):
                        fill(gate)
            nn.init.zeros_(self.bias_x)
            if self.bias_h is not None:
                nn.init.zeros_(self.bias_h)
        width = self.weight_h.shape[2]
        self.bias_x[:, width : 2 * width] += forget_bias

    def forward(
        self, x: Float[Tensor, "b c *spatial"], state: list[State] | None = None
    ) -> tuple[Float[Tensor, "b o *spatial"], list[State]]:
        """Returns the summed hidden states and each direction's final `(h, c)`."""
        x = self.dropout(x)
        return pyramid_sweep(x, self.weight_x, self.weight_h, self.bias_x, self.bias_h, state, self.memory)

    def hidden(self, x: Float[Tensor, "b c *spatial"], direction: int) -> Float[Tensor, "b o *spatial"]:
        """Returns the hidden states of one direction alone; those of all directions sum to the layer's output.

        Args:
            x: The layer's input.
            direction: `2·axis` scans the axis forward, `2·axis + 1` backward.
        """
        axis, backward = divmod(direction, 2)
        turned = x.movedim(2 + axis, 2)
        only = slice(direction, direction + 1)
        hidden, _ = pyramid_sweep(
            self.dropout(turned.flip(2) if backward else turned),
            self.weight_x[only],
            self.weight_h[only],
            self.bias_x[only],
            None if self.bias_h is None else self.bias_h[only],
            memory=self.memory,
        )
        return (hidden.flip(2) if backward else hidden).movedim(2, 2 + axis)
