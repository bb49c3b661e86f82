"""Image completion: parts of an image are deleted, and the image itself is what is learned; no labels are needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, from_numpy
from torch.nn.functional import mse_loss

from recurseg.data.case import Case
from recurseg.data.dataset import Dataset
from recurseg.data.files import write_json
from recurseg.data.formats import write_like
from recurseg.errors import ConfigError, DataError
from recurseg.evaluation import METRICS, Evaluation
from recurseg.inference.files import as_stored
from recurseg.inference.index import INDEX_NAME, SCHEMA_VERSION
from recurseg.inference.predictor import Segmenter
from recurseg.preprocess import Prepared, restore_image
from recurseg.training.completion import Completed, Validator, complete, measure_completed
from recurseg.training.deletion import deleted_from_window
from recurseg.training.distributed import mean_of_all_ranks
from recurseg.training.recipe import Recipe
from recurseg.training.sampling import Arrays, Finish

ALTERED = "altered"
"""Folder of the held-out images as the network saw them."""


def require(dataset: Dataset) -> None:
    if not dataset.to_learn_from:
        raise DataError(f"{dataset.root}: no usable case")
    if any(case.time_axis is not None for case in dataset.to_learn_from):
        raise DataError(f"{dataset.root}: holds cines: image completion takes still images")
    if len(dataset.modalities) > 1:
        several = ", ".join(dataset.modalities)
        raise ConfigError(f"{dataset.root}: images of {several}: image completion takes one modality")


def meaning(dataset: Dataset, recipe: Recipe) -> dict[str, Any]:
    return {"num_classes": 1, "class_names": [], "label_map": {}}


def loss(name: str, cases: Sequence[Arrays], recipe: Recipe) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda found, image: mean_of_all_ranks(mse_loss(found, image), image.numel())


def arrays(prepared: Prepared, recipe: Recipe) -> list[Arrays]:
    image = prepared.image if prepared.image.ndim == 4 else prepared.image[:, None]
    return [Arrays(image, np.zeros(image.shape[1:], np.uint8))]  # no foreground: windows lie anywhere


def finish(recipe: Recipe) -> Finish:
    config, seed = recipe.deletion, recipe.seed
    assert config is not None

    def delete(image: Tensor, label: Tensor, number: int) -> tuple[Tensor, Tensor]:
        depth, height, width = label.shape
        lost = deleted_from_window((depth, height, width), config, seed=seed, number=number)
        return image.masked_fill(from_numpy(lost), 0), image

    return delete


def validator(held: Sequence[tuple[Case, Prepared]], recipe: Recipe, class_names: Sequence[str]) -> Validator:
    return Validator(held, recipe)


def measure(
    segmenter: Segmenter, held: Sequence[tuple[Case, Prepared]], recipe: Recipe, dataset: Dataset, out: Path
) -> Evaluation:
    completed = list(complete(segmenter.model, held, recipe))
    prepared = {case.id: own for case, own in held}
    cases = {done.case.id: _write(done, prepared[done.case.id], out) for done in completed}
    document = {"schema_version": SCHEMA_VERSION, "task": "regression", "model": segmenter.spec.model, "cases": cases}
    write_json(out / INDEX_NAME, document)
    return measure_completed(completed, [metric.id for metric in METRICS.values() if metric.takes == "image"])


def _write(done: Completed, prepared: Prepared, out: Path) -> dict[str, str]:
    """Writes a case's images as the network saw and as it completed them; what they are → file."""
    like, files = done.case.reference, {"image": out, ALTERED: out / ALTERED}
    written = {}
    for (kind, folder), image in zip(files.items(), (done.found, done.altered), strict=True):
        (restored,) = restore_image(image.reshape(prepared.image.shape), prepared)
        written[kind] = write_like(folder / done.case.id, as_stored(restored, like), like).relative_to(out).as_posix()
    return written
