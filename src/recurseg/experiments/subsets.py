"""What a row is worth from every subset of the modalities: its held-out cases predicted from each, and their Dice."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from recurseg.data.dataset import Dataset
from recurseg.evaluation import Evaluation, evaluate_subsets
from recurseg.evaluation.result import Row
from recurseg.evaluation.subsets import Subset
from recurseg.evaluation.summary import mean_of

METRIC = "dice"


class SubsetDice(BaseModel):
    """The Dice of the held-out cases, predicted from some of the modalities."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    modalities: list[str]
    """That the model saw."""
    dice: dict[str, dict[str, float | None]]
    """Class or region → case → Dice; null where undefined."""

    def evaluation(self, regions: Mapping[str, list[int]], beyond: Collection[str]) -> Evaluation:
        """The same as an evaluation.

        Args:
            regions: Region → its classes.
            beyond: Names of `dice` that are no class, which the mean of classes leaves out.
        """
        rows = [
            Row(case, name, METRIC, math.nan if value is None else value, "", name in beyond)
            for name, by_case in self.dice.items()
            for case, value in by_case.items()
        ]
        return Evaluation(rows, regions=dict(regions))


def measure_subsets(run: Path, held: Dataset) -> list[SubsetDice]:
    """Predicts held-out cases from every subset of the modalities into `RUN/subsets`, and measures their Dice.

    Args:
        run: Run folder; what is predicted there already is not predicted again.
        held: Data set of the held-out cases.

    Returns:
        All modalities first, then by their number.

    Raises:
        ConfigError: The model needs every modality.
    """
    from recurseg.inference import load
    from recurseg.inference.files import predict_cases
    from recurseg.inference.inputs import Inputs
    from recurseg.inference.subsets import given_only, subsets_of

    segmenter, out = load(run), run / "subsets"
    for chosen in subsets_of(segmenter.spec.modalities):
        predict_cases(given_only(segmenter, chosen), Inputs(held.cases), out / "+".join(chosen), quiet=True)
    found = evaluate_subsets(out, held, metrics=[METRIC])
    return [_plain(subset, evaluation) for subset, evaluation in found.evaluations.items()]


def _plain(subset: Subset, evaluation: Evaluation) -> SubsetDice:
    dice: dict[str, dict[str, float | None]] = {}
    for row in evaluation.rows:
        dice.setdefault(row.class_name, {})[row.case] = None if math.isnan(row.value) else row.value
    return SubsetDice(modalities=list(subset), dice=dice)


def over_subsets(
    evaluations: Mapping[Subset, Evaluation], *, lost: bool, class_name: str | None = None
) -> dict[str, float]:
    """Case → mean of its Dice over the subsets, or what that mean lacks of the Dice from all modalities.

    Args:
        evaluations: Of the subsets, all modalities first.
        lost: Whether what is lost is wanted.
        class_name: Class or region; None for the mean of classes.
    """
    whole, *_ = each = [own.by_case(METRIC, class_name=class_name) for own in evaluations.values()]
    means = {case: mean_of(own[case] for own in each) for case in whole}
    return {case: whole[case] - mean for case, mean in means.items()} if lost else means
