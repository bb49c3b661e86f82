"""Which models read a volume slab after slab, or a cine frame after frame, and find what they find in it whole."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Streaming:
    """How a model of volumes reads slices slab after slab; its class attribute, or its own, `streaming`.

    Its `forward` takes the `state` that it returned for the slab before; what it says of a slab depends on no other
    slice, or on those that the state knows.

    Attributes:
        group: Slices that belong together, counted from the first: a slab holds whole groups, and the last group of a
            volume reaches back where it is short.
        both_ways: Whether a slice depends on those behind it too. Such a model has a method
            `behind(image, state=None, *, present=None)`: what `forward` must know of a slab to read the one in front
            of it, given the same of the slab behind; `forward` takes the pair of the state before and the one behind.
    """

    group: int = 1
    both_ways: bool = False


def streaming_of(model: nn.Module, *, frames: bool = False) -> Streaming | None:
    """How a model reads slab after slab; None where it must see a volume or a cine whole.

    Args:
        model: Of images or volumes. To a model of images every slice is an image of its own.
        frames: Whether it is to read the frames of a cine, as a model of time does, instead of slices.
    """
    if model.task == "classification":
        return None
    if frames:
        return Streaming() if model.sequence_axis == "time" else None
    return Streaming() if model.spatial_dims == 2 else getattr(model, "streaming", None)
