"""Segmentation: a class for every voxel, learned from labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from recurseg.data.case import IGNORE, Case
from recurseg.data.dataset import Dataset, require_trainable
from recurseg.data.series import frames_up_to
from recurseg.errors import ConfigError, DataError
from recurseg.evaluation import METRICS, Evaluation, evaluate
from recurseg.inference.files import predict_cases
from recurseg.inference.inputs import Inputs
from recurseg.inference.predictor import Segmenter
from recurseg.preprocess import Prepared
from recurseg.training.losses import (
    LOSSES,
    Loss,
    balanced_cross_entropy,
    exponential_weights,
    foreground_fraction,
    median_frequency_weights,
)
from recurseg.training.recipe import Recipe
from recurseg.training.sampling import Arrays, Finish
from recurseg.training.validation import Validator

__all__ = ["arrays", "finish", "loss", "meaning", "measure", "require", "validator"]

validator = Validator


def require(dataset: Dataset) -> None:
    if dataset.classifies:
        raise DataError(f"{dataset.root}: classes of whole images, no labels: take a model of classification")
    require_trainable(dataset)


def meaning(dataset: Dataset, recipe: Recipe) -> dict[str, Any]:
    classes = len(dataset.class_names)
    if recipe.one_logit and classes != 2:
        raise ConfigError(
            f"one_logit: is for one foreground class, {dataset.root} has {classes - 1}: name it in classes"
        )
    return {
        "num_classes": 1 if recipe.one_logit else classes,
        "class_names": dataset.class_names,
        "label_map": dict(dataset.cases[0].label_map),
    }


def loss(name: str, cases: Sequence[Arrays], recipe: Recipe) -> Loss:
    if name == "balanced_cross_entropy":
        return balanced_cross_entropy(median_frequency_weights(case.label for case in cases))
    if name == "exponential_cross_entropy":
        given = recipe.exponential
        fraction = foreground_fraction(case.label for case in cases) if given.fraction is None else given.fraction
        return balanced_cross_entropy(exponential_weights(fraction, as_printed=given.as_printed))
    return LOSSES[name]


def arrays(prepared: Prepared, recipe: Recipe) -> list[Arrays]:
    if prepared.geometry.time_axis is not None:
        return [Arrays(image, label) for image, label in labelled_frames(prepared, recipe)]
    image, label = prepared.image, prepared.label
    assert label is not None
    if label.ndim == 2:
        image, label = image[:, None], label[None]
    return [Arrays(image, label, prepared.present)]


def labelled_frames(prepared: Prepared, recipe: Recipe) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Image and label of each labelled frame `(D, H, W)`, or of the series `(T, H, W)` of each of its slices."""
    image, label = prepared.image, prepared.label
    assert label is not None
    if label.ndim == 3:
        image, label = image[:, :, None], label[:, None]
    frames = len(label)
    for frame in (number for number in range(frames) if (label[number] != IGNORE).any()):
        if recipe.sampling.frames == "each":
            yield image[:, frame], label[frame]
            continue
        series = frames_up_to(frame, recipe.stages[0].window[0], frames)
        yield from ((image[:, series, place], label[series, place]) for place in range(label.shape[1]))


def finish(recipe: Recipe) -> Finish:
    return lambda image, label, number: (image, label)


def measure(
    segmenter: Segmenter, held: Sequence[tuple[Case, Prepared]], recipe: Recipe, dataset: Dataset, out: Path
) -> Evaluation:
    cases = [case for case, _ in held]
    metric = METRICS[recipe.validation.metric]
    predict_cases(segmenter, Inputs(cases), out, probabilities=metric.takes == "membrane", overwrite=True)
    return evaluate(out, replace(dataset, cases=cases), also=[metric.id])
