"""The rank sum of several runs, against printed numbers and sums done by hand."""

import math

import pytest

from recurseg.errors import ConfigError, DataError
from recurseg.evaluation import Evaluation, rank_sum
from recurseg.evaluation.result import Row

TISSUES = ("GM", "WM", "CSF")
PRINTED = {  # Stollenga et al. 2015, table 2: dice, distance in mm, volume difference in percent of each tissue
    "UNC-IDEA": ((84.36, 1.62, 7.04), (88.69, 2.06, 6.46), (82.81, 2.35, 10.5)),
    "PyraMiD-LSTM": ((84.82, 1.69, 6.77), (88.33, 2.07, 7.05), (83.72, 2.14, 7.10)),
}


def evaluation(metrics):
    """Metric → class → values of the cases a, b, ..."""
    rows = [
        Row("abcdef"[n], class_name, metric, value, "")
        for metric, classes in metrics.items()
        for class_name, values in classes.items()
        for n, value in enumerate(values)
    ]
    return Evaluation(rows)


def printed(name):
    by_metric = zip(("dice", "hd95_mm", "avd_percent"), zip(*PRINTED[name], strict=True), strict=True)
    return evaluation({metric: {t: [v] for t, v in zip(TISSUES, row, strict=True)} for metric, row in by_metric})


def test_the_printed_table_of_mrbrains_has_pyramid_lstm_before_unc_idea():
    ranking = rank_sum({name: printed(name) for name in PRINTED})
    # of nine measures PyraMiD-LSTM is first in five: GM dice and volume, all three of CSF
    assert ranking.scores == {"PyraMiD-LSTM": 5 * 1 + 4 * 2, "UNC-IDEA": 4 * 1 + 5 * 2}
    assert list(ranking.scores) == ["PyraMiD-LSTM", "UNC-IDEA"]
    assert ranking.places == {"PyraMiD-LSTM": 1, "UNC-IDEA": 2}


def test_three_runs_ranked_by_hand():
    runs = {
        "x": evaluation({"dice": {"GM": [0.8, 0.9]}, "hd95_mm": {"GM": [2.0, 2.0]}}),  # 0.85 second, 2.0 second
        "y": evaluation({"dice": {"GM": [0.9, 0.9]}, "hd95_mm": {"GM": [1.0, 1.5]}}),  # 0.90 first, 1.25 first
        "z": evaluation({"dice": {"GM": [0.7, 0.8]}, "hd95_mm": {"GM": [1.5, 2.5]}}),  # 0.75 third, 2.0 second
    }
    ranking = rank_sum(runs)
    assert ranking.scores == {"y": 2, "x": 4, "z": 5}
    assert [m.ranks for m in ranking.measures] == [{"x": 2, "y": 1, "z": 3}, {"x": 2, "y": 1, "z": 2}]
    assert rank_sum(runs, metrics=["hd95_mm"]).places == {"y": 1, "x": 2, "z": 3}, "x varies less than z"


def test_equal_sums_are_parted_by_standard_deviations_else_they_share_the_place():
    steady, wild = evaluation({"dice": {"GM": [0.8, 0.8]}}), evaluation({"dice": {"GM": [0.7, 0.9]}})
    assert rank_sum({"wild": wild, "steady": steady}).places == {"steady": 1, "wild": 2}
    assert rank_sum({"one": steady, "same": steady}).places == {"one": 1, "same": 1}


def test_a_run_without_a_defined_value_is_last_on_that_measure():
    nothing = evaluation({"dice": {"GM": [math.nan]}})
    ranking = rank_sum({"nothing": nothing, "poor": evaluation({"dice": {"GM": [0.01]}})})
    assert ranking.places == {"poor": 1, "nothing": 2}
    assert ranking.as_dict()["ranking"][1]["measures"][0]["mean"] is None


def test_the_mean_of_classes_is_no_measure_of_its_own():
    two = evaluation({"dice": {"GM": [0.8], "WM": [0.9]}})
    assert [m.class_name for m in rank_sum({"a": two, "b": two}).measures] == ["GM", "WM"]


def test_other_metrics_are_ranked_where_runs_hold_none_of_the_challenges():
    good, bad = evaluation({"rand_error": {"membrane": [0.1]}}), evaluation({"rand_error": {"membrane": [0.3]}})
    assert rank_sum({"bad": bad, "good": good}).places == {"good": 1, "bad": 2}


def test_what_cannot_be_ranked_is_named():
    one, other = evaluation({"dice": {"GM": [0.8]}}), evaluation({"dice": {"GM": [0.8, 0.9]}})
    with pytest.raises(DataError, match="x and y hold different cases: b"):
        rank_sum({"x": one, "y": other})
    with pytest.raises(DataError, match="share no metric"):
        rank_sum({"x": one, "y": evaluation({"iou": {"GM": [0.8]}})})
    with pytest.raises(ConfigError, match="hd95_mm"):
        rank_sum({"x": one, "y": one}, metrics=["hd95_mm"])
    with pytest.raises(ConfigError, match="two runs"):
        rank_sum({"x": one})


def test_the_table_shows_ranks_sums_and_places():
    from rich.console import Console

    console = Console(width=120)
    with console.capture() as capture:
        console.print(rank_sum({name: printed(name) for name in PRINTED}).table())
    lines = [line.split() for line in capture.get().splitlines()]
    assert ["dice", "GM", "84.8200", "(1)", "84.3600", "(2)"] in lines
    assert ["rank", "sum", "13", "14"] in lines
    assert ["place", "1", "2"] in lines
