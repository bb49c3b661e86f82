"""Any spatial size in, the same out: padding to what a network can halve, and the crop that undoes it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def pad_to_multiple(
    image: Float[Tensor, "b c *spatial"],
    multiple: Sequence[int],
    *,
    positions: int = 1,
    mode: Literal["replicate", "zero"] = "replicate",
) -> Float[Tensor, "b c *padded"]:
    """Pads the end of each spatial axis to the next multiple.

    Args:
        image: `(B, C, *spatial)`, two or three spatial axes, any size ≥ 1.
        multiple: The size of one coarsest position per spatial axis, such as 16 for four halvings.
        positions: Coarsest positions to have at least, all axes together; the last axis is padded for them.
            Normalisation needs 2: a single one has no variance.
        mode: "replicate" repeats the last voxel, "zero" adds zeros.

    Returns:
        The padded image; the image itself where nothing is missing.
    """
    spatial = image.shape[2:]
    counts = [-(-size // step) for size, step in zip(spatial, multiple, strict=True)]
    counts[-1] = max(counts[-1], -(-positions // prod(counts[:-1])))
    missing = [count * step - size for count, step, size in zip(counts, multiple, spatial, strict=True)]
    if not any(missing):
        return image
    ends = [pad for axis in reversed(missing) for pad in (0, axis)]
    return F.pad(image, ends, mode="replicate" if mode == "replicate" else "constant")


def crop_to(image: Float[Tensor, "b c *padded"], spatial: Sequence[int]) -> Float[Tensor, "b c *spatial"]:
    """Cuts the end of each spatial axis to the size given: the inverse of `pad_to_multiple`."""
    for axis, size in enumerate(spatial, start=2):
        image = image.narrow(axis, 0, size)
    return image
