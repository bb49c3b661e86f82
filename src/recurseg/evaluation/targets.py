"""Whether whole images were given the right class."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recurseg.errors import DataError
from recurseg.evaluation.sources import INDEX_NAME

if TYPE_CHECKING:
    from recurseg.data.dataset import Dataset
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
    right = {case: float(agree(predicted[case], target)) for case, target in expected.items()}
    rows = [Row(case, "all images", metric.id, value, metric.unit) for case, value in right.items()]
    return Evaluation(rows, tags={case: [class_names[target].replace(" ", "_")] for case, target in expected.items()})


def read_answers(predictions: Any) -> dict[str, int] | None:
    """Case id → class of a folder in which whole images were classified; None for any other predictions.

    Raises:
        DataError: Its index cannot be read.
    """
    if not isinstance(predictions, str | Path):
        return None
    path = Path(predictions)
    index = path if path.name == INDEX_NAME else path / INDEX_NAME
    if not index.is_file():
        return None
    try:
        document = json.loads(index.read_text(encoding="utf-8"))
        if document.get("task") != "classification":
            return None
        return {case: int(answer["class"]) for case, answer in document["cases"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{index}: is no index of predictions ({error}): predict again") from None


def evaluate_answers(answers: Mapping[str, int], labels: Path | str | Dataset | Any) -> Evaluation:
    """Measures answers against the targets of a data set.

    Args:
        answers: Case id → class.
        labels: The data set or its path. Its cases without an answer are left out and counted in a note.

    Raises:
        DataError: It gives no classes of whole images, or an answer is to none of its cases.
    """
    from recurseg.data.dataset import open_dataset

    dataset = open_dataset(labels) if isinstance(labels, str | Path) else labels
    targets = {case.id: case.target for case in getattr(dataset, "cases", ()) if case.target is not None}
    if not targets:
        raise DataError("classes of whole images were predicted: name a data set that gives its cases' target")
    if strange := sorted(set(answers) - set(targets)):
        raise DataError(f"case {strange[0]}: predicted, but {dataset.root} has no such case with a target")
    expected = {case: target for case, target in targets.items() if case in answers}
    found = evaluate_targets(answers, expected, dataset.class_names)
    if left := len(targets) - len(expected):
        found.notes.append(f"{left} cases of {dataset.root} were not predicted")
    return found
