"""What the tasks do differently in a training: one module a task, with the same functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from recurseg.data.case import Case
from recurseg.data.dataset import Dataset
from recurseg.evaluation import Evaluation
from recurseg.inference.predictor import Segmenter
from recurseg.preprocess import Prepared
from recurseg.training.recipe import Recipe
from recurseg.training.sampling import Arrays, Finish
from recurseg.training.tasks import classification, regression, segmentation

Held = Sequence[tuple[Case, Prepared]]
"""Held-out cases with their prepared images."""


class Validator(Protocol):
    """Measures a model on held-out cases, as `recipe` says."""

    recipe: Recipe

    def __len__(self) -> int:
        """Number of held-out cases."""
        ...

    def __call__(self, model: nn.Module, /) -> dict[str, float]:
        """The recipe's metric over the cases that are watched."""
        ...

    def try_out(self, model: nn.Module, /) -> int:
        """Measures a few typical cases and says how many, so that a caller can time it."""
        ...


class Task(Protocol):
    """The functions of a task's module."""

    def require(self, dataset: Dataset, /) -> None:
        """Makes sure that a data set can be trained on. Raises DataError or ConfigError where it cannot."""
        ...

    def meaning(self, dataset: Dataset, recipe: Recipe, /) -> dict[str, Any]:
        """What the network's channels are: `num_classes`, `class_names` and `label_map` of its package."""
        ...

    def arrays(self, prepared: Prepared, recipe: Recipe, /) -> list[Arrays]:
        """What windows are cut from: a prepared case, or the labelled frames of a cine."""
        ...

    def loss(self, name: str, cases: Sequence[Arrays], recipe: Recipe, /) -> Callable[[Tensor, Tensor], Tensor]:
        """A loss of (what the network gives, what it is to give) by its name; some look at the training cases."""
        ...

    def finish(self, recipe: Recipe, /) -> Finish:
        """What turns an augmented window into what the network sees and what it is to give."""
        ...

    def validator(self, held: Held, recipe: Recipe, class_names: Sequence[str], /) -> Validator: ...

    def measure(self, segmenter: Segmenter, held: Held, recipe: Recipe, dataset: Dataset, out: Path, /) -> Evaluation:
        """Writes the best model's answers for the held-out cases to a folder and measures them."""
        ...


TASKS: dict[str, Task] = {
    "segmentation": segmentation,
    "regression": regression,
    "classification": classification,
}
"""By the name that recipes and models use."""

__all__ = ["TASKS", "Held", "Task", "Validator"]
