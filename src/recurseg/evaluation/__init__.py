"""How good a segmentation is: metrics, their statistics, and tables of both."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recurseg.evaluation.burden import Lesions as Lesions
    from recurseg.evaluation.cardiac import QUANTITIES as QUANTITIES
    from recurseg.evaluation.cardiac import Cardiac as Cardiac
    from recurseg.evaluation.comparison import Comparison as Comparison
    from recurseg.evaluation.comparison import compare as compare
    from recurseg.evaluation.confusion import Confusion as Confusion
    from recurseg.evaluation.failures import Limit as Limit
    from recurseg.evaluation.metrics import METRICS as METRICS
    from recurseg.evaluation.metrics import Metric as Metric
    from recurseg.evaluation.ranking import Ranking as Ranking
    from recurseg.evaluation.ranking import rank_sum as rank_sum
    from recurseg.evaluation.result import Evaluation as Evaluation
    from recurseg.evaluation.result import read_evaluation as read_evaluation
    from recurseg.evaluation.scoring import evaluate as evaluate
    from recurseg.evaluation.subsets import Subsets as Subsets
    from recurseg.evaluation.subsets import evaluate_subsets as evaluate_subsets
    from recurseg.evaluation.subsets import subset_folders as subset_folders

_HOME = {
    "Cardiac": "cardiac",
    "Comparison": "comparison",
    "Confusion": "confusion",
    "Evaluation": "result",
    "Lesions": "burden",
    "Limit": "failures",
    "METRICS": "metrics",
    "Metric": "metrics",
    "QUANTITIES": "cardiac",
    "Ranking": "ranking",
    "compare": "comparison",
    "Subsets": "subsets",
    "evaluate": "scoring",
    "evaluate_subsets": "subsets",
    "rank_sum": "ranking",
    "read_evaluation": "result",
    "subset_folders": "subsets",
}

__all__ = [
    "METRICS",
    "QUANTITIES",
    "Cardiac",
    "Comparison",
    "Confusion",
    "Evaluation",
    "Lesions",
    "Limit",
    "Metric",
    "Ranking",
    "Subsets",
    "compare",
    "evaluate",
    "evaluate_subsets",
    "rank_sum",
    "read_evaluation",
    "subset_folders",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
