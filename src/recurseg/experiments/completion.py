"""How completed digits come out: overlap, error and a classifier's accuracy over the test digits."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from recurseg.data.case import Case
from recurseg.data.dataset import Dataset
from recurseg.errors import DataError
from recurseg.evaluation.metrics import METRICS
from recurseg.evaluation.statistics import mean_interval, share_interval

ACCURACY = "classifier_accuracy"
"""Measure beside those of `METRICS` that take images: share of digits that the classifier gets right."""


class Estimate(BaseModel):
    """A mean over digits with its 95 % interval: bootstrap, or Wilson for shares."""

    mean: float
    low: float
    high: float


class Completion(BaseModel):
    """What the best model made of the test digits, each of which counts as a case."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    case: str
    """The stack of digits."""
    n: int
    """Digits in it."""
    completed: dict[str, Estimate]
    """Measure → its value for the completed digits."""
    altered: dict[str, Estimate]
    """The same for the digits as the network saw them."""
    unaltered: Estimate
    """Accuracy for the digits as they are."""
    right: str
    """Which completed digits the classifier gets right: a bit each, first digit first, in base64."""

    @property
    def legible(self) -> np.ndarray:
        """bool `(n,)`, whether the classifier gets each completed digit right."""
        return np.unpackbits(np.frombuffer(base64.b64decode(self.right), np.uint8), count=self.n).astype(bool)


def measure_completion(run: Path, dataset: Dataset, *, train: Sequence[Case], test: str, cache: Path) -> Completion:
    """Deletes parts of the test digits as a run's recipe says, lets its model complete them, and measures.

    Args:
        run: Run folder.
        dataset: Digits in IDX files with their labels.
        train: Cases whose unaltered digits train the classifier.
        test: Id of the case that is measured.
        cache: Where the classifier is kept.

    Raises:
        DataError: The labels are missing.
    """
    from recurseg.experiments.classifier import classify, digit_classifier
    from recurseg.inference import load
    from recurseg.preprocess import prepare
    from recurseg.training.completion import complete
    from recurseg.training.recipe_files import read_recipe

    recipe = read_recipe(run / "recipe.yaml")
    seen = [prepare(case, recipe.preprocessing).image[0] for case in train]
    classifier = digit_classifier(np.concatenate(seen), np.concatenate([_labels(dataset, c) for c in train]), cache)
    case = next(case for case in dataset.cases if case.id == test)
    labels = _labels(dataset, case)
    (done,) = complete(load(run).model, [(case, prepare(case, recipe.preprocessing))], recipe)
    right = {kind: classify(classifier, getattr(done, kind)) == labels for kind in ("original", "altered", "found")}
    return Completion(
        case=test,
        n=len(labels),
        completed=_measured(done.found, done.original, right["found"]),
        altered=_measured(done.altered, done.original, right["altered"]),
        unaltered=_share(right["original"]),
        right=base64.b64encode(np.packbits(right["found"]).tobytes()).decode("ascii"),
    )


def _labels(dataset: Dataset, case: Case) -> np.ndarray:
    """The digits of a case's sections."""
    from recurseg.data.formats.idx import read_labels
    from recurseg.data.layouts.mnist import labels_of

    path = labels_of(case.reference.path)
    if path is None:
        raise DataError(f"{case.reference.path}: no file of labels beside it: copy the four files of MNIST")
    labels = read_labels(path)
    sections = next(entry.sections for entry in dataset.manifest.cases if entry.id == case.id)
    return labels if sections is None else labels[sections[0] : sections[1] + 1]


def _measured(found: np.ndarray, original: np.ndarray, right: np.ndarray) -> dict[str, Estimate]:
    estimates = {ACCURACY: _share(right)}
    for metric in (metric for metric in METRICS.values() if metric.takes == "image"):
        values = np.array([metric(*pair) for pair in zip(found, original, strict=True)])
        values = values[~np.isnan(values)]
        low, high = mean_interval(values) or (np.nan, np.nan)
        estimates[metric.id] = Estimate(mean=float(values.mean()), low=low, high=high)
    return estimates


def _share(right: np.ndarray) -> Estimate:
    low, high = share_interval(int(right.sum()), len(right))
    return Estimate(mean=float(right.mean()), low=low, high=high)
