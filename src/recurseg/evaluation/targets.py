"""Whether whole images were given the right class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recurseg.evaluation.result import Evaluation


def agree(prediction: Any, reference: Any, spacing: Sequence[float] | None = None) -> bool:
    """Whether two classes are the same; `spacing` is not used."""
    return int(prediction) == int(reference)


def evaluate_targets(
    predicted: Mapping[str, int], expected: Mapping[str, int], class_names: Sequence[str]
) -> Evaluation:
    """Measures the classes of whole images; the mean over images is the accuracy.

    Args:
        predicted: Case id → class.
        expected: Case id → class, of the same cases.
        class_names: Index = class; each image counts for its own class.

    Returns:
        One row an image, under "all images".
    """
    from recurseg.evaluation.metrics import METRICS
    from recurseg.evaluation.result import Evaluation, Row

    metric = METRICS["accuracy"]
    rows = [
        Row(case, "all images", metric.id, metric(predicted[case], target), "") for case, target in expected.items()
    ]
    return Evaluation(rows, tags={case: [class_names[target].replace(" ", "_")] for case, target in expected.items()})
