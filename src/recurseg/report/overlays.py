"""Held-out cases as pictures: the worst and the median one, section by section."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recurseg.data.case import IGNORE, Case
from recurseg.data.classes import only_classes
from recurseg.data.dataset import Dataset, open_dataset
from recurseg.data.formats import open_written
from recurseg.data.labels import class_labels
from recurseg.data.splits import split_cases
from recurseg.errors import RecursegError
from recurseg.evaluation.metrics import METRICS
from recurseg.evaluation.result import number
from recurseg.report import layers
from recurseg.report.folder import RunFiles
from recurseg.report.numbers import main_metric, main_values
from recurseg.report.sections import Sections, content_box
from recurseg.report.view import view_of

CASE_BYTES = 1_700_000
"""About how large the pictures of one case may become in the page."""


@dataclass(frozen=True)
class Detail:
    """How finely a case is drawn: sections, longest side of image and layers, quality of the image."""

    sections: int
    image: int
    layer: int
    quality: int


DETAILS = (
    Detail(32, 640, 1024, 80),
    Detail(32, 512, 1024, 65),
    Detail(32, 512, 768, 50),
    Detail(20, 512, 640, 45),
    Detail(12, 448, 512, 40),
    Detail(6, 384, 384, 35),
)
"""Tried in this order until a case fits."""


@dataclass
class CasePictures:
    """One case, drawn.

    Attributes:
        id: The case.
        why: "worst case", "median case", ...
        score: Its main metric, in words.
        modalities: Names of the images.
        ratio: Width divided by height of a section, in mm.
        letters: What lies left, right, above, below; None where unknown.
        sections: One dictionary a section: name, images by modality, layers, share of wrong pixels and that in words.
        start: Index of the section with most wrong pixels.
        note: What the sections are.
        multiclass: Whether a foreground class can be taken for another.
        ignored: Whether some pixels are not counted.
    """

    id: str
    why: str
    score: str
    modalities: list[str]
    ratio: float
    letters: tuple[str, str, str, str] | None
    sections: list[dict[str, Any]] = field(default_factory=list)
    start: int = 0
    note: str = ""
    multiclass: bool = False
    ignored: bool = False


def draw_cases(run: RunFiles) -> tuple[list[CasePictures], str, Dataset | None]:
    """Draws the worst and the median held-out case.

    Returns:
        The pictures, a sentence on why some are missing ("" where none is), and the data set where it is still there.
    """
    if run.evaluation is None or not run.predictions:
        return [], "The held-out cases have not been predicted, so there is nothing to draw.", None
    try:
        dataset = open_dataset(run.manifest.get("data", ""), as_=run.manifest.get("as"))
        dataset = only_classes(dataset, run.recipe.get("classes") or ())
        seed = int(run.manifest.get("seed") or 0)
        split = split_cases(dataset, run.manifest.get("holdout"), seed=seed)
    except (RecursegError, OSError) as error:
        return [], f"Pictures need the data set, which could not be opened: {error}", None
    held = {case.id: case for case in split.validation}
    drawn, missing = [], ""
    for id, why, score in chosen_cases(run):
        if id not in held:
            missing = f"Case {id} is no longer among the held-out cases of the data set."
            continue
        try:
            drawn.append(_draw(run, held[id], why, score))
        except (RecursegError, OSError) as error:
            missing = f"Case {id} could not be drawn: {error}"
    return drawn, missing, dataset


def chosen_cases(run: RunFiles) -> list[tuple[str, str, str]]:
    """(case, why, score) of the worst and the median case by the main metric; both cases where there are two."""
    assert run.evaluation is not None
    metric = main_metric(run.evaluation, run.metric)
    if metric is None:
        return []
    values = main_values(run.evaluation, metric)
    defined = {case: value for case, value in values.items() if not math.isnan(value)}
    if not defined:
        return [(next(iter(values)), "first case", f"{metric} undefined")]
    higher = metric not in METRICS or METRICS[metric].better == "higher"
    order = sorted(defined, key=lambda case: defined[case] if higher else -defined[case])
    picked = [(order[0], "worst case" if len(order) > 1 else "the held-out case")]
    if len(order) > 1:
        picked.append((order[len(order) // 2], "median case" if len(order) > 2 else "better case"))
    return [(case, why, f"{metric} {number(defined[case])}") for case, why in picked]


def _draw(run: RunFiles, case: Case, why: str, score: str) -> CasePictures:
    reference, prediction = class_labels(case).astype(np.uint8), _prediction(run, case)
    if case.time_axis is not None and prediction.shape == reference.shape:
        frame = _worst_frame(case, reference, prediction)
        why = f"{why}, frame {frame}"
        reference, prediction = (
            np.take(array, [frame], case.time_axis).squeeze(case.time_axis) for array in (reference, prediction)
        )
        case = case.frame(frame)
    drawing = _Drawing(case, reference, prediction)
    for detail in DETAILS:
        chosen = drawing.sections(detail.sections)
        trial = chosen.indices[:: max(1, len(chosen.indices) // 3)]
        size = sum(_size(drawing.draw(index, chosen, detail)) for index in trial) / len(trial)
        if size * len(chosen.indices) <= CASE_BYTES:
            break
    return CasePictures(
        id=case.id,
        why=why,
        score=score,
        modalities=list(case.images),
        ratio=drawing.ratio,
        letters=drawing.view.letters,
        sections=[drawing.draw(index, chosen, detail) for index in chosen.indices],
        start=chosen.worst,
        note=chosen.note,
        multiclass=drawing.highest_class > 1,
        ignored=bool((drawing.reference == IGNORE).any()),
    )


def _worst_frame(case: Case, reference: np.ndarray, prediction: np.ndarray) -> int:
    """The labelled frame of a cine with most wrong pixels."""
    axis = case.time_axis or 0

    def wrong(frame: int) -> int:
        truth = reference.take(frame, axis)
        return int(((truth != prediction.take(frame, axis)) & (truth != IGNORE)).sum())

    return max(case.labelled_frames, key=wrong)


class _Drawing:
    """A case with all that its pictures are made of."""

    def __init__(self, case: Case, reference: np.ndarray, prediction: np.ndarray) -> None:
        if prediction.shape != reference.shape:
            raise RecursegError(f"its prediction has the grid {prediction.shape}, its label {reference.shape}")
        self.id, self.reference, self.prediction = case.id, reference, prediction
        self.view = view_of(case.reference)
        self.images = {name: np.asarray(volume.array[...]) for name, volume in case.images.items()}
        self.ranges = {name: _window(array) for name, array in self.images.items()}
        self.highest_class = max(np.max(reference, where=reference != IGNORE, initial=0), prediction.max())
        arrays = (reference, prediction, *self.images.values())
        indices = self.sections(DETAILS[0].sections).indices
        self.box = content_box([self.view.section(array, index) for index in indices for array in arrays])
        rows, columns = (side.stop - side.start for side in self.box)
        self.height, self.width = rows * self.view.pixel[0], columns * self.view.pixel[1]
        self.ratio = round(self.width / self.height, 4)

    def sections(self, most: int) -> Sections:
        return Sections(self.id, self.view, self.reference, self.prediction, most)

    def draw(self, index: int, chosen: Sections, detail: Detail) -> dict[str, Any]:
        """One section: image of each modality, layers, and how wrong it is."""
        size, limits = self._layer_size(detail.layer), (detail.image, detail.image)
        truth, found = self._picture(self.reference, index), self._picture(self.prediction, index)
        return {
            "name": chosen.name(index),
            "wrong": round(float(chosen.wrong[index]), 6),
            "told": chosen.told(index),
            "images": {
                name: layers.grey(self._picture(array, index), *self.ranges[name], limits, detail.quality)
                for name, array in self.images.items()
            },
            "reference": layers.outline(truth, layers.REFERENCE, size, 4),
            "prediction": layers.outline(found, layers.PREDICTION, size, 2),
            "errors": layers.errors(truth, found, size),
        }

    def _picture(self, array: np.ndarray, index: int) -> np.ndarray:
        return self.view.section(array, index)[self.box]

    def _layer_size(self, longest: int) -> tuple[int, int]:
        """Rows and columns of a layer with square pixels, at most four times as fine as the image."""
        finest = min(self.view.pixel)
        zoom = min(4.0 / finest, longest / max(self.height, self.width))
        return max(1, round(self.height * zoom)), max(1, round(self.width * zoom))


def _prediction(run: RunFiles, case: Case) -> np.ndarray:
    """Predicted classes on the case's grid."""
    entry = run.predictions.get("cases", {}).get(case.id)
    if entry is None:
        raise RecursegError("it has no prediction")
    path = Path(run.path / "validation" / entry["label"])
    label_map = {int(value): int(target) for value, target in run.predictions.get("label_map", {}).items()}
    found = open_written(path)
    return class_labels(Case(case.id, {}, label=found, label_map=label_map)).astype(np.uint8)


def _window(array: np.ndarray) -> tuple[float, float]:
    """Values shown black and white: percentiles of the voxels that are not 0, of a sample of them."""
    sample = array.ravel("K")[:: max(1, array.size // 500_000)]
    sample = sample[np.isfinite(sample)] if sample.dtype.kind == "f" else sample
    inside = sample[sample != 0]
    if not inside.size:
        return 0.0, 1.0
    low, high = np.percentile(inside, [0.5, 99.5])
    return (min(float(low), 0.0) if (sample == 0).mean() > 0.2 else float(low)), float(high)


def _size(section: dict[str, Any]) -> int:
    pictures = (section["reference"], section["prediction"], section["errors"], *section["images"].values())
    return sum(len(picture) for picture in pictures)
