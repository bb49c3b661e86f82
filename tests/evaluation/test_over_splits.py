"""Means over random splits that share cases."""

import io
import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from recurseg.evaluation import evaluate
from recurseg.evaluation.over_splits import cases_over_splits, over_splits, splits_table, summarise_splits


def test_the_corrected_interval_by_hand():
    """Of 0.6, 0.7, 0.8, as many held out as trained on: s = 0.1, error √(1/3 + 1)·s, and t of 2 degrees is 4.3027."""
    found = over_splits([0.6, 0.7, 0.8], held_over_trained=1)
    error = math.sqrt(1 / 3 + 1) * 0.1
    assert (found.mean, found.sd) == (pytest.approx(0.7), pytest.approx(0.1))
    assert found.interval == pytest.approx((0.7 - 4.302653 * error, 0.7 + 4.302653 * error))
    t = 0.7 / error
    assert found.p == pytest.approx(1 - t / math.sqrt(t**2 + 2)), "t of 2 degrees in closed form"


def test_without_shared_cases_it_is_students_t():
    values = np.random.default_rng(0).normal(0.1, 1, 7)
    found, student = over_splits(list(values), held_over_trained=0), ttest_1samp(values, 0)
    assert found.p == pytest.approx(student.pvalue)
    assert found.interval == pytest.approx(tuple(student.confidence_interval(0.95)))


def test_more_splits_of_the_same_cases_do_not_promise_certainty():
    """The interval of many splits stays as wide as the second term of the variance says."""
    values = np.random.default_rng(0).normal(0.7, 0.02, 500)
    low, high = over_splits(list(values), held_over_trained=23 / 20).interval
    assert (high - low) / 2 > 1.96 * 0.02


def test_one_split_has_no_interval_and_equal_ones_no_doubt():
    assert over_splits([0.7], held_over_trained=1)[2:] == (None, None)
    assert over_splits([0.7, 0.7], held_over_trained=1).interval == pytest.approx((0.7, 0.7))
    assert over_splits([0.0, 0.0], held_over_trained=1).p == 1


def split(predicted: dict[str, list[int]], labels: dict[str, list[int]]):
    sides = ({case: np.array(row)[None] for case, row in side.items()} for side in (predicted, labels))
    return evaluate(*sides, metrics=["dice", "dice:pooled"], class_names=["background", "lesion"])


@pytest.fixture
def splits():
    """Case a is held out twice, found whole and by half; beside it b, three quarters of it found, and empty c."""
    labels = {"a": [1, 1, 0, 0, 0], "b": [1, 1, 1, 1, 0], "c": [0, 0, 0, 0, 0]}
    one = split({"a": [1, 1, 0, 0, 0], "b": [1, 1, 1, 0, 0]}, {case: labels[case] for case in "ab"})
    two = split({"a": [1, 0, 0, 0, 0], "c": [0, 0, 0, 0, 0]}, {case: labels[case] for case in "ac"})
    return [one, two]


def test_sample_and_voxel_averages_are_taken_a_split_and_then_over_splits(splits):
    found = {s.metric: s for s in summarise_splits(splits, held_over_trained=2)}
    sample, voxel = found["dice"], found["dice:pooled"]
    assert (sample.average, voxel.average) == ("sample", "voxel")
    assert sample.values == pytest.approx([(1 + 6 / 7) / 2, 2 / 3])
    assert voxel.values == pytest.approx([2 * 5 / (2 * 5 + 1), 2 / 3])
    assert sample.mean == pytest.approx(sum(sample.values) / 2)
    assert sample.sd == pytest.approx(abs(sample.values[0] - sample.values[1]) / math.sqrt(2))


def test_a_case_that_recurs_is_listed_once_with_its_values(splits):
    by_case = {line["case"]: line["values"] for line in cases_over_splits(splits) if line["metric"] == "dice"}
    assert by_case == {"a": {0: 1.0, 1: pytest.approx(2 / 3)}, "b": {0: pytest.approx(6 / 7)}, "c": {1: None}}


def test_the_table_says_what_the_interval_is_worth(splits):
    from rich.console import Console

    console = Console(width=200, record=True, file=io.StringIO())
    console.print(splits_table(summarise_splits(splits, held_over_trained=2)))
    text = console.export_text()
    assert "2 random splits" in text
    assert "Nadeau and Bengio" in text
    assert "depend on each other" in text
