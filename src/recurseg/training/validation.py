"""Held-out cases predicted whole, on their own grid, and measured with the real metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from recurseg.data.case import Case
from recurseg.data.labels import class_labels
from recurseg.evaluation import Evaluation, evaluate
from recurseg.evaluation.result import together
from recurseg.inference.tiling import predict_probabilities
from recurseg.preprocess import Prepared, restore
from recurseg.training.recipe import Recipe


@dataclass(frozen=True)
class Held:
    """A held-out case with all that measuring it takes."""

    case: Case
    prepared: Prepared
    reference: np.ndarray


class Validator:
    """Measures a model on held-out cases.

    Args:
        cases: Held-out cases with their prepared images.
        recipe: Says metric and windows.
        class_names: Index = class.
    """

    def __init__(self, cases: Sequence[tuple[Case, Prepared]], recipe: Recipe, class_names: Sequence[str]) -> None:
        self.recipe, self.class_names = recipe, list(class_names)
        self.cases = [Held(case, prepared, class_labels(case)) for case, prepared in cases]

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """The recipe's metric over the cases that are watched: the mean of cases, or all their voxels pooled."""
        metric, counted = self.recipe.validation.metric, self.cases[: self.recipe.validation.cases]
        return {metric: together([self.measure(model, held) for held in counted]).value(metric)}

    def __len__(self) -> int:
        return len(self.cases)

    def try_out(self, model: nn.Module) -> int:
        """Measures the case of middle size; 1."""
        self.measure(model, sorted(self.cases, key=lambda held: held.reference.size)[len(self.cases) // 2])
        return 1

    def measure(self, model: nn.Module, held: Held) -> Evaluation:
        """The recipe's metric of one case."""
        scores = predict_probabilities(
            model,
            held.prepared.image,
            window=self.recipe.prediction.window,
            overlap=self.recipe.prediction.overlap,
            precision=self.recipe.precision,
            present=held.prepared.present,
        )
        found = {held.case.id: restore(scores, held.prepared.geometry)}
        return evaluate(
            found,
            {held.case.id: held.reference},
            metrics=[self.recipe.validation.metric],
            spacing=held.case.spacing,
            class_names=self.class_names,
            not_evaluated=held.case.not_evaluated,
        )
