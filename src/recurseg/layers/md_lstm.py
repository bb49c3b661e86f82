"""The multi-dimensional LSTM layer: one scan from each corner of the image, all hidden states summed."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recurseg.ops.md_lstm import md_lstm


class MDLSTM(nn.Module):
    """Owns the weights of the 2^d scans over a d-dimensional image.

    A cell adds d remembered cells, each through a forget gate of its own. With the gates half open, as without a
    forget bias, these sum to d / 2: in three dimensions cells then grow from voxel to voxel and saturate their
    tanh. `forget_bias=-log(d - 1)` begins with gates that sum to one.

    Args:
        in_channels: Channels C of the input.
        width: Channels O of the hidden and cell states.
        spatial_dims: 2 or 3.
        forget_bias: Added to the forget gates' initial bias.
        dropout: Probability with which input channels are dropped (non-recurrent connections only).
        init: "uniform": all parameters U(−0.1, 0.1), as in PyraMiD-LSTM; "orthogonal": recurrent weights
            orthogonal, input weights Glorot-uniform with the fan of one gate, biases zero.

    Source: Graves & Schmidhuber 2009, without peepholes.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        *,
        spatial_dims: int = 3,
        forget_bias: float = 0.0,
        dropout: float = 0.0,
        init: str = "uniform",
    ) -> None:
        super().__init__()
        directions, gates = 2**spatial_dims, (spatial_dims + 3) * width
        self.weight_x = nn.Parameter(torch.empty(directions, gates, in_channels))
        self.weight_h = nn.Parameter(torch.empty(directions, spatial_dims, gates, width))
        self.bias = nn.Parameter(torch.empty(directions, gates))
        dropouts = {2: nn.Dropout2d, 3: nn.Dropout3d}
        self.dropout = dropouts[spatial_dims](dropout)
        self.reset_parameters(init, forget_bias)

    @torch.no_grad()
    def reset_parameters(self, init: str, forget_bias: float) -> None:
        _, axes, _, width = self.weight_h.shape
        if init == "uniform":
            for parameter in self.parameters():
                nn.init.uniform_(parameter, -0.1, 0.1)
        else:
            for gate in self.weight_x.flatten(0, 1).split(width):
                nn.init.xavier_uniform_(gate)
            for gate in self.weight_h.flatten(0, 2).split(width):
                nn.init.orthogonal_(gate)
            nn.init.zeros_(self.bias)
        self.bias[:, width : (axes + 1) * width] += forget_bias

    def forward(self, x: Float[Tensor, "b c *spatial"]) -> Float[Tensor, "b o *spatial"]:
        """Returns the summed hidden states."""
        return md_lstm(self.dropout(x), self.weight_x, self.weight_h, self.bias)
