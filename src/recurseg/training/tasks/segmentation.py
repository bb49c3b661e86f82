"""Segmentation: a class for every voxel, learned from labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from recurseg.data.case import Case
from recurseg.data.dataset import Dataset, require_trainable
from recurseg.evaluation import METRICS, Evaluation, evaluate
from recurseg.inference.files import predict_cases
from recurseg.inference.inputs import Inputs
from recurseg.inference.predictor import Segmenter
from recurseg.preprocess import Prepared
from recurseg.training.losses import LOSSES, Loss, balanced_cross_entropy, median_frequency_weights
from recurseg.training.recipe import Recipe
from recurseg.training.sampling import Arrays, Finish
from recurseg.training.validation import Validator

__all__ = ["arrays", "finish", "loss", "meaning", "measure", "require", "validator"]

require = require_trainable
validator = Validator


def meaning(dataset: Dataset) -> dict[str, Any]:
    return {
        "num_classes": len(dataset.class_names),
        "class_names": dataset.class_names,
        "label_map": dict(dataset.cases[0].label_map),
    }


def loss(name: str, cases: Sequence[Arrays]) -> Loss:
    if name == "balanced_cross_entropy":
        return balanced_cross_entropy(median_frequency_weights(case.label for case in cases))
    return LOSSES[name]


def arrays(prepared: Prepared) -> Arrays:
    image, label = prepared.image, prepared.label
    assert label is not None
    if label.ndim == 2:
        image, label = image[:, None], label[None]
    return Arrays(image, label, prepared.present)


def finish(recipe: Recipe) -> Finish:
    return lambda image, label, number: (image, label)


def measure(
    segmenter: Segmenter, held: Sequence[tuple[Case, Prepared]], recipe: Recipe, dataset: Dataset, out: Path
) -> Evaluation:
    cases = [case for case, _ in held]
    metric = METRICS[recipe.validation.metric]
    predict_cases(segmenter, Inputs(cases), out, probabilities=metric.takes == "membrane", overwrite=True)
    return evaluate(out, replace(dataset, cases=cases), also=[metric.id])
