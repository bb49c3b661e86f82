"""Predictions from every subset of the modalities: what each is worth, and what they are on average."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recurseg.data.files import write_json
from recurseg.errors import DataError
from recurseg.evaluation.confusion import mean
from recurseg.evaluation.pooled import Key
from recurseg.evaluation.result import SCHEMA_VERSION, Evaluation, Summary
from recurseg.evaluation.scoring import evaluate
from recurseg.evaluation.sources import INDEX_NAME, label_files, labelled_dataset
from recurseg.evaluation.statistics import Resampled, resampled
from recurseg.evaluation.tables import subsets_table

if TYPE_CHECKING:
    from recurseg.data.dataset import Dataset

Subset = tuple[str, ...]
"""The modalities that a prediction was made from."""


@dataclass(frozen=True)
class Subsets:
    """One data set predicted from every subset of its modalities.

    Attributes:
        evaluations: Subset → evaluation; all modalities first, then by their number, each in the order of the first.
        cases: Ids of the cases that every subset predicted; means and intervals are over these.
        summaries: Subset → metric and class → mean over the cases.
        mean: Metric and class → mean over the subsets; for its interval the same cases are drawn for all of them.
        notes: What was decided or left out, one line each.
    """

    evaluations: dict[Subset, Evaluation]
    cases: list[str]
    summaries: dict[Subset, dict[Key, Summary]]
    mean: dict[Key, Resampled]
    notes: list[str]

    @property
    def modalities(self) -> Subset:
        """All modalities."""
        return next(iter(self.evaluations))

    @property
    def metrics(self) -> list[str]:
        """Ids of what was measured."""
        return list(dict.fromkeys(metric for metric, _ in self.mean))

    def names(self, metric: str) -> list[str]:
        """What is worth a column: the regions where a metric has any, else its classes and their mean."""
        held = [name for id, name in self.mean if id == metric]
        return [name for name in self.evaluations[self.modalities].regions if name in held] or held

    def values(self, subset: Subset, metric: str, name: str) -> list[float]:
        """The values of the cases, nan where undefined; none of a pooled metric."""
        by_case = self.evaluations[subset].by_class().get((metric, name), {})
        return [by_case[case] for case in self.cases if by_case]

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as plain data, with null for undefined values."""
        first = self.evaluations[self.modalities].as_dict()
        return {
            "schema_version": SCHEMA_VERSION,
            "notes": self.notes,
            "metrics": first["metrics"],
            "regions": first["regions"],
            "modalities": list(self.modalities),
            "cases": self.cases,
            "mean": [
                {"metric": m, "class": name, "mean": None if np.isnan(whole.value) else whole.value,
                 "interval": whole.interval}
                for (m, name), whole in self.mean.items()
            ],
            "subsets": [
                {
                    "modalities": list(subset),
                    "summary": [summary.as_dict() for summary in self.summaries[subset].values()],
                    "rows": [row.as_dict() for row in evaluation.rows],
                    "confusion": evaluation.pooled and evaluation.pooled.as_dict(),
                }
                for subset, evaluation in self.evaluations.items()
            ],
        }  # fmt: skip

    def to_json(self, path: Path | str) -> Path:
        """Writes everything as one JSON document and returns its path."""
        write_json(Path(path), self.as_dict())
        return Path(path)

    def table(self, metric: str) -> Any:
        """Returns a `rich.table.Table` of a metric: a line a subset with a dot for each modality, the mean below."""
        return subsets_table(self, metric)


def subset_folders(folder: Path | str) -> dict[Subset, Path]:
    """Finds predictions of subsets of modalities.

    Args:
        folder: Holds a folder of predictions a subset, named by its modalities: `FLAIR+T1c+T2`, `FLAIR+T2`, `T2`.

    Returns:
        Subset → folder, all modalities first, then by their number; empty where the folder is something else, or has
        no subset that holds all others.
    """
    folder = Path(folder)
    if not folder.is_dir() or (folder / INDEX_NAME).is_file() or label_files(folder):
        return {}
    found = {
        tuple(path.name.split("+")): path
        for path in sorted(folder.iterdir())
        if path.is_dir() and path.name[0] != "." and ((path / INDEX_NAME).is_file() or label_files(path))
    }
    whole = max(found, key=len, default=())
    if len(found) < 2 or any(not set(subset) < set(whole) for subset in found if subset != whole):
        return {}
    in_order = {tuple(m for m in whole if m in subset): path for subset, path in found.items()}
    return dict(sorted(in_order.items(), key=lambda item: (-len(item[0]), [whole.index(m) for m in item[0]])))


def evaluate_subsets(
    folder: Path | str,
    labels: Path | str | Dataset | Mapping[str, np.ndarray],
    *,
    metrics: Sequence[str] = ("dice",),
    **options: Any,
) -> Subsets:
    """Compares what was predicted from every subset of the modalities with the labels.

    Args:
        folder: Holds a folder of predictions a subset, named by its modalities joined with "+"; one has them all.
        labels: As for `evaluate`.
        metrics: Ids from `METRICS`.
        **options: Others of `evaluate`: spacing, class_names, sections, not_evaluated, regions.

    Returns:
        Means of each subset and over the subsets, over the cases that all of them predicted.

    Raises:
        DataError: There is no such folder in it, no case is in all of them, or as `evaluate` does.
        ConfigError: As `evaluate` does.
    """
    folders = subset_folders(folder)
    if not folders:
        raise DataError(
            f"{folder}: no folders of subsets such as FLAIR+T1, FLAIR and T1, one of them with all modalities"
        )
    if isinstance(labels, (str, Path)) and Path(labels).exists():
        labels = labelled_dataset(Path(labels)) or labels
    evaluations = {
        subset: evaluate(path, labels, metrics=metrics, clinical=False, lesions=False, **options)
        for subset, path in folders.items()
    }
    try:
        return compare_subsets(evaluations)
    except DataError as error:
        raise DataError(f"{folder}: {error}") from None


def compare_subsets(evaluations: Mapping[Subset, Evaluation]) -> Subsets:
    """Puts evaluations of every subset of the modalities beside each other.

    Args:
        evaluations: Subset → evaluation of what was predicted from it, all modalities first.

    Returns:
        As `evaluate_subsets`.

    Raises:
        DataError: No case is in all of them.
    """
    first, *others = evaluations.values()
    cases = [case for case in first.cases if all(case in other.cases for other in others)]
    if not cases:
        raise DataError("no case is predicted from every subset of the modalities: predict the same cases from each")
    notes = list(dict.fromkeys(note for found in evaluations.values() for note in found.notes))
    left_out = dict.fromkeys(case for found in evaluations.values() for case in found.cases if case not in cases)
    if left_out:
        notes.append(f"left out, since not every subset predicted them: {', '.join(left_out)}")
    if len(evaluations) < (every := 2 ** len(next(iter(evaluations))) - 1):
        notes.append(f"{len(evaluations)} of {every} subsets are there: the mean is over these")
    summaries = {
        subset: {(s.metric, s.class_name): s for s in evaluation.full_summary(cases)}
        for subset, evaluation in evaluations.items()
    }
    return Subsets(dict(evaluations), cases, summaries, _mean_over(list(evaluations.values()), cases), notes)


def _mean_over(evaluations: Sequence[Evaluation], cases: Sequence[str]) -> dict[Key, Resampled]:
    """Metric and class → mean over evaluations of the same cases, as far as all have it."""
    statistics = [_weighted(evaluation, cases) for evaluation in evaluations]

    def together(weights: np.ndarray) -> dict[Key, np.ndarray]:
        found = [statistic(weights) for statistic in statistics]
        keys = [key for key in found[0] if all(key in values for values in found)]
        return {key: mean(np.stack([values[key] for values in found], axis=-1)) for key in keys}

    return resampled(together, len(cases))


def _weighted(evaluation: Evaluation, cases: Sequence[str]) -> Callable[[np.ndarray], dict[Key, np.ndarray]]:
    """A function from how often each case counts, (draws, cases), to metric and class → (draws,)."""
    values = {key: np.array([by_case[case] for case in cases]) for key, by_case in evaluation.by_class().items()}
    pooled = evaluation.pooled and evaluation.pooled.of(cases)

    def statistic(weights: np.ndarray) -> dict[Key, np.ndarray]:
        found = {}
        for key, own in values.items():
            sums, defined = weights @ np.nan_to_num(own), weights @ ~np.isnan(own)
            found[key] = np.divide(sums, defined, out=np.full(len(weights), np.nan), where=defined > 0)
        return found | (pooled.scores(weights) if pooled else {})

    return statistic
