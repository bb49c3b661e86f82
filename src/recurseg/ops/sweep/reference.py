"""The C-LSTM sweep of PyraMiD-LSTM, written as the paper's equations (Stollenga et al. 2015, eq. 7-13).

Departures from the printed text: eq. 11 labels the output gate `c_t`, and the input gate's bias carries the
subscript of a recurrent weight; both are read as the obvious gate's own.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

State = tuple[Tensor, Tensor]


def sweep_direction(
    x: Tensor,
    weight_x: Tensor,
    weight_h: Tensor,
    bias_x: Tensor | None,
    bias_h: Tensor | None,
    *,
    axis: int,
    reverse: bool,
    state: State | None,
) -> tuple[Tensor, State]:
    """One C-LSTM over the planes of one axis: hidden states `(B, O, *spatial)` and the final `(h, c)`."""
    conv = F.conv1d if weight_x.dim() == 3 else F.conv2d
    planes = x.movedim(2 + axis, 0)  # (T, B, C, *plane)
    hidden: list[Tensor] = []
    for plane in planes.flip(0) if reverse else planes:
        z = conv(plane, weight_x, bias_x, padding="same")
        if state is not None:  # recurrent terms are left out on the first plane
            z = z + conv(state[0], weight_h, bias_h, padding="same")
        i, f, o, g = z.chunk(4, dim=1)
        c = g.tanh() * i.sigmoid()
        if state is not None:
            c = c + state[1] * f.sigmoid()
        state = o.sigmoid() * c.tanh(), c
        hidden.append(state[0])
    assert state is not None
    if reverse:
        hidden.reverse()
    return torch.stack(hidden).movedim(0, 2 + axis), state


def pyramid_sweep(
    x: Tensor,
    weight_x: Tensor,
    weight_h: Tensor,
    bias_x: Tensor | None = None,
    bias_h: Tensor | None = None,
    state: list[State] | None = None,
) -> tuple[Tensor, list[State]]:
    """Sum of the C-LSTMs of all directions; arguments as in `recurseg.ops.sweep.pyramid_sweep`."""
    sweeps = [
        sweep_direction(
            x,
            weight_x[d],
            weight_h[d],
            None if bias_x is None else bias_x[d],
            None if bias_h is None else bias_h[d],
            axis=d // 2,
            reverse=d % 2 == 1,
            state=None if state is None else state[d],
        )
        for d in range(len(weight_x))
    ]
    return torch.stack([hidden for hidden, _ in sweeps]).sum(0), [final for _, final in sweeps]
