"""Held-out images completed by a model: what was deleted, what the model makes of it, and how near it comes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from recurseg.data.case import Case
from recurseg.evaluation import Evaluation
from recurseg.evaluation.reconstruction import evaluate_images
from recurseg.inference.tiling import predict_probabilities
from recurseg.preprocess import Prepared
from recurseg.training.deletion import deleted_from_images
from recurseg.training.recipe import Recipe

TYPICAL = 256
"""Images from which the time that one takes is told."""


@dataclass(frozen=True)
class Completed:
    """Images of one case, each a section `(D, H, W)`, float32 in the unit range.

    Attributes:
        case: The case.
        original: As prepared.
        altered: With parts deleted: what the model sees.
        found: What it makes of them.
    """

    case: Case
    original: np.ndarray
    altered: np.ndarray
    found: np.ndarray

    def images(self) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """Id, reconstruction and original of each image."""
        single = self.case.slice_axis is None
        for number, pair in enumerate(zip(self.found, self.original, strict=True)):
            yield (self.case.id if single else f"{self.case.id}[{number}]", *pair)


def complete(
    model: nn.Module, held: Sequence[tuple[Case, Prepared]], recipe: Recipe, *, most: int | None = None
) -> Iterator[Completed]:
    """Deletes parts of images as a recipe says and lets a model complete them.

    Args:
        model: On its device.
        held: Cases with their prepared images; sections are numbered through all of them, which decides their places.
        recipe: Says what is deleted, whether known pixels are pasted back, windows and precision.
        most: Images after which to stop; None for all.

    Yields:
        The images of each case.
    """
    assert recipe.deletion is not None
    first = 0
    for case, prepared in held:
        original = _sections(prepared)[: None if most is None else most - first]
        if not len(original):
            return
        lost = deleted_from_images(original.shape, recipe.deletion, seed=recipe.seed, first=first)
        altered = np.where(lost, np.float32(0), original)
        (found,) = predict_probabilities(
            model,
            altered[None],
            window=recipe.prediction.window,
            overlap=recipe.prediction.overlap,
            precision=recipe.precision,
        )
        yield Completed(case, original, altered, np.where(lost, found, original) if recipe.paste_known else found)
        first += len(original)


def measure_completed(completed: Sequence[Completed], metrics: Sequence[str]) -> Evaluation:
    """Measures images one by one; each counts as a case."""
    modality = next(iter(completed[0].case.images))
    images = (image for of_case in completed for image in of_case.images())
    return evaluate_images(images, metrics=metrics, name=modality)


class Validator:
    """Measures a model on held-out images, of which parts are deleted.

    Args:
        held: Held-out cases with their prepared images.
        recipe: Says what is deleted, metric, windows, and how many images are watched while training.
    """

    def __init__(self, held: Sequence[tuple[Case, Prepared]], recipe: Recipe) -> None:
        self.held, self.recipe = held, recipe

    def __len__(self) -> int:
        return sum(len(_sections(prepared)) for _, prepared in self.held)

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """The recipe's metric, mean over images."""
        metric = self.recipe.validation.metric
        completed = list(complete(model, self.held, self.recipe, most=self.recipe.validation.cases))
        values = [row.value for row in measure_completed(completed, [metric]).rows]
        return {metric: float(np.nanmean(values))}

    def try_out(self, model: nn.Module) -> int:
        """Completes and measures a few images and says how many."""
        completed = list(complete(model, self.held, self.recipe, most=TYPICAL))
        return len(measure_completed(completed, [self.recipe.validation.metric]).rows)


def _sections(prepared: Prepared) -> np.ndarray:
    """The prepared image of one channel as sections (D, H, W)."""
    return prepared.image[0] if prepared.image.ndim == 4 else prepared.image
