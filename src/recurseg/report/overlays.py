"""Held-out cases as pictures: the worst and the median one, section by section."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recurseg.data.case import IGNORE, Case
from recurseg.data.dataset import Dataset, open_dataset
from recurseg.data.formats import open_volume
from recurseg.data.labels import class_labels
from recurseg.data.splits import split_cases
from recurseg.errors import RecursegError
from recurseg.evaluation.metrics import METRICS
from recurseg.evaluation.result import number
from recurseg.report import layers
from recurseg.report.folder import RunFiles
from recurseg.report.numbers import main_metric, main_values
from recurseg.report.view import View, view_of

CASE_BYTES = 1_700_000
"""About how large the pictures of one case may become in the page."""

MARGIN = 4
"""Pixels kept around what the crop keeps."""


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
        sections: One dictionary a section: name, images by modality, layers, share of wrong pixels.
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
    reference = class_labels(case).astype(np.uint8)
    prediction = _prediction(run, case)
    if prediction.shape != reference.shape:
        raise RecursegError(f"its prediction has the grid {prediction.shape}, its label {reference.shape}")
    images = {name: np.asarray(volume.array[...]) for name, volume in case.images.items()}
    for detail in DETAILS:
        pictures = _draw_with(detail, case, why, score, reference, prediction, images)
        if _size(pictures) <= CASE_BYTES:
            break
    return pictures


def _draw_with(detail: Detail, case, why, score, reference, prediction, images) -> CasePictures:
    view = view_of(case.reference)
    shown = _Sections(case.id, view, reference, prediction, detail.sections)
    box = _content([view.section(a, i) for i in shown.indices for a in (reference, prediction, *images.values())])
    height, width = (side.stop - side.start for side in box)
    size = _size_of_layers(height, width, view, detail.layer)
    ranges = {name: _window(array) for name, array in images.items()}
    pictures = CasePictures(
        id=case.id,
        why=why,
        score=score,
        modalities=list(images),
        ratio=round(width * view.pixel[1] / (height * view.pixel[0]), 4),
        letters=view.letters,
        start=shown.worst,
        note=shown.note,
        multiclass=max(np.max(reference, where=reference != IGNORE, initial=0), prediction.max()) > 1,
        ignored=bool((reference == IGNORE).any()),
    )
    limits = (detail.image, detail.image)
    for index, wrong in zip(shown.indices, shown.wrong, strict=True):
        truth, found = view.section(reference, index)[box], view.section(prediction, index)[box]
        pictures.sections.append(
            {
                "name": shown.name(index),
                "wrong": round(wrong, 5),
                "images": {
                    name: layers.grey(view.section(array, index)[box], *ranges[name], limits, detail.quality)
                    for name, array in images.items()
                },
                "reference": layers.outline(truth, layers.REFERENCE, size, 4),
                "prediction": layers.outline(found, layers.PREDICTION, size, 2),
                "errors": layers.errors(truth, found, size),
            }
        )
    return pictures


class _Sections:
    """Which sections of a case are drawn: evenly over those with any foreground, the worst among them."""

    def __init__(self, id: str, view: View, reference: np.ndarray, prediction: np.ndarray, most: int) -> None:
        self.flat = view.slice_axis is None
        self.total = 1 if view.slice_axis is None else reference.shape[view.slice_axis]
        found = re.search(r"\[(\d+)-\d+\]$", id)
        self.first = int(found[1]) if found else 0
        counted = reference != IGNORE
        shares = _by_section(counted & (reference != prediction), view) / np.maximum(_by_section(counted, view), 1)
        used = np.flatnonzero(_by_section((counted & (reference > 0)) | (prediction > 0), view))
        used = used if len(used) else np.arange(self.total)
        candidates = np.arange(used[0], used[-1] + 1)
        even = candidates[np.unique(np.linspace(0, len(candidates) - 1, most).round().astype(int))]
        worst = int(candidates[np.argmax(shares[candidates])])
        if worst not in even:
            even[np.argmin(np.abs(even - worst))] = worst
        self.indices = [int(index) for index in even]
        self.wrong = [float(shares[index]) for index in self.indices]
        self.worst = self.indices.index(worst)
        self.note = self._note(len(candidates))

    def name(self, index: int) -> str:
        return "image" if self.flat else f"section {self.first + index}"

    def _note(self, candidates: int) -> str:
        if self.flat:
            return ""
        which = f"{len(self.indices)} of {self.total} sections" if len(self.indices) < self.total else "all sections"
        evenly = ", evenly spaced" if len(self.indices) < candidates else ""
        empty = ", those without any foreground left out" if candidates < self.total else ""
        return f"{which}{evenly}{empty}; counted from 0 as in the file; the one with most wrong pixels is shown first"


def _by_section(mask: np.ndarray, view: View) -> np.ndarray:
    if view.slice_axis is None:
        return np.array([mask.sum()])
    return mask.sum(axis=tuple(axis for axis in range(mask.ndim) if axis != view.slice_axis))


def _prediction(run: RunFiles, case: Case) -> np.ndarray:
    """Predicted classes on the case's grid."""
    entry = run.predictions.get("cases", {}).get(case.id)
    if entry is None:
        raise RecursegError("it has no prediction")
    path = Path(run.path / "validation" / entry["label"])
    label_map = {int(value): int(target) for value, target in run.predictions.get("label_map", {}).items()}
    found = open_volume(path)
    return class_labels(Case(case.id, {}, label=found, label_map=label_map)).astype(np.uint8)


def _window(array: np.ndarray) -> tuple[float, float]:
    """Values shown black and white: percentiles of the voxels that are not 0, of a sample of them."""
    sample = array.ravel()[:: max(1, array.size // 500_000)]
    sample = sample[np.isfinite(sample)] if sample.dtype.kind == "f" else sample
    inside = sample[sample != 0]
    if not inside.size:
        return 0.0, 1.0
    low, high = np.percentile(inside, [0.5, 99.5])
    return (min(float(low), 0.0) if (sample == 0).mean() > 0.2 else float(low)), float(high)


def _content(sections: list[np.ndarray]) -> tuple[slice, slice]:
    """The box that holds everything that is not 0, with a margin."""
    used = np.zeros(sections[0].shape, bool)
    for section in sections:
        used |= section != 0
    box = []
    for axis in (1, 0):
        filled = np.flatnonzero(used.any(axis=axis))
        length = used.shape[1 - axis]
        low, high = (filled[0], filled[-1] + 1) if len(filled) else (0, length)
        box.append(slice(max(0, int(low) - MARGIN), min(length, int(high) + MARGIN)))
    return box[0], box[1]


def _size_of_layers(height: int, width: int, view: View, longest: int) -> tuple[int, int]:
    """Rows and columns of a layer with square pixels, at most four times as fine as the image."""
    finest = min(view.pixel)
    tall, wide = height * view.pixel[0] / finest, width * view.pixel[1] / finest
    zoom = min(4.0, longest / max(tall, wide))
    return max(1, round(tall * zoom)), max(1, round(wide * zoom))


def _size(pictures: CasePictures) -> int:
    return sum(
        len(section["reference"]) + len(section["prediction"]) + len(section["errors"])
        + sum(len(image) for image in section["images"].values())
        for section in pictures.sections
    )  # fmt: skip
