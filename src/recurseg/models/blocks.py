"""Blocks of voxels held side by side in the channels of one position."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from recurseg.models.padding import pad_to_multiple


def fold(image: Float[Tensor, "b c *spatial"], block: Sequence[int]) -> Float[Tensor, "b c_voxels *positions"]:
    """Puts the voxels of a block, one size per spatial axis, side by side; pads the end to whole blocks."""
    if any(size > 1 for size in block):
        image = pad_to_multiple(image, block)
    for axis, size in enumerate(block, start=2):
        if size > 1:
            image = image.unflatten(axis, (-1, size)).movedim(axis + 1, 2).flatten(1, 2)
    return image


def unfold(logits: Float[Tensor, "b k_voxels *positions"], block: Sequence[int]) -> Float[Tensor, "b k *spatial"]:
    """The inverse of `fold`, its padding kept."""
    for axis, size in reversed(list(enumerate(block, start=2))):
        if size > 1:
            logits = logits.unflatten(1, (-1, size)).movedim(2, axis + 1).flatten(axis, axis + 1)
    return logits
