"""Held-out images that were completed: as the network saw them, as it completed them, and as they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recurseg.data.case import Case, Volume
from recurseg.data.dataset import Dataset, open_dataset
from recurseg.data.formats import open_written
from recurseg.data.splits import split_cases
from recurseg.errors import RecursegError
from recurseg.evaluation.metrics import METRICS
from recurseg.evaluation.result import number
from recurseg.preprocess import Preprocessing
from recurseg.preprocess.orientation import orientation_of
from recurseg.report import layers
from recurseg.report.folder import RunFiles
from recurseg.report.numbers import main_metric, main_values

SHOWN = 8
"""Most images of each kind."""
LONGEST = 320
"""Pixels of the longest side of a picture."""
ROWS = ("altered", "image", "original")


@dataclass(frozen=True)
class Completions:
    """Some images side by side.

    Attributes:
        why: "worst", "median" or "best".
        columns: Of each image: its id, its score, and its pictures as seen, completed and original.
    """

    why: str
    columns: list[tuple[str, str, list[str]]]


def draw_completions(run: RunFiles) -> tuple[list[Completions], str, Dataset | None]:
    """Draws the worst, the median and the best images by the recipe's metric.

    Returns:
        The pictures, a sentence on why some are missing ("" where none is), and the data set where it is still there.
    """
    if run.evaluation is None or not run.predictions:
        return [], "The held-out images have not been completed, so there is nothing to draw.", None
    try:
        dataset = open_dataset(run.manifest.get("data", ""), as_=run.manifest.get("as"))
        seed = int(run.manifest.get("seed") or 0)
        held = split_cases(dataset, run.manifest.get("holdout"), seed=seed, labelled=False).validation
        images = {id: image for case in held for id, image in _images(run, case).items()}
        return _chosen(run, images), "", dataset
    except (RecursegError, OSError) as error:
        return [], f"Pictures need the data set, which could not be opened: {error}", None


def _chosen(run: RunFiles, images: dict[str, tuple[np.ndarray, ...]]) -> list[Completions]:
    assert run.evaluation is not None
    metric = main_metric(run.evaluation, run.metric) or run.metric
    scores = {id: v for id, v in main_values(run.evaluation, metric).items() if not np.isnan(v) and id in images}
    order = sorted(scores, key=lambda id: scores[id], reverse=METRICS[metric].better == "lower")
    shown = max(1, min(SHOWN, len(order) // 3))
    middle = (len(order) - shown) // 2
    picked = {"worst": order[:shown], "median": order[middle : middle + shown], "best": order[-shown:]}
    drawn = {tuple(ids): why for why, ids in reversed(picked.items()) if ids}
    return [
        Completions(why, [(id, f"{metric} {number(scores[id])}", _pictures(images[id])) for id in ids])
        for ids, why in reversed(drawn.items())
    ]


def _images(run: RunFiles, case: Case) -> dict[str, tuple[np.ndarray, ...]]:
    """Id of each image of a case → its pictures in the order of `ROWS`."""
    files = run.predictions.get("cases", {}).get(case.id)
    if files is None:
        raise RecursegError(f"case {case.id} has no completed images")
    volumes = [open_written(run.path / "validation" / files[kind]) for kind in ROWS[:2]]
    sections = [_sections(run, case, volume) for volume in (*volumes, case.reference)]
    if case.slice_axis is None:
        return {case.id: tuple(stack[0] for stack in sections)}
    return {f"{case.id}[{index}]": own for index, own in enumerate(zip(*sections, strict=True))}


def _sections(run: RunFiles, case: Case, volume: Volume) -> np.ndarray:
    """A volume on the case's grid as sections in the order in which they were numbered."""
    config = Preprocessing.model_validate(run.recipe.get("preprocessing") or {})
    array = volume.array[...].reshape(case.shape)
    oriented = orientation_of(case.reference, config.orientation).apply(array)
    return oriented.reshape(-1, *oriented.shape[-2:])


def _pictures(image: tuple[np.ndarray, ...]) -> list[str]:
    """Data URIs, all in the grey levels of the original."""
    low, high = float(image[-1].min()), float(image[-1].max())
    return [layers.grey(picture, low, high, (LONGEST, LONGEST), 80) for picture in image]
