"""The registry of metrics: an id, a unit, a definition and a policy for empty masks for every number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, Literal

import numpy as np

from recurseg.errors import ConfigError, did_you_mean
from recurseg.evaluation import (
    confusion,
    lesions,
    overlap,
    partition,
    reconstruction,
    surface,
    targets,
    thinning,
    warping,
)

EITHER_EMPTY_ZERO = "both empty: undefined; one empty: 0"
EITHER_EMPTY_DIAGONAL = "both empty: undefined; one empty: the diagonal of the image in mm"


@dataclass(frozen=True)
class Metric:
    """One number that says how well a prediction agrees with a reference.

    Calling it with `(prediction, reference, spacing)` gives the value, nan where it is undefined.

    Attributes:
        id: Name that says the definition.
        unit: Unit of the value; "" for a pure number.
        range: Smallest and largest possible value.
        better: Whether "higher" or "lower" values are better.
        definition: Formula in one line.
        empty: What happens where one mask or both are empty.
        source: Where the definition comes from.
        takes: "class" for masks of one class, "lesion" for those that are taken apart into lesions, "classes" for
            label maps of all classes, whose voxels are pooled over cases, "membrane" for a membrane probability or
            mask, "image" for reconstructed and original image, both in the range from 0 to 1, "target" for the
            classes of whole images.
        measure: `(prediction, reference, spacing) -> measurement`; metrics with the same one share its cost.
        score: Measurement → value.
        needs_mm: Whether it takes a spacing in mm.
        same_as: The metric that this is another name of, computed only where asked for; "" for its own.
    """

    id: str
    unit: str
    range: tuple[float, float]
    better: Literal["higher", "lower"]
    definition: str
    empty: str
    source: str
    takes: Literal["class", "lesion", "classes", "membrane", "image", "target"]
    measure: Callable[[np.ndarray, np.ndarray, Sequence[float] | None], Any]
    score: Callable[[Any], float]
    needs_mm: bool = False
    same_as: str = ""

    def __call__(
        self, prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float] | None = None
    ) -> float:
        """Returns the value for one pair of masks.

        Args:
            prediction: Mask of one class (bool or 0/1), any shape; for pooled metrics classes; for membrane
                metrics also a float probability of membrane, (H, W) or (sections, H, W).
            reference: The same on the same grid; integers may hold 255, which is not counted.
            spacing: Millimetres per voxel, one number an axis; only `*_mm` metrics use it.
        """
        return self.score(self.measure(prediction, reference, spacing))


INFINITE = float("inf")

LISTED: dict[str, Metric] = {
    metric.id: metric
    for metric in (
        Metric(
            id="dice", unit="", range=(0, 1), better="higher", takes="class",
            definition="2·TP / (2·TP + FP + FN)", empty=EITHER_EMPTY_ZERO,
            source="Dice 1945", measure=overlap.count, score=overlap.dice,
        ),
        Metric(
            id="iou", unit="", range=(0, 1), better="higher", takes="class",
            definition="TP / (TP + FP + FN)", empty=EITHER_EMPTY_ZERO,
            source="Jaccard 1901", measure=overlap.count, score=overlap.iou,
        ),
        Metric(
            id="precision", unit="", range=(0, 1), better="higher", takes="class",
            definition="TP / (TP + FP)", empty=EITHER_EMPTY_ZERO,
            source="positive predictive value", measure=overlap.count, score=overlap.precision,
        ),
        Metric(
            id="recall", unit="", range=(0, 1), better="higher", takes="class",
            definition="TP / (TP + FN)", empty=EITHER_EMPTY_ZERO,
            source="sensitivity", measure=overlap.count, score=overlap.recall,
        ),
        Metric(
            id="hd95_mm", unit="mm", range=(0, INFINITE), better="lower", takes="class", needs_mm=True,
            definition="max of the two directed 95th percentiles of surface distances",
            empty=EITHER_EMPTY_DIAGONAL, source="MRBrainS (Mendrik et al. 2015)",
            measure=surface.surface_distances, score=surface.hd95_mm,
        ),
        Metric(
            id="assd_mm", unit="mm", range=(0, INFINITE), better="lower", takes="class", needs_mm=True,
            definition="mean surface distance over the surface voxels of both masks",
            empty=EITHER_EMPTY_DIAGONAL, source="Heimann et al. 2009",
            measure=surface.surface_distances, score=surface.assd_mm,
        ),
        Metric(
            id="avd_percent", unit="%", range=(0, INFINITE), better="lower", takes="class",
            definition="100·|V_prediction − V_reference| / V_reference",
            empty="both empty: undefined; one empty: 100", source="MRBrainS (Mendrik et al. 2015)",
            measure=overlap.count, score=overlap.avd_percent,
        ),
        Metric(
            id="dice:pooled", unit="", range=(0, 1), better="higher", takes="classes",
            definition="voxel average: 2·TP / (2·TP + FP + FN) of each class but 0, voxels of all cases added first",
            empty="class on neither side: undefined; on one side: 0",
            source="voxel average of Zhang et al. 2019 (RSANet)", measure=confusion.confusion_of,
            score=confusion.Confusion.mean_dice,
        ),
        Metric(
            id="mean_iou:pooled", unit="", range=(0, 1), better="higher", takes="classes",
            definition="voxel average: mean over classes (0 too) of TP / (TP + FP + FN), voxels of all cases added",
            empty="class on neither side: left out; on one side: 0",
            source="MeanIU of Long et al. 2015", measure=confusion.confusion_of, score=confusion.Confusion.mean_iou,
        ),
        Metric(
            id="iou:pooled", unit="", range=(0, 1), better="higher", takes="classes",
            definition="voxel average: TP / (TP + FP + FN) of each class (0 too), voxels of all cases added first",
            empty="class on neither side: undefined; on one side: 0",
            source="Long et al. 2015", measure=confusion.confusion_of, score=confusion.Confusion.mean_iou,
        ),
        Metric(
            id="recall:pooled", unit="", range=(0, 1), better="higher", takes="classes",
            definition="voxel average: TP / (TP + FN) of each class (0 too), voxels of all cases added first",
            empty="class not in the reference: undefined",
            source="class accuracy of Long et al. 2015", measure=confusion.confusion_of,
            score=confusion.Confusion.mean_recall,
        ),
        Metric(
            id="pixel_error:fraction@0.5", unit="", range=(0, 1), better="lower", takes="membrane",
            definition="wrong pixels / all pixels, membrane where its probability reaches 0.5",
            empty="no counted pixel: undefined", source="ISBI-2012 EM challenge, squared pixel distance",
            measure=partition.pixel_counts, score=partition.error_fraction,
        ),
        Metric(
            id="pixel_error:best_f", unit="", range=(0, 1), better="lower", takes="membrane",
            definition="1 − max over thresholds of F(membrane pixels)",
            empty="no membrane on either side: undefined; on one side: 1",
            source="ISBI-2012 EM challenge, with membrane as the positive class",
            measure=partition.pixel_counts, score=partition.error_best_f,
        ),
        Metric(
            id="pixel_error:best_f_cell", unit="", range=(0, 1), better="lower", takes="membrane",
            definition="1 − max over thresholds of F(cell pixels)",
            empty="no cell on either side: undefined; on one side: 1",
            source="ISBI-2012 EM challenge, as its software counts (cell is the positive class)",
            measure=partition.pixel_counts, score=partition.error_best_f_cell,
        ),
        Metric(
            id="rand_error", unit="", range=(0, 1), better="lower", takes="membrane",
            definition="1 − max over thresholds of F(pixel pairs within a cell), reference membrane left out",
            empty="no cell pair on either side: undefined; on one side: 1",
            source="ISBI-2012 EM challenge, foreground-restricted Rand error",
            measure=partition.pair_counts, score=partition.rand_error,
        ),
        Metric(
            id="warping_error", unit="", range=(0, 1), better="lower", takes="membrane",
            definition="min over thresholds of pixels that differ after warping / all pixels",
            empty="no labelled pixel: undefined", source="Jain et al. 2010",
            measure=warping.warped_counts, score=warping.warping_error,
        ),
        Metric(
            id="warping_error:splits_mergers", unit="", range=(0, 1), better="lower", takes="membrane",
            definition="min over thresholds of pixels that merge or split cells after warping / all pixels",
            empty="no labelled pixel: undefined",
            source="ISBI-2012 EM challenge, minimum splits and mergers warping error",
            measure=warping.warped_counts, score=warping.error_splits_mergers,
        ),
        Metric(
            id="v_rand:thinned", unit="", range=(0, 1), better="higher", takes="membrane",
            definition="max over thresholds of 2·Σ p_ij² / (Σ s_j² + Σ t_i²), predicted membrane thinned",
            empty="no cell in the reference: undefined", source="Arganda-Carreras et al. 2015",
            measure=thinning.agreement, score=thinning.v_rand,
        ),
        Metric(
            id="v_info:thinned", unit="", range=(0, 1), better="higher", takes="membrane",
            definition="max over thresholds of 2·I(S; T) / (H(S) + H(T)), predicted membrane thinned",
            empty="no cell in the reference: undefined", source="Arganda-Carreras et al. 2015",
            measure=thinning.agreement, score=thinning.v_info,
        ),
        Metric(
            id="mse", unit="", range=(0, INFINITE), better="lower", takes="image",
            definition="mean over pixels of (reconstruction − original)², both from 0 to 1",
            empty="no empty image", source="Bercea et al. 2019 (SHAMANN), its loss",
            measure=reconstruction.squared_error, score=float,
        ),
        Metric(
            id="dice@0.5", unit="", range=(0, 1), better="higher", takes="image",
            definition="2·TP / (2·TP + FP + FN) of the pixels that reach 0.5 of the range",
            empty=EITHER_EMPTY_ZERO, source="Bercea et al. 2019 (SHAMANN); its threshold is not printed",
            measure=reconstruction.bright_counts, score=overlap.dice,
        ),
        Metric(
            id="accuracy", unit="", range=(0, 1), better="higher", takes="target",
            definition="1 where the class of the image is right, else 0", empty="no empty image",
            source="share of right answers, over cases", measure=targets.agree, score=float,
        ),
    )
}  # fmt: skip
"""The metrics that have one definition, by id."""

LISTED |= {
    name: replace(LISTED[id], id=name, same_as=id) for name, id in (("ppv", "precision"), ("sensitivity", "recall"))
}

LESION_RATES = {
    "tpr": ("higher", "found lesions / lesions of the reference", "LTPR of Carass et al. 2017"),
    "fpr": ("lower", "false lesions / predicted lesions", "LFPR of Carass et al. 2017"),
    "f1": ("higher", "harmonic mean of lesion_tpr and 1 − lesion_fpr", "F1 of Commowick et al. 2018 (MSSEG)"),
}


@cache
def lesion_metric(id: str) -> Metric:
    """Returns a metric of lesions of any rule, such as "lesion_tpr:any_overlap_26" or, of a size, with ":to_30mm3".

    Raises:
        KeyError: The text is no such id.
    """
    rate, *parts = id.removeprefix("lesion_").split(":")
    if not id.startswith("lesion_") or rate not in LESION_RATES or len(parts) not in (1, 2):
        raise KeyError(id)
    try:
        rule, size = lesions.Rule.read(parts[0]), lesions.Size.read(parts[1]) if parts[1:] else None
    except (ConfigError, ValueError):
        raise KeyError(id) from None
    better, definition, source = LESION_RATES[rate]
    worst = int(better == "lower")
    empty = f"none of the size: {worst} where one of the other side is unmatched, else undefined"
    return Metric(
        id=id, unit="", range=(0, 1), better="higher" if better == "higher" else "lower", takes="lesion",
        definition=f"{definition}; {rule.words}{f'; lesions {size} alone' if size else ''}",
        empty=empty if size else f"both empty: undefined; one empty: {worst}", source=source,
        measure=lesions.matcher(rule.connectivity), score=partial(lesions.rate, name=rate, rule=rule, size=size),
        needs_mm=size is not None,
    )  # fmt: skip


def lesion_metrics(rule: lesions.Rule) -> list[Metric]:
    """The lesion metrics of a rule, of lesions of every size."""
    return [lesion_metric(f"lesion_{rate}:{rule}") for rate in LESION_RATES]


class Metrics(Mapping[str, Metric]):
    """Metrics by id: those that are listed, and beside them lesion metrics of any rule and size."""

    def __init__(self, listed: Mapping[str, Metric]) -> None:
        self._listed = listed

    def __getitem__(self, id: str) -> Metric:
        return self._listed[id] if id in self._listed else lesion_metric(id)

    def __iter__(self) -> Iterator[str]:
        return iter(self._listed)

    def __len__(self) -> int:
        return len(self._listed)


METRICS = Metrics(LISTED | {metric.id: metric for metric in lesion_metrics(lesions.Rule())})
"""Every metric by id, in the order in which tables show them."""


def choose(ids: Iterable[str]) -> list[Metric]:
    """Returns metrics by id.

    Raises:
        ConfigError: For an unknown id, with the nearest known one.
    """
    chosen = []
    for name in ids:
        if name not in METRICS:
            raise ConfigError(f"unknown metric '{name}'{did_you_mean(name, METRICS)}")
        chosen.append(METRICS[name])
    if not chosen:
        raise ConfigError(f"no metric asked for; known: {', '.join(METRICS)}")
    return chosen
