"""The C-LSTM sweep: a convolutional LSTM over the planes of an axis, one for each of 2·d directions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from recurseg.ops.sweep import fast, reference

Memory = fast.Memory
State = tuple[Tensor, Tensor]


def pyramid_sweep(
    x: Float[Tensor, "b c *spatial"],
    weight_x: Float[Tensor, "n 4o c *kernel"],
    weight_h: Float[Tensor, "n 4o o *kernel"],
    bias_x: Float[Tensor, "n 4o"] | None = None,
    bias_h: Float[Tensor, "n 4o"] | None = None,
    state: list[State] | None = None,
    memory: Memory = "full",
) -> tuple[Float[Tensor, "b o *spatial"], list[State]]:
    """Sweeps a volume (d = 3) or an image (d = 2) in all 2·d directions and sums the hidden states.

    Direction `2·axis` scans the axis forward, `2·axis + 1` backward. At each plane the gates see the plane
    through `weight_x` and the previous plane's hidden state through `weight_h`, both convolutions within the
    plane, zero-padded to the same size. Gates stand in the order input, forget, output, cell input.

    Args:
        x: Image, any size ≥ 1.
        weight_x: Input weights of the n = 2·d directions; odd kernel, (d-1)-dimensional.
        weight_h: Recurrent weights.
        bias_x: Bias of the gates.
        bias_h: Second bias, of the recurrent convolution; without a `state` it is left out on the first plane,
            as is all that is recurrent.
        state: For each direction the hidden and cell plane to start from, `(B, O, *plane)` each.
        memory: "full" keeps all gates for the backward pass; "low" keeps hidden and cell states only and computes the
            gates once more, which takes a third of the memory and a third more arithmetic. Without effect where a
            graph is traced.

    Returns:
        The sum over directions (not their mean), and the final state of each direction in float32.

    Source: Stollenga et al. 2015, eq. 7-13.
    """
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    if traced:
        return reference.pyramid_sweep(x, weight_x, weight_h, bias_x, bias_h, state)
    return fast.pyramid_sweep(x, weight_x, weight_h, bias_x, bias_h, state, memory)


def sequential_steps(spatial: Sequence[int]) -> int:
    """Returns how many steps of one layer wait for each other: the planes of the longest axis.

    Args:
        spatial: Size of the image. Directions wait for none of one another.
    """
    return max(spatial)
