"""Plans a recipe that fits the data, the minutes and the machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from recurseg.data.case import Case
from recurseg.data.dataset import As, Dataset, open_dataset
from recurseg.errors import ConfigError, DataError
from recurseg.preprocess import Preprocessing
from recurseg.preprocess.orientation import orientation_of
from recurseg.training.recipe import (
    Axis,
    CheckpointConfig,
    ModelConfig,
    OptimizerConfig,
    PredictionConfig,
    Recipe,
    SamplingConfig,
    ScheduleConfig,
    Stage,
    ValidationConfig,
)

DEFAULT_STEPS = 500
Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Facts:
    """What a plan is made from.

    Attributes:
        shape: Median prepared shape (D, H, W); D = 1 for images.
        spacing: Median millimetres per voxel in the same order.
        flat: Whether cases are images.
        anatomy: Whether cases have a place in the world, so that left is not right and up is not down.
        left_right: Which of D, H, W runs from left to right; None without a world.
        masked: Whether a large part of the voxels is exactly zero, as after skull-stripping.
        membranes: Whether a class is called membrane.
        modalities: How many a case has.
        frames: Median number of frames; 1 where nothing moves.
        minutes: For training; None where steps are given.
        gpu: Whether there is one.
    """

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    flat: bool
    anatomy: bool
    left_right: Axis | None
    masked: bool
    membranes: bool
    modalities: int
    frames: int
    minutes: float | None
    gpu: bool

    @property
    def anisotropy(self) -> float:
        """How many times coarser sections lie than pixels."""
        return self.spacing[0] / min(self.spacing[1:])


def plan(
    data: Path | str | Dataset,
    *,
    model: str = "pyramid_lstm",
    minutes: float | None = None,
    steps: int | None = None,
    as_: As | None = None,
) -> Recipe:
    """Writes the default recipe of a model for a data set.

    Args:
        data: A data set or its path.
        model: A name from `list_models()`.
        minutes: Time for training; widths follow it. The steps of the recipe are then only relative.
        steps: Updates, where no minutes are given.
        as_: How to read a folder of image files: "stack", "images" or "sequence".

    Returns:
        A recipe, with its reasons in `why`.

    Raises:
        ConfigError: If there is no such model, or it is not for such data.
        DataError: If the data set is not usable, or has no labels.
    """
    from recurseg.models import create_model, model_info

    dataset = data if isinstance(data, Dataset) else open_dataset(data, as_=as_)
    if not dataset.classifies and not any(case.label for case in dataset.to_learn_from):
        raise DataError(
            f"{dataset.root}: no labels to learn a segmentation from: add them, or complete images by a recipe of "
            "task regression, such as --recipe shamann/paper_mnist_bottom_half"
        )
    facts = look_at(dataset.cases, dataset.class_names, minutes)
    classified = dataset.classifies
    if classified and model_info(model).task != "classification":
        raise ConfigError(
            f"{dataset.root}: classes of whole images, and {model} is not for them: take one that is, such as "
            "--model hgru_classifier"
        )
    design = (_classifier if classified else _DESIGNS.get(model, _convolutional))(model, facts)
    create_model(model, in_channels=len(dataset.modalities), num_classes=len(dataset.class_names), **design.options)
    metric = "accuracy" if classified else "pixel_error:fraction@0.5" if facts.membranes else "dice"
    return Recipe(
        name=f"{model}/default",
        data=None if isinstance(data, Dataset) else str(Path(data).resolve()),
        why=[*_reasons(facts), *design.why],
        task="classification" if classified else "segmentation",
        model=ModelConfig(name=model, options=design.options),
        preprocessing=_preprocessing(facts),
        sampling=SamplingConfig(foreground=0) if classified else _sampling(facts).model_copy(update=design.sampling),
        loss="cross_entropy" if facts.membranes or classified else "dice_cross_entropy",
        optimizer=OptimizerConfig(name="adamw", lr=design.lr, weight_decay=1e-4),
        schedule=ScheduleConfig(name="cosine", warmup=20),
        stages=[Stage(steps=steps or DEFAULT_STEPS, window=design.window, batch=design.batch)],
        validation=ValidationConfig(metric=metric),
        checkpoint=CheckpointConfig(every=50),
        prediction=PredictionConfig(window=design.tile, frames=design.sampling.get("frames", "each")),
    )


def look_at(cases: Sequence[Case], class_names: Sequence[str], minutes: float | None) -> Facts:
    """Reads what a plan needs: headers, and the first image for its zeros."""
    import torch

    frames, cases = int(np.median([case.frames for case in cases])), [case.frame(0) for case in cases]
    first = cases[0]
    flat = first.slice_axis is None
    shapes, spacings = [], []
    for case in cases:
        axes = orientation_of(case.reference, "canonical").axes
        shapes.append([case.shape[axis] for axis in axes])
        spacings.append([case.spacing[axis] for axis in axes])
    shape, spacing = np.median(shapes, axis=0), np.median(spacings, axis=0)
    anatomy = first.affine is not None
    image = first.reference.array[...]
    return Facts(
        shape=_three(int(size) for size in shape),
        spacing=_three((float(mm) for mm in spacing), fill=1.0),
        flat=flat,
        anatomy=anatomy,
        left_right=_left_right(first) if anatomy and not flat else None,
        masked=bool(anatomy and (image == 0).mean() > 0.2),
        membranes="membrane" in class_names,
        modalities=len(first.modalities or first.images),
        frames=frames,
        minutes=minutes,
        gpu=torch.cuda.is_available(),
    )


def _left_right(case: Case) -> Axis:
    import nibabel

    axes = orientation_of(case.reference, "canonical").axes
    to_world = nibabel.orientations.io_orientation(case.affine)[:, 0]  # stored axis → world axis
    letters: tuple[Axis, ...] = ("D", "H", "W")
    return letters[[int(to_world[axis]) for axis in axes].index(0)]


@dataclass(frozen=True)
class _Design:
    options: dict[str, Any]
    window: tuple[int, int, int]
    batch: int
    tile: tuple[int, int, int]
    lr: float
    why: list[str]
    sampling: dict[str, Any] = field(default_factory=dict)


def _recurrent(model: str, facts: Facts) -> _Design:
    """Widths that see enough windows in the time; blocks of 2×2 pixels, so that sweeps reach twice as far."""
    tiers = [(6, (8, 12, 12)), (40, (16, 16, 16)), (240, (16, 24, 32)), (float("inf"), (16, 32, 64))]
    minutes = facts.minutes or 15
    widths = next(widths for most, widths in tiers if minutes * (20 if facts.gpu else 1) <= most)
    options: dict[str, Any] = {
        "widths": list(widths),
        "pixelwise": [max(width, 16) for width in widths[1:]],
        "block": [2, 2],
        "init": "orthogonal",
    }
    if model == "pyramid_lstm":
        lr = 5e-3
        options |= {"kernel": 5, "forget_bias": 1.0}
        cells = "kernels of 5 instead of 7, forget bias 1"
    else:
        lr = 1.25e-2  # the best of 2e-3, 5e-3 and 1.25e-2 on the EM stack
        axes = 2 if facts.flat else 3
        options["forget_bias"] = round(-math.log(axes - 1), 2)
        cells = f"forget bias {options['forget_bias']:g}: {axes} gates a cell that open wider together let it grow"
    if facts.flat:
        options["spatial_dims"] = 2
        window, tile, batch = (1, 192, 192), (1, 512, 512), 4
    elif facts.anisotropy >= 3:
        window, tile, batch = (4, 128, 128), (8, 256, 256), 1
    else:
        window, tile, batch = (16, 80, 80), (32, 160, 160), 1
    why = [
        f"widths {widths} fit {minutes:g} minutes; the paper's (16, 32, 64) cost about 25 s a step on two cores",
        f"blocks of 2×2 pixels instead of single pixels: a quarter of the cost a window, twice the reach; {cells}",
        "orthogonal recurrent weights, AdamW on the log-likelihood: the recipe of the paper "
        "(U(-0.1, 0.1), RMSprop, squared error) needs thousands of updates to get under way",
    ]
    return _Design(options, _within(window, facts), batch, _within(tile, facts), lr, why)


def _patch_reader(model: str, facts: Facts) -> _Design:
    """A whole image, or a large part of a volume, as about 13 × 13 or 6 × 6 × 6 patches."""
    volumes = not facts.flat and facts.anisotropy < 3
    if volumes:
        window, tile, batch, across = (64, 96, 96), (128, 192, 192), 1, 6
    else:
        (_, height, width), batch, across = facts.shape, 4, 13
        window, tile = (1, height, width), (1, 4 * height, 4 * width)
    window = _within(window, facts)
    patch = _patch_side(2 * max(window) / across)
    options: dict[str, Any] = {"patch": patch, "stride": patch // 2}
    if volumes:
        options["spatial_dims"] = 3
    clocks = math.prod(math.ceil(side / (patch // 2)) for side in window[0 if volumes else 1 :])
    why = [
        f"patches of {patch} at stride {patch // 2} cover a window in {clocks} clocks: the paper has 13 × 13",
    ]
    if model in ("shamann", "bi_mann"):
        options |= {"heads": 8, "slots": max(400, math.ceil(2 * clocks / 100) * 100)}
        why.append(f"8 heads instead of 32: a third of a step's cost; {options['slots']} slots hold every write")
    return _Design(options, window, batch, _within(tile, facts) if volumes else tile, 2e-3, why)


def _patch_side(least: float) -> int:
    """The smallest side of at least so many voxels that halves down to 5 to 8."""
    return min(side * 2**halvings for side in (5, 6, 7, 8) for halvings in range(2, 9) if side * 2**halvings >= least)


def _slice_reader(model: str, facts: Facts) -> _Design:
    """Sequences of three sections in training, as published; longer ones in prediction, as the network remembers."""
    window, tile = (3, 192, 192), (24, 256, 256)
    why = ["sequences of 3 sections, as published; predicted 24 at a time"]
    sampling: dict[str, Any] = {}
    if model == "cross_modality" and facts.modalities > 1:
        sampling["modality_dropout"] = 0.2
        why.append("each modality is left out of a fifth of the windows, so that it may be missing later")
    return _Design({}, _within(window, facts), 3, _within(tile, facts), 1e-3, why, sampling)


def _frame_reader(model: str, facts: Facts) -> _Design:
    """Still images as they are; of a cine, series of four frames that end at the one that is segmented."""
    still = _convolutional(model, facts)
    if facts.frames == 1:
        return still
    _, height, width = still.window
    series = min(4, facts.frames)
    why = [f"series of {series} frames of a slice that end at the labelled one: with 4 the thesis came best"]
    return _Design({}, (series, height, width), 2, (series, *still.tile[1:]), still.lr, why, {"frames": "series"})


def _classifier(model: str, facts: Facts) -> _Design:
    window = (1, *facts.shape[1:])
    return _Design({}, window, 32, window, 1e-3, ["whole images, as what decides may lie anywhere in them"])


def _convolutional(model: str, facts: Facts) -> _Design:
    from recurseg.models import model_info

    info = model_info(model)
    options: dict[str, Any] = {}
    choice = "spatial_dims" in info.options
    two = facts.flat or facts.anisotropy >= 3 if choice else info.spatial_dims == 2
    if choice:
        options["spatial_dims"] = 2 if two else 3
    if model == "monai_dynunet":
        options["spacing"] = [1.0, 1.0] if two else list(facts.spacing)
    if two:
        window, tile, batch = (1, 256, 256), (1, 512, 512), 4
        why = ["sections one by one: they lie far apart" if choice and not facts.flat else "the model takes images"]
    else:
        window, tile, batch = (32, 80, 80), (64, 160, 160), 1
        why = []
    return _Design(options, _within(window, facts), batch, _within(tile, facts), 2e-3, why)


_DESIGNS: dict[str, Callable[[str, Facts], _Design]] = {
    **dict.fromkeys(("pyramid_lstm", "md_lstm"), _recurrent),
    **dict.fromkeys(("shamann", "bi_mann", "bi_lstm", "no_memory"), _patch_reader),
    **dict.fromkeys(("cross_modality", "encoder_decoder", "k_unet"), _slice_reader),
    "gamma_net": _frame_reader,
}


def _within(window: tuple[int, int, int], facts: Facts) -> tuple[int, int, int]:
    """A window that reaches beyond the images in no axis; a square one where it will be turned."""
    depth, height, width = (min(size, extent) for size, extent in zip(window, facts.shape, strict=True))
    side = min(height, width)
    return (depth, height, width) if facts.anatomy or facts.flat else (depth, side, side)


def _three(values: Iterable[Number], *, fill: Number = 1) -> tuple[Number, Number, Number]:
    """(D, H, W) of two or three values; a missing D is `fill`."""
    *sections, height, width = values
    return (sections[0] if sections else fill), height, width


def _preprocessing(facts: Facts) -> Preprocessing:
    if facts.masked:
        return Preprocessing(normalise="foreground", crop_foreground=True)
    return Preprocessing(normalise="volume" if facts.anatomy or facts.flat else "slice")


def _sampling(facts: Facts) -> SamplingConfig:
    if facts.anatomy:
        flip: list[Axis] = [facts.left_right] if facts.left_right else []
        return SamplingConfig(foreground=0.5, flip=flip, rotate=10, scale=0.1, brightness=0.1, contrast=0.1)
    if facts.flat:
        return SamplingConfig(foreground=0.3, rotate=10, scale=0.1, brightness=0.1, contrast=0.1)
    return SamplingConfig(foreground=0.0, flip=["D", "H", "W"], right_angles=True, brightness=0.1, contrast=0.1)


def _reasons(facts: Facts) -> list[str]:
    shape = " × ".join(str(size) for size in facts.shape[facts.flat :])
    said = [f"{'images' if facts.flat else 'volumes'} of about {shape}"]
    if facts.masked:
        said.append("background is exactly zero: cropped, and intensities normalised over the rest")
    if facts.anatomy:
        said.append("anatomy: flipped from left to right only, turned and scaled a little")
    elif not facts.flat:
        said.append("a stack without a place in the world: any flip or quarter turn is as likely as the original")
    return said
