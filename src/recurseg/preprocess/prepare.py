"""A case on its way to the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from recurseg.data.case import Case, Volume
from recurseg.errors import ConfigError, DataError, did_you_mean
from recurseg.preprocess.config import Preprocessing
from recurseg.preprocess.crop import foreground_box, paste, whole_box
from recurseg.preprocess.equalise import clahe_sections
from recurseg.preprocess.fit import covering_factor, fit_centred
from recurseg.preprocess.geometry import Geometry
from recurseg.preprocess.intensity import clip_to_percentiles, normalise, value_range
from recurseg.preprocess.local_contrast import equalise_sections
from recurseg.preprocess.orientation import orientation_of
from recurseg.preprocess.resample import resample_linear, resample_nearest, scaled_shape, target_shape
from recurseg.preprocess.smooth import smooth_sections


@dataclass(frozen=True)
class Prepared:
    """What a network reads.

    Attributes:
        image: float32 `(C, *spatial)`, spatial = `(H, W)` or `(D, H, W)`; of a cine `(C, T, *spatial)`.
        label: int64 classes `(*spatial)`, 255 = ignore, of a cine `(T, *spatial)`; None where the case has no label.
        spacing: Millimetres per voxel in the order of `spatial`.
        geometry: The way back.
        ranges: Lowest and highest value of each channel before "unit" made them 0 and 1; empty otherwise.
        present: bool `(C,)`, which channels are there; the others are 0. None: all of them.
        target: Class of the whole image; None where there is none.
    """

    image: np.ndarray
    label: np.ndarray | None
    spacing: tuple[float, ...]
    geometry: Geometry
    ranges: tuple[tuple[float, float], ...] = ()
    present: np.ndarray | None = None
    target: int | None = None


def prepare(case: Case, config: Preprocessing, *, modalities: Sequence[str] | None = None) -> Prepared:
    """Reads a case and brings it to the form that networks take; a cine frame by frame.

    Args:
        case: Its images must lie on one grid.
        config: What to do, in this order: orientation, crop, clipping, smoothing, equalisation, local contrast,
            normalisation, resampling, size of the sections.
        modalities: Which of the data set's modalities, in their order; by default all. `config.channels` says what
            comes of them. Those that the case has no image of become zeros.

    Returns:
        Image, label and the way back.

    Raises:
        DataError: A modality is unknown or on another grid, an image has NaN or infinite voxels, or resampling is
            wanted where the spacing is not known.
        ConfigError: `crop_foreground` with a cine, whose frames would be cut to different boxes.
    """
    if case.time_axis is not None:
        return _prepare_cine(case, config, modalities)
    modalities = list(case.modalities or case.images) if modalities is None else list(modalities)
    volumes = {name: modality_of(case, name) for name in modalities if name not in case.missing}
    orientation = orientation_of(case.reference, config.orientation)
    oriented = [orientation.apply(_read(case, name, volume, config)) for name, volume in volumes.items()]
    image = np.stack(oriented)  # (C, *spatial)

    box = foreground_box(image) if config.crop_foreground else whole_box(image.shape[1:])
    image = image[(slice(None), *box)]
    by_name = dict(zip(volumes, image, strict=True))
    wanted = config.channels(modalities)
    channels = [_channel(by_name[name], config, equalise=equalise) for name, equalise in wanted if name in by_name]
    present = np.array([name in by_name for name, _ in wanted])
    image = np.zeros((len(present), *image.shape[1:]), np.float32)
    image[present] = [normalise(channel, config.normalise) for channel in channels]

    spacing = tuple(float(case.spacing[axis]) for axis in orientation.axes)
    resampled = resampled_shape(case, image.shape[1:], spacing, config)
    shape = resampled if config.in_plane_size is None else (*resampled[:-2], *config.in_plane_size)
    geometry = Geometry(case.shape, orientation, box, resampled, shape)
    return Prepared(
        image=np.ascontiguousarray(fit_centred(resample_linear(image, resampled), shape, 0)),
        label=prepare_label(case, geometry),
        spacing=tuple(mm * old / new for mm, old, new in zip(spacing, geometry.box_shape, resampled, strict=True)),
        geometry=geometry,
        ranges=tuple(value_range(channel) for channel in channels) if config.normalise == "unit" else (),
        present=None if present.all() else present,
        target=case.target,
    )


def _prepare_cine(case: Case, config: Preprocessing, modalities: Sequence[str] | None) -> Prepared:
    require_one_box(case, config)
    frames = [prepare(case.frame(number), config, modalities=modalities) for number in range(case.frames)]
    labels = [frame.label for frame in frames if frame.label is not None]
    return replace(
        frames[0],
        image=np.stack([frame.image for frame in frames], axis=1),
        label=np.stack(labels) if labels else None,
        geometry=replace(frames[0].geometry, time_axis=case.time_axis),
    )


def require_one_box(case: Case, config: Preprocessing) -> None:
    """Raises ConfigError where the frames of a cine would be cropped to different boxes."""
    if config.crop_foreground:
        raise ConfigError(
            f"case {case.id}: a cine is not cropped, as its frames would differ: "
            "set preprocessing.crop_foreground=false"
        )


def prepare_label(case: Case, geometry: Geometry) -> np.ndarray | None:
    """The classes of a case on the prepared grid.

    Args:
        case: With or without a label.
        geometry: Of the case's prepared image.

    Returns:
        int64 `(*spatial)`, of a cine `(T, *spatial)`, 255 = ignore; None without a label.

    Raises:
        DataError: The label lies on another grid or holds an unknown value.
    """
    if case.label is None:
        return None
    if geometry.time_axis is not None:
        labels = [prepare_label(case.frame(number), geometry.frame) for number in range(case.frames)]
        return np.stack([label for label in labels if label is not None])

    from recurseg.data.labels import class_labels

    if case.label.shape != geometry.stored_shape:
        raise DataError(
            f"case {case.id}: label grid {case.label.shape} differs from image grid {geometry.stored_shape}: "
            f"resample {case.label.path} to the image"
        )
    label = geometry.orientation.apply(class_labels(case))[geometry.box]
    label = fit_centred(resample_nearest(label, geometry.resampled), geometry.shape, 0)
    return np.ascontiguousarray(label, dtype=np.int64)


def restore_image(image: np.ndarray, prepared: Prepared) -> np.ndarray:
    """Brings an image from the unit range and the prepared grid back to the case's own intensities and grid.

    Args:
        image: `(C, *spatial)`, where 0 and 1 are the lowest and the highest value of the case.
        prepared: What `image` was made from, with its `ranges`.

    Returns:
        float32 `(C, *stored shape)`; outside a crop 0.
    """
    geometry, (low, high) = prepared.geometry, np.asarray(prepared.ranges, np.float32).T
    image = geometry.unfit(image, 0)
    values = [channel * (top - bottom) + bottom for channel, bottom, top in zip(image, low, high, strict=True)]
    whole = [paste(channel, geometry.box, geometry.oriented_shape, 0) for channel in values]
    return np.ascontiguousarray(geometry.orientation.undo(np.stack(whole)), dtype=np.float32)


def modality_of(case: Case, name: str) -> Volume:
    """The image of a modality. Raises DataError where there is none or it lies on another grid than the case."""
    if name not in case.images:
        raise DataError(f"case {case.id}: no image of modality '{name}'{did_you_mean(name, case.images)}")
    volume = case.images[name]
    if volume.shape != case.shape:
        raise DataError(
            f"case {case.id}: grid {volume.shape} of {volume.path} differs from {case.shape} of "
            f"{case.reference.path}: resample one to the other"
        )
    return volume


def _read(case: Case, name: str, volume: Volume, config: Preprocessing) -> np.ndarray:
    image = as_float(volume.array[...])
    bad = ~np.isfinite(image)
    if not bad.any():
        return image
    if config.replace_non_finite is None:
        raise non_finite_error(case, name, volume, int(bad.sum()), int(bad.argmax()))
    image[bad] = config.replace_non_finite
    return image


def as_float(values: np.ndarray) -> np.ndarray:
    """float32, infinite where a value is too large for it."""
    with np.errstate(over="ignore"):
        return np.asarray(values).astype(np.float32)


def non_finite_error(case: Case, name: str, volume: Volume, count: int, first: int) -> DataError:
    """For a modality with NaN or infinite voxels, `first` being the flat index of one."""
    where = tuple(int(index) for index in np.unravel_index(first, volume.shape))
    return DataError(
        f"case {case.id}: modality '{name}' ({volume.path}) has {count} NaN or infinite voxels, "
        f"the first at {where}: clean the file or train with --set preprocessing.replace_non_finite=0"
    )


def _channel(image: np.ndarray, config: Preprocessing, *, equalise: bool) -> np.ndarray:
    """A channel before it is normalised."""
    if config.clip_percentiles is not None:
        foreground = config.normalise == "foreground"
        image = clip_to_percentiles(image, *config.clip_percentiles, foreground=foreground)
    return filtered(image, config, equalise=equalise)


def filtered(image: np.ndarray, config: Preprocessing, *, equalise: bool) -> np.ndarray:
    """What happens to each section of a channel by itself, between clipping and normalising."""
    if config.smooth is not None:
        image = smooth_sections(image)
    if config.equalise is not None:
        image = clahe_sections(image)
    return equalise_sections(image) if equalise else image


def resampled_shape(
    case: Case, shape: tuple[int, ...], spacing: tuple[float, ...], config: Preprocessing
) -> tuple[int, ...]:
    """Shape of the grid to which a case is resampled, before sections are cut or filled up to one size."""
    if config.spacing is not None and any(mm is not None for mm in config.spacing):
        _require_spacing(case, len(shape), len(config.spacing))
        shape = target_shape(shape, spacing, config.spacing)
    elif config.in_plane_factor is not None:
        shape = scaled_shape(shape, config.in_plane_factor)
    if config.in_plane_size is not None and config.shrink_to_size:
        shape = scaled_shape(shape, covering_factor(shape[-2:], config.in_plane_size))
    return tuple(shape)


def _require_spacing(case: Case, axes: int, wanted: int) -> None:
    if wanted != axes:
        raise DataError(
            f"case {case.id}: {axes} axes, but preprocessing resamples {wanted}: "
            "predict images of the dimension that the model was trained on"
        )
    if not case.reference.spacing_known:
        raise DataError(
            f"case {case.id}: {case.reference.path} does not say its spacing, which resampling needs: "
            "write it under spacing in dataset.yaml, or give in_plane_factor instead"
        )
