"""Held-out cases predicted whole, on their own grid, and measured with the real metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from torch import nn

from recurseg.data.case import IGNORE, Case
from recurseg.data.labels import class_labels
from recurseg.evaluation import Evaluation, evaluate
from recurseg.evaluation.overlap import soft_dice
from recurseg.evaluation.result import together
from recurseg.inference.cine import predict_prepared
from recurseg.preprocess import Prepared, restore
from recurseg.training.distributed import spread
from recurseg.training.recipe import Recipe

SOFT_DICE = "dice:soft_batch"


@dataclass(frozen=True)
class Held:
    """A held-out case with all that measuring it takes.

    Attributes:
        case: As opened.
        prepared: As the network sees it.
        reference: Its classes on its own grid, of a cine those of the labelled frames.
        frames: The labelled frames of a cine; None for a still case.
    """

    case: Case
    prepared: Prepared
    reference: np.ndarray
    frames: list[int] | None

    @classmethod
    def of(cls, case: Case, prepared: Prepared) -> Held:
        """What measuring a case takes; of a cine, its labelled frames."""
        reference, axis = class_labels(case), case.time_axis
        if axis is None:
            return cls(case, prepared, reference, None)
        frames = [frame for frame in range(case.frames) if (reference.take(frame, axis) != IGNORE).any()]
        return cls(case, prepared, reference.take(frames, axis), frames)

    def soft_dice(self, scores: np.ndarray) -> float:
        """Dice of probabilities `(K, *spatial)`, all voxels of the case together, mean over foreground classes."""
        label = self.prepared.label
        assert label is not None
        label = label if self.frames is None else label[self.frames]
        known = label != IGNORE
        return fmean(soft_dice(scores[c][known], label[known] == c) for c in range(1, len(scores)))


class Validator:
    """Measures a model on held-out cases.

    Args:
        cases: Held-out cases with their prepared images.
        recipe: Says metric and windows.
        class_names: Index = class.
    """

    def __init__(self, cases: Sequence[tuple[Case, Prepared]], recipe: Recipe, class_names: Sequence[str]) -> None:
        self.recipe, self.class_names = recipe, list(class_names)
        self.cases = [Held.of(case, prepared) for case, prepared in cases]

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """The recipe's metric over the cases that are watched: the mean of cases, or all their voxels pooled."""
        metric, counted = self.recipe.validation.metric, self.cases[: self.recipe.validation.cases]
        measured = spread(lambda held: self.measure(model, held), counted)
        values = {metric: together([evaluation for evaluation, _ in measured]).value(metric)}
        return values | ({SOFT_DICE: fmean(soft for _, soft in measured)} if self.recipe.validation.soft else {})

    def __len__(self) -> int:
        return len(self.cases)

    def try_out(self, model: nn.Module) -> int:
        """Measures the case of middle size; 1."""
        self.measure(model, sorted(self.cases, key=lambda held: held.reference.size)[len(self.cases) // 2])
        return 1

    def measure(self, model: nn.Module, held: Held) -> tuple[Evaluation, float]:
        """The recipe's metric of one case, and the Dice of its probabilities, mean over foreground classes."""
        prediction = self.recipe.prediction
        scores = predict_prepared(
            model,
            held.prepared,
            frames=prediction.frames,
            window=prediction.window,
            only=held.frames,
            overlap=prediction.overlap,
            precision=self.recipe.precision,
        )
        found = {held.case.id: restore(scores, held.prepared.geometry)}
        evaluation = evaluate(
            found,
            {held.case.id: held.reference},
            metrics=[self.recipe.validation.metric],
            spacing=held.case.frame(0).spacing,
            time_axis=held.case.time_axis or 0,
            class_names=self.class_names,
            not_evaluated=held.case.not_evaluated,
            clinical=False,
            lesions=False,
        )
        return evaluation, held.soft_dice(scores)
