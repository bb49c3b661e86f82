"""Plans a recipe that fits the data, the minutes and the machine."""

from __future__ import annotations

from pathlib import Path

from recurseg.data.dataset import As, Dataset, open_dataset
from recurseg.errors import ConfigError, DataError
from recurseg.preprocess import Preprocessing
from recurseg.training.designs import design
from recurseg.training.facts import Facts, look_at
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
    designed = design(model, facts, classifies=classified)
    create_model(model, in_channels=len(dataset.modalities), num_classes=len(dataset.class_names), **designed.options)
    sampling = SamplingConfig(foreground=0) if classified else _sampling(facts)
    metric = "accuracy" if classified else "pixel_error:fraction@0.5" if facts.membranes else "dice"
    return Recipe(
        name=f"{model}/default",
        data=None if isinstance(data, Dataset) else str(Path(data).resolve()),
        why=[*_reasons(facts), *designed.why],
        task="classification" if classified else "segmentation",
        model=ModelConfig(name=model, options=designed.options),
        preprocessing=_preprocessing(facts),
        sampling=sampling.model_copy(update=designed.sampling),
        loss="cross_entropy" if facts.membranes or classified else "dice_cross_entropy",
        optimizer=OptimizerConfig(name="adamw", lr=designed.lr, weight_decay=1e-4),
        schedule=ScheduleConfig(name="cosine", warmup=20),
        stages=[Stage(steps=steps or DEFAULT_STEPS, window=designed.window, batch=designed.batch)],
        validation=ValidationConfig(metric=metric),
        checkpoint=CheckpointConfig(every=50),
        prediction=PredictionConfig(window=designed.tile, frames=designed.sampling.get("frames", "each")),
    )


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
