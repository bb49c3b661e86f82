"""Classification: one class for a whole image, which the data set gives as the case's target."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from recurseg.data.case import Case
from recurseg.data.dataset import Dataset
from recurseg.data.files import write_json
from recurseg.errors import DataError
from recurseg.evaluation import Evaluation
from recurseg.evaluation.targets import evaluate_targets
from recurseg.inference.classify import answer, classify, whole_image
from recurseg.inference.index import INDEX_NAME, SCHEMA_VERSION
from recurseg.inference.predictor import Segmenter
from recurseg.preprocess import Prepared
from recurseg.training.losses import LOSSES, Loss
from recurseg.training.recipe import Recipe
from recurseg.training.sampling import Arrays, Finish

TYPICAL = 64
"""Images from which the time that one takes is told."""


def require(dataset: Dataset) -> None:
    for case in dataset.to_learn_from:
        if case.target is None:
            raise DataError(
                f"case {case.id}: no class of the whole image to learn ({case.reference.path}): "
                "give its target in dataset.yaml, or take a model of segmentation"
            )


def meaning(dataset: Dataset, recipe: Recipe) -> dict[str, Any]:
    return {"num_classes": len(dataset.class_names), "class_names": dataset.class_names, "label_map": {}}


def loss(name: str, cases: Sequence[Arrays], recipe: Recipe) -> Loss:
    return LOSSES[name]


def arrays(prepared: Prepared, recipe: Recipe) -> list[Arrays]:
    image = whole_image(prepared.image, "")[:, None]
    nowhere = np.broadcast_to(np.uint8(0), image.shape[1:])  # no foreground: windows lie anywhere
    return [Arrays(image, nowhere, prepared.present, prepared.target)]


def finish(recipe: Recipe) -> Finish:
    return lambda image, label, number: (image, label)


class Validator:
    """Measures a model on held-out images.

    Args:
        held: Held-out cases with their prepared images.
        recipe: Says precision, and how many images are watched while training.
        class_names: Index = class.
    """

    def __init__(self, held: Sequence[tuple[Case, Prepared]], recipe: Recipe, class_names: Sequence[str]) -> None:
        self.held, self.recipe, self.class_names = held, recipe, class_names

    def __len__(self) -> int:
        return len(self.held)

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """The recipe's metric over the watched images."""
        metric = self.recipe.validation.metric
        found = self.measure(model, self.held[: self.recipe.validation.cases])
        return {metric: found.value(metric)}

    def try_out(self, model: nn.Module) -> int:
        """Classifies a few images and says how many."""
        self.measure(model, self.held[:TYPICAL])
        return len(self.held[:TYPICAL])

    def measure(self, model: nn.Module, held: Sequence[tuple[Case, Prepared]]) -> Evaluation:
        """The accuracy of some images."""
        probabilities = classify(model, (own.image for _, own in held), precision=self.recipe.precision)
        return _measured([case for case, _ in held], probabilities, self.class_names)


validator = Validator


def measure(
    segmenter: Segmenter, held: Sequence[tuple[Case, Prepared]], recipe: Recipe, dataset: Dataset, out: Path
) -> Evaluation:
    cases = [case for case, _ in held]
    probabilities = classify(segmenter.model, (own.image for _, own in held), precision=segmenter.precision)
    answers = {case.id: answer(segmenter.spec, own) for case, own in zip(cases, probabilities, strict=True)}
    document = {"task": recipe.task, "model": segmenter.spec.model, "class_names": segmenter.spec.class_names}
    write_json(out / INDEX_NAME, {"schema_version": SCHEMA_VERSION, **document, "cases": answers})
    return _measured(cases, probabilities, dataset.class_names)


def _measured(cases: Sequence[Case], probabilities: np.ndarray, class_names: Sequence[str]) -> Evaluation:
    found = {case.id: int(answer) for case, answer in zip(cases, probabilities.argmax(axis=1), strict=True)}
    expected = {case.id: case.target for case in cases if case.target is not None}
    return evaluate_targets(found, expected, class_names)
