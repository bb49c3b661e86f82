"""How a trained network does on held-out cases of some data, its own or of another origin."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from recurseg.data.classes import only_classes
from recurseg.data.dataset import Dataset, open_dataset
from recurseg.data.splits import split_cases
from recurseg.evaluation import Evaluation, evaluate
from recurseg.evaluation.metrics import METRICS
from recurseg.experiments.table import Place, Table
from recurseg.training.run import Run


def held_out(dataset: Dataset, holdout: str | None, run: Run) -> Dataset:
    """The cases of a data set that a run is measured on, all of them without a holdout, with the learned classes."""
    some = only_classes(dataset, run.recipe.classes)
    if holdout is None:
        return replace(some, cases=some.to_learn_from)
    return replace(some, cases=split_cases(some, holdout, seed=run.recipe.seed).validation)


def metrics_of(table: Table) -> list[str]:
    """The voxel metrics that a table shows."""
    return list(dict.fromkeys(m.metric for m in table.measures if m.metric in METRICS))


def try_on(place: Place, folder: Path, table: Table, run: Run) -> tuple[Evaluation, dict[str, str]]:
    """Predicts the held-out cases of some data into the run's folder and measures them.

    Args:
        place: The data.
        folder: Where they are.
        table: What is measured.
        run: Finished.

    Returns:
        The evaluation, and case → patient.
    """
    from recurseg.inference import load
    from recurseg.inference.files import predict_cases
    from recurseg.inference.inputs import Inputs

    held, out = held_out(open_dataset(folder), place.holdout, run), run.folder / "elsewhere" / place.name
    predict_cases(load(run.folder), Inputs(held.cases), out, quiet=True)
    return evaluate(out, held, also=metrics_of(table)), patients_of(held)


def patients_of(dataset: Dataset) -> dict[str, str]:
    """Case → patient."""
    return {case.id: case.patient for case in dataset.cases}
