"""A prediction and its reference on one grid: the same sections, shape and place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from recurseg.data.case import Deferred, Volume
from recurseg.data.grid import same_place
from recurseg.errors import ConfigError, DataError
from recurseg.evaluation.pairing import sections_of
from recurseg.evaluation.sources import Labelled


def align(
    prediction: Labelled, reference: Labelled, spacing: Sequence[float] | None, sections: str | None
) -> tuple[Labelled, Labelled]:
    """Puts a prediction and its reference on the same sections and checks that they share a grid.

    Args:
        prediction: Of the whole stack, or of the sections alone.
        reference: Its geometry holds.
        spacing: Millimetres per voxel, one number an axis (the time axis may be left out), instead of what the files
            say.
        sections: "16-19" restricts both to these sections; None takes those that the prediction's id names.

    Returns:
        Both, under the reference's id.

    Raises:
        DataError: Shapes or places differ.
        ConfigError: A spacing or a range of sections that does not fit.
    """
    grid = reference.case.reference if reference.case and reference.case.images else reference.volume
    if spacing is not None:
        own, time = list(spacing), grid.time_axis
        if time is not None and len(own) == 3:
            own.insert(time, grid.spacing[time])
        if len(own) != len(grid.shape):
            raise ConfigError(f"case {reference.id} has {len(grid.shape)} axes, spacing {tuple(spacing)} does not")
        grid = replace(grid, spacing=tuple(own), spacing_known=True)
    elif not grid.spacing_known and prediction.volume.spacing_known:
        grid = replace(grid, spacing=prediction.volume.spacing, spacing_known=True)
    shared: dict[str, Any] = {
        "spacing": grid.spacing, "spacing_known": grid.spacing_known, "stack_axis": grid.slice_axis,
        "time_axis": grid.time_axis,
    }  # fmt: skip
    sections = sections or (sections_of(prediction.id) if sections_of(reference.id) is None else None)
    truth = replace(reference.volume, **shared)
    whole = truth.shape
    if sections is not None:
        truth = _restrict(truth, sections, reference.id)

    def onto(volume: Volume) -> Volume:
        volume = _as_section(volume, truth)
        if len(volume.shape) == len(whole):
            volume = replace(volume, **shared)
        if sections is not None and volume.shape == whole:
            volume = _restrict(volume, sections, prediction.id)
        _check_grid(volume, truth, prediction.id)
        return volume

    probability = prediction.probability and onto(prediction.probability)
    return (
        replace(prediction, id=reference.id, volume=onto(prediction.volume), probability=probability),
        replace(reference, volume=truth),
    )


def _as_section(volume: Volume, truth: Volume) -> Volume:
    """A 2-D file as the stack of one section that it stands for: formats drop the axis of a single page."""
    axis = truth.slice_axis
    if axis is None or volume.shape != truth.shape[:axis] + truth.shape[axis + 1 :] or truth.shape[axis] != 1:
        return volume
    flat = volume.array

    def read(index: Any) -> np.ndarray:
        return np.expand_dims(flat[...], axis)[index]

    array = Deferred(truth.shape, np.dtype(flat.dtype), read)
    return replace(volume, array=array, spacing=truth.spacing, stack_axis=axis)


def _restrict(volume: Volume, sections: str, id: str) -> Volume:
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", sections.strip())
    if not found:
        raise ConfigError(f"sections '{sections}': write a range such as 16-19, or one number")
    start, last = int(found[1]), int(found[2] or found[1])
    axis = volume.slice_axis
    if axis is None:
        raise ConfigError(f"case {id} is a single 2-D image: it has no sections to choose from")
    if not start <= last < volume.shape[axis]:
        raise ConfigError(f"case {id} has sections 0-{volume.shape[axis] - 1}, not {sections}")
    return volume.sections(start, last + 1)


def _check_grid(volume: Volume, truth: Volume, id: str) -> None:
    if volume.shape != truth.shape:
        raise DataError(
            f"case {id}: prediction {volume.path} has grid {volume.shape}, reference {truth.path} has {truth.shape}: "
            "predict on the image that the reference belongs to, or choose --sections"
        )
    if not same_place(volume, truth):
        raise DataError(
            f"case {id}: prediction {volume.path} lies elsewhere than reference {truth.path}: "
            "their affines differ; resample one onto the other"
        )
