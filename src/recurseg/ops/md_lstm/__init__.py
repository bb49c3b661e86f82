"""The multi-dimensional LSTM: at each voxel a cell that remembers one neighbour a spatial axis, in 2^d directions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from recurseg.ops.md_lstm import fast, reference


def md_lstm(
    x: Float[Tensor, "b c *spatial"],
    weight_x: Float[Tensor, "n gates_o c"],
    weight_h: Float[Tensor, "n d gates_o o"],
    bias: Float[Tensor, "n gates_o"],
) -> Float[Tensor, "b o *spatial"]:
    """Scans an image (d = 2) or a volume (d = 3) from all 2^d corners and sums the hidden states.

    From its corner, a direction reads every voxel together with the hidden and cell states of the d neighbours just
    before it, one along each axis; neighbours outside the image contribute nothing. Bit `d - 1 - axis` of a
    direction's number says whether it scans that axis backward: direction 0 starts at the first voxel. Gates stand
    in the order input, forget (one an axis), output, cell input: d + 3 in all.

    With d forget gates a cell can grow, by up to d a step; it is held within ±1e6, far beyond where its tanh is ±1.

    Args:
        x: Image, any size ≥ 1.
        weight_x: Input weights of the n = 2^d directions, (d + 3)·O rows each.
        weight_h: Recurrent weights, for each direction and axis.
        bias: Bias of the gates.

    Returns:
        The sum over directions (not their mean), as `recurseg.ops.sweep.pyramid_sweep` gives.

    Source: Graves & Schmidhuber 2009, Offline handwriting recognition with multidimensional recurrent neural
    networks, without its peepholes; the network that Stollenga et al. 2015 argues against (section 2).
    """
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    op = reference if traced else fast
    return op.md_lstm(x, weight_x, weight_h, bias)


def sequential_steps(spatial: Sequence[int]) -> int:
    """Returns how many steps of one layer wait for each other: the diagonals of the image, from corner to corner.

    Args:
        spatial: Size of the image. Directions wait for none of one another.
    """
    return sum(spatial) - len(spatial) + 1
