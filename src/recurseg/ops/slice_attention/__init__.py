"""Slice attention: every slice along an axis takes a weighted sum of all slices to itself, one axis after another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from recurseg.ops.slice_attention import fast, reference


def slice_attention(
    x: Float[Tensor, "b c *spatial"],
    weight: Float[Tensor, "3 c c"],
    bias: Float[Tensor, "3 c"],
    alpha: Float[Tensor, " n"],
    axes: Sequence[int],
    *,
    mask: Bool[Tensor, "#b 1 *spatial"] | None = None,
    scaled: bool = False,
) -> tuple[Float[Tensor, "b c *spatial"], list[Float[Tensor, "b s s"]]]:
    """Lets the slices of an image attend to one another along each of `axes` in turn.

    For an axis with S slices, θ(x), φ(x) and g(x) are rows of C · (voxels of a slice) numbers, one row a slice;
    `A = softmax(θ φᵀ)` says how much each slice heeds each, and `x ← x + α A g`. The next axis sees the new x through
    the same three maps, so that after all axes every voxel has heard of every other.

    Args:
        x: Image or volume, any size ≥ 1.
        weight: Of θ, φ and g: 1×1×1 convolutions without loss of channels.
        bias: Of the same.
        alpha: How much of what it heard a slice takes up, one number for each of `axes`.
        axes: Spatial axes in the order of attention, 0 the first; one alone is the SA block of the paper.
        mask: False at padding, which neither asks, answers nor changes; a slice that is all padding has weight 0.
        scaled: Whether what goes into the softmax is divided by the square root of the numbers in a row (of the
            fullest slice where there is padding). The paper sums hundreds of thousands of products as they are,
            and its softmax is all but a choice.

    Returns:
        x afterwards, in its own precision, and the attention of each axis `(B, S, S)` in float32 (float64 for x in
        float64): rows are the slices that ask, and sum to 1, but those of padding are 0.

    Source: Zhang et al. 2019, eq. 1 and 2. Departures: the maps θ, φ, g are those of the released code, the text
    only reshapes; in the text's example a slice hears the others only and α weighs the slice itself, in eq. 1 and 2
    and here it is among those it hears and α weighs the answer.
    """
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    op = reference if traced else fast
    return op.slice_attention(x, weight, bias, alpha, axes, mask=mask, scaled=scaled)
