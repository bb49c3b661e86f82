"""Pooled metrics: one confusion matrix over all cases, against hand-worked matrices and other libraries."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.metrics import contingency_table

from recurseg.errors import ConfigError, DataError
from recurseg.evaluation import Confusion, compare, evaluate, rank_sum, read_evaluation
from recurseg.evaluation.statistics import resampled

POOLED = ["mean_iou:pooled", "iou:pooled", "recall:pooled"]
MAPS = st.integers(1, 30).flatmap(lambda n: st.tuples(*[arrays(np.uint8, n, elements=st.integers(0, 4))] * 2))
# rows reference, columns prediction: [[5, 1, 0], [2, 3, 0], [0, 1, 0]]
REFERENCE = np.repeat([0, 0, 1, 1, 2], [5, 1, 2, 3, 1])
PREDICTION = np.repeat([0, 1, 0, 1, 1], [5, 1, 2, 3, 1])


def confusion(prediction, reference, classes=5, **options):
    counts = Confusion(classes, **options)
    counts.add(np.asarray(prediction), np.asarray(reference))
    return counts


def test_a_matrix_worked_by_hand():
    got = confusion(PREDICTION, REFERENCE, 4)
    assert got.matrix.tolist() == [[5, 1, 0, 0], [2, 3, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(got.iou(), [5 / 8, 3 / 7, 0, np.nan])
    np.testing.assert_allclose(got.recall(), [5 / 6, 3 / 5, 0, np.nan])
    assert got.mean_iou() == pytest.approx((5 / 8 + 3 / 7 + 0) / 3)
    assert got.mean_recall() == pytest.approx((5 / 6 + 3 / 5 + 0) / 3)


def test_cases_are_added_before_anything_is_divided():
    counts = Confusion(2)
    counts.add(np.array([1]), np.array([1]))  # a small case, all right: IoU 1
    counts.add(np.zeros(9, int), np.ones(9, int))  # a large one, all wrong: IoU 0
    np.testing.assert_allclose(counts.iou(), [0, 0.1])


def test_ignored_voxels_do_not_count_and_a_voxel_without_a_class_is_a_miss():
    np.testing.assert_allclose(confusion([1, 1, 0], [1, 255, 255], 2).iou(), [np.nan, 1])
    got = confusion([1, 255], [1, 1], 2)
    assert (got.iou()[1], got.recall()[1]) == (0.5, 0.5)


def test_a_class_that_is_not_evaluated_has_no_measure_and_its_voxels_count_nowhere():
    got = confusion([1, 1, 2], [1, 2, 1], 3, not_evaluated=[2])
    np.testing.assert_allclose(got.iou(), [np.nan, 0.5, np.nan])
    assert got.mean_iou() == 0.5


@pytest.mark.parametrize("value", [3, 300, -1])
def test_an_unknown_class_is_refused(value):
    with pytest.raises(DataError, match="label map"):
        confusion([value], [0], 3)


@given(MAPS)
def test_the_matrix_is_that_of_skimage(maps):
    prediction, reference = maps
    table = contingency_table(reference, prediction).toarray()
    got = confusion(prediction, reference).matrix
    np.testing.assert_array_equal(got[: table.shape[0], : table.shape[1]], table)
    assert got.sum() == table.sum()


@given(MAPS)
def test_no_class_has_a_recall_below_its_iou(maps):
    got = confusion(*maps)
    here = ~np.isnan(got.recall())
    assert (got.recall()[here] >= got.iou()[here]).all()


def test_iou_recall_and_dice_agree_with_monai_that_pools_the_batch():
    import torch
    from monai.metrics.confusion_matrix import ConfusionMatrixMetric
    from monai.networks.utils import one_hot

    rng = np.random.default_rng(0)
    reference, prediction = rng.integers(0, 4, (2, 6, 1, 8, 8))
    total = Confusion(4)
    for p, r in zip(prediction, reference, strict=True):
        total.add(p, r)
    metric = ConfusionMatrixMetric(metric_name=("threat score", "sensitivity", "f1 score"), reduction="sum_batch")
    metric(*(one_hot(torch.from_numpy(side), 4) for side in (prediction, reference)))
    iou, recall, dice = metric.aggregate()
    np.testing.assert_allclose(total.iou(), iou)
    np.testing.assert_allclose(total.recall(), recall)
    np.testing.assert_allclose(total.dice(), dice)
    assert total.mean_dice() == pytest.approx(float(dice[1:].mean())), "background is no class of Dice"


def noisy(reference, share, seed):
    rng = np.random.default_rng(seed)
    wrong = {case: rng.random(labels.shape) < share for case, labels in reference.items()}
    return {case: np.where(wrong[case], (labels + 1) % 3, labels) for case, labels in reference.items()}


@pytest.fixture(scope="module")
def cases():
    rng = np.random.default_rng(1)
    return {f"c{n}": rng.integers(0, 3, (4, 5 + 3 * n)) for n in range(7)}


def test_the_evaluation_pools_all_cases_and_counts_class_0(cases):
    predicted = noisy(cases, 0.3, 0)
    found = evaluate(predicted, cases, metrics=POOLED, class_names=["sky", "road", "car"])
    prediction, reference = (np.concatenate([side[case].ravel() for case in cases]) for side in (predicted, cases))
    expected = confusion(prediction, reference, 3)
    assert found.value("mean_iou:pooled") == pytest.approx(expected.mean_iou())
    assert found.value("recall:pooled", class_name="sky") == pytest.approx(expected.recall()[0])
    shown = {(s.metric, s.class_name): s for s in found.pooled_summary()}
    for c, name in enumerate(["sky", "road", "car"]):
        assert shown["iou:pooled", name].mean == pytest.approx(expected.iou()[c])
    assert found.cases == list(cases)
    document = found.as_dict()
    assert np.array_equal(np.array(document["confusion"]["all"])[:, :3], expected.matrix)
    assert {"metric": "mean_iou:pooled", "class": "mean of classes"}.items() <= document["pooled"][0].items()
    assert json.dumps(document, allow_nan=False)


def test_a_region_is_pooled_as_one_class(cases):
    predicted = noisy(cases, 0.3, 0)
    found = evaluate(predicted, cases, metrics=POOLED, regions={"any": [1, 2]})
    prediction, reference = (
        np.concatenate([side[case].ravel() > 0 for case in cases]) for side in (predicted, cases)
    )
    assert found.value("iou:pooled", class_name="any") == pytest.approx(confusion(prediction, reference, 2).iou()[1])
    without = evaluate(predicted, cases, metrics=POOLED)
    assert found.value("mean_iou:pooled") == without.value("mean_iou:pooled")


def test_the_interval_is_that_of_cases_resampled_and_pooled_again(cases):
    found = evaluate(noisy(cases, 0.3, 0), cases, metrics=["mean_iou:pooled"])
    (summary,) = found.pooled_summary()
    rng, values = np.random.default_rng(5), []
    assert found.pooled is not None
    stack = np.stack(list(found.pooled.by_case.values()))
    for _ in range(2000):
        drawn = Confusion(3, counts=stack[rng.integers(0, 7, 7)].sum(0))
        values.append(drawn.mean_iou())
    assert summary.interval == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.01)
    assert summary.interval is not None
    assert summary.interval[0] < summary.mean < summary.interval[1]


def test_five_cases_have_no_interval(cases):
    five = {case: cases[case] for case in list(cases)[:5]}
    (summary,) = evaluate(noisy(five, 0.3, 0), five, metrics=["mean_iou:pooled"]).pooled_summary()
    assert summary.interval is None


def test_two_predictions_are_compared_over_the_same_drawn_cases(cases):
    one, two = (evaluate(noisy(cases, share, 2), cases, metrics=POOLED) for share in (0.4, 0.1))
    line = next(line for line in compare(one, two).lines if line.metric == "mean_iou:pooled")
    assert line.paired.difference == pytest.approx(two.value("mean_iou:pooled") - one.value("mean_iou:pooled"))
    assert line.paired.interval is not None
    assert line.paired.interval[0] > 0
    assert (line.paired.wins, line.paired.losses, line.paired.p) == (7, 0, None)
    same = next(line for line in compare(one, one).lines if line.metric == "mean_iou:pooled")
    assert same.paired.interval == (0, 0)


def test_the_matrices_come_back_from_json(cases, tmp_path):
    found = evaluate(noisy(cases, 0.3, 0), cases, regions={"any": [1, 2]})
    again = read_evaluation(found.to_json(tmp_path / "a.json"))
    assert again.pooled_summary() == found.pooled_summary()
    assert again.as_dict() == found.as_dict()


def test_what_knows_other_classes_is_not_compared_and_that_is_said(cases):
    one, two = (evaluate(cases, cases, class_names=["bg", *names]) for names in (["a", "b"], ["a", "c"]))
    found = compare(one, two)
    assert not any(line.metric.endswith(":pooled") for line in found.lines)
    assert any("different classes" in note for note in found.notes)


def test_ranks_are_not_of_pooled_metrics(cases):
    found = evaluate(cases, cases)
    with pytest.raises(ConfigError, match="one number over all cases"):
        rank_sum({"a": found, "b": found}, metrics=["mean_iou:pooled"])


def test_by_default_they_are_there_from_three_classes_on(cases):
    assert evaluate(cases, cases).pooled is not None
    two = {case: labels > 0 for case, labels in cases.items()}
    assert evaluate(two, two).pooled is None
    assert evaluate(two, two, metrics=["mean_iou:pooled"]).value("mean_iou:pooled") == 1


def test_failures_count_cases_so_not_by_a_pooled_metric(cases):
    with pytest.raises(ConfigError, match="mean_iou:pooled"):
        evaluate(cases, cases, failures="mean_iou:pooled=0.5")


def test_the_table_shows_pooled_values(cases):
    from rich.console import Console

    console = Console(width=120)
    with console.capture() as capture:
        console.print(evaluate(noisy(cases, 0.3, 0), cases, metrics=["dice", "mean_iou:pooled"]).table())
    assert "mean_iou:pooled" in capture.get()


def test_a_class_absent_from_a_resample_is_left_out_of_it():
    seen = {"x": 0}

    def statistic(weights):
        seen["x"] += len(weights)
        return {"rare": np.where(weights[:, 0] > 0, 0.25, np.nan)}

    assert resampled(statistic, 6)["rare"] == (0.25, (0.25, 0.25))
    assert seen["x"] == 10000
    assert resampled(lambda weights: {"never": np.full(len(weights), np.nan)}, 6)["never"].interval is None
