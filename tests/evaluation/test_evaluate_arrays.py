"""`evaluate` on arrays: matching, coding, defaults, summary, files."""

import csv
import json
import math

import numpy as np
import pytest

from recurseg.errors import ConfigError, DataError
from recurseg.evaluation import evaluate, read_evaluation
from recurseg.evaluation.result import together

TISSUE = np.array([[0, 1, 1, 2], [0, 1, 2, 2], [0, 0, 2, 2]])


def test_a_row_for_every_case_metric_and_foreground_class():
    found = evaluate({"a": TISSUE, "b": TISSUE}, {"a": TISSUE, "b": TISSUE}, class_names=["bg", "GM", "WM"])
    assert found.cases == ["a", "b"]
    assert {(r.case, r.class_name) for r in found.rows if r.metric == "dice"} == {
        (case, name) for case in "ab" for name in ("GM", "WM")
    }
    assert found.value("dice") == 1


def test_values_that_have_a_name_are_classes_even_where_others_do_not_occur():
    without_gm = np.where(TISSUE == 1, 255, TISSUE)
    found = evaluate({"a": TISSUE}, {"a": without_gm}, metrics=["dice"], class_names=["bg", "GM", "WM"])
    assert math.isnan(found.value("dice", class_name="GM"))
    assert found.value("dice", class_name="WM") == 1
    mask = np.where(TISSUE == 2, 255, 0)
    assert evaluate({"a": mask}, {"a": mask}, metrics=["dice"], class_names=["bg", "WM"]).value("dice") == 1


def test_further_metrics_come_beside_those_by_default():
    default = evaluate({"a": TISSUE > 0}, {"a": TISSUE > 0})
    found = evaluate({"a": TISSUE > 0}, {"a": TISSUE > 0}, also=["mean_iou:pooled", "ppv"])
    assert {r.metric for r in found.rows} - {r.metric for r in default.rows} == {"ppv"}
    assert found.value("mean_iou:pooled") == 1


def test_cases_measured_one_by_one_are_joined_to_an_evaluation_of_all():
    other = np.where(TISSUE == 2, 1, TISSUE)
    predicted, labels, names = {"a": TISSUE, "b": other}, {"a": TISSUE, "b": TISSUE}, ["bg", "GM", "WM"]
    each = [evaluate({id: predicted[id]}, {id: labels[id]}, class_names=names) for id in predicted]
    assert together(each).as_dict() == evaluate(predicted, labels, class_names=names).as_dict()


def test_the_mean_of_classes_is_the_mean_over_a_cases_classes():
    prediction = np.where(TISSUE == 2, 0, TISSUE)
    found = evaluate({"a": prediction}, {"a": TISSUE}, metrics=["dice"])
    assert found.value("dice", class_name="class 1") == 1
    assert found.value("dice") == 0.5


def test_without_spacing_metrics_in_mm_are_left_out_and_said_so():
    found = evaluate({"a": TISSUE}, {"a": TISSUE})
    assert not any(r.unit == "mm" for r in found.rows)
    assert any("hd95_mm, assd_mm left out" in note and "--spacing" in note for note in found.notes)
    assert any(r.unit == "mm" for r in evaluate({"a": TISSUE}, {"a": TISSUE}, spacing=(1, 2)).rows)


def test_asking_for_mm_without_spacing_is_an_error():
    with pytest.raises(ConfigError, match="--spacing"):
        evaluate({"a": TISSUE}, {"a": TISSUE}, metrics=["hd95_mm"])


def test_membrane_metrics_come_where_a_class_is_called_membrane_or_when_asked():
    wall = np.array([[0, 1, 0]] * 3)
    default = {r.metric for r in evaluate({"a": wall}, {"a": wall}).rows}
    named = {r.metric for r in evaluate({"a": wall}, {"a": wall}, class_names=["cell", "membrane"]).rows}
    asked = {r.metric for r in evaluate({"a": wall}, {"a": wall}, metrics=["rand_error"]).rows}
    assert named - default == {
        "pixel_error:fraction@0.5", "pixel_error:best_f", "pixel_error:best_f_cell", "rand_error",
        "warping_error", "warping_error:splits_mergers", "v_rand:thinned", "v_info:thinned",
    }  # fmt: skip
    assert asked == {"rand_error"}


def test_probabilities_are_labels_from_one_half_and_thresholds_for_membrane_metrics():
    wall = np.array([[0, 1, 0]] * 3)
    found = evaluate({"a": wall * 0.4 + 0.05}, {"a": wall}, class_names=["cell", "membrane"])
    assert found.value("dice") == 0
    assert found.value("pixel_error:best_f") == 0
    assert found.value("pixel_error:fraction@0.5") == pytest.approx(1 / 3)


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'hd95_mm'"):
        evaluate({"a": TISSUE}, {"a": TISSUE}, metrics=["hd95"])


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [("Case_01_seg", "case_01_GT"), ("p1.prediction", "p1"), ("scan-2_pred", "scan-2_label_mask")],
)
def test_names_match_without_words_such_as_seg_and_label(predicted, expected):
    found = evaluate({predicted: TISSUE, "z": TISSUE}, {expected: TISSUE, "z": TISSUE})
    assert found.cases == [expected, "z"]


def test_one_prediction_and_one_reference_belong_together():
    assert evaluate({"x": TISSUE}, {"y": TISSUE}).cases == ["y"]


@pytest.mark.parametrize(
    ("predicted", "expected", "words"),
    [
        (["a", "b", "q"], ["a", "b", "c"], "no reference for prediction 'q'"),
        (["a", "b"], ["a", "b", "c"], "no prediction for reference 'c'"),
        (["a", "a_seg"], ["a", "b"], "'a' and 'a_seg' both fit reference 'a'"),
        (["a_pred", "b"], ["a_seg", "a_label", "b"], "fits the references"),
    ],
)
def test_what_has_no_partner_is_named(predicted, expected, words):
    with pytest.raises(DataError, match=words):
        evaluate(dict.fromkeys(predicted, TISSUE), dict.fromkeys(expected, TISSUE))


def test_different_grids_are_an_error_that_names_the_case():
    with pytest.raises(DataError, match=r"case a: .*grid \(3, 3\).*\(3, 4\)"):
        evaluate({"a": TISSUE[:, :3]}, {"a": TISSUE})


def test_masks_of_0_and_255_are_class_1():
    mask = np.array([[0, 1, 1, 0]])
    for p, r in ((mask, mask * 255), (mask * 255, mask), (mask * 255, mask * 255)):
        found = evaluate({"a": p}, {"a": r}, metrics=["dice"])
        assert found.value("dice") == 1
        assert any("255 is class 1" in note for note in found.notes)


def test_255_beside_other_classes_is_ignored():
    reference, prediction = np.array([[0, 1, 255, 255]]), np.array([[0, 1, 1, 0]])
    assert evaluate({"a": prediction}, {"a": reference}, metrics=["dice"]).value("dice") == 1


def test_gaps_between_label_values_are_closed_the_same_way_on_both_sides():
    reference = np.array([[0, 10, 20, 20]])
    prediction = np.array([[0, 10, 20, 0]])
    found = evaluate({"a": prediction}, {"a": reference}, metrics=["recall"])
    assert [r.value for r in found.rows] == [1, 0.5]


def test_an_empty_reference_with_false_positives_counts_and_both_empty_is_listed():
    empty, full = np.zeros((2, 2), int), np.ones((2, 2), int)
    found = evaluate({"fp": full, "none": empty, "hit": full}, {"fp": empty, "none": empty, "hit": full})
    dice = next(s for s in found.summary() if s.metric == "dice")
    assert (dice.n, dice.mean, dice.undefined) == (2, 0.5, ["none"])


def test_six_cases_have_an_interval_and_five_are_listed():
    def summary(n):
        ids = [f"c{i}" for i in range(n)]
        predicted = {id: np.roll(TISSUE, i, 0) for i, id in enumerate(ids)}
        return evaluate(predicted, dict.fromkeys(ids, TISSUE), metrics=["dice"]).summary()[0]

    assert summary(5).interval is None
    assert len(summary(5).values) == 5
    assert summary(6).interval is not None


def test_sections_restrict_a_stack_on_both_sides_or_the_reference_alone():
    stack = np.random.default_rng(0).integers(0, 2, (6, 4, 4))
    wrong = stack.copy()
    wrong[:2] = 1 - wrong[:2]
    assert evaluate({"s": wrong}, {"s": stack}, metrics=["dice"], sections="2-5").value("dice") == 1
    assert evaluate({"s": stack[2:4]}, {"s": stack}, metrics=["dice"], sections="2-3").value("dice") == 1
    assert evaluate({"s[4-5]": stack[4:]}, {"s": stack}, metrics=["dice"]).value("dice") == 1


@pytest.mark.parametrize("sections", ["4-9", "5-2", "x", "-3"])
def test_wrong_section_ranges_are_refused(sections):
    stack = np.ones((6, 4, 4), int)
    with pytest.raises(ConfigError, match="section"):
        evaluate({"s": stack}, {"s": stack}, sections=sections)


def test_a_class_beyond_the_names_is_refused():
    with pytest.raises(DataError, match="class 2"):
        evaluate({"a": TISSUE}, {"a": TISSUE}, class_names=["background", "tumour"])


def test_csv_and_json_hold_every_row_and_come_back(tmp_path):
    prediction = np.where(TISSUE == 2, 0, TISSUE)
    found = evaluate({"a": prediction, "b": 0 * TISSUE}, {"a": TISSUE, "b": 0 * TISSUE}, spacing=(1, 1))
    table, document = found.to_csv(tmp_path / "new" / "e.csv"), found.to_json(tmp_path / "e.json")
    with table.open() as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["case", "class", "metric", "value", "unit"]
    assert len(rows) == len(found.rows)
    data = json.loads(document.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert {
        "schema_version", "notes", "metrics", "regions", "summary", "pooled", "by_tag", "tags", "rows", "confusion",
            "cardiac", "lesions",
    } == set(data)  # fmt: skip
    for file in (table, document, tmp_path / "new"):
        if file.is_dir():
            continue
        again = read_evaluation(file)
        assert [(r.case, r.class_name, r.metric) for r in again.rows] == [
            (r.case, r.class_name, r.metric) for r in found.rows
        ]
        np.testing.assert_allclose([r.value for r in again.rows], [r.value for r in found.rows])


def test_the_table_shows_means_and_cases():
    from rich.console import Console

    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(evaluate({"a": TISSUE, "b": 0 * TISSUE}, {"a": TISSUE, "b": 0 * TISSUE}).table())
    text = console.export_text()
    assert "2 cases" in text
    assert "a 1.0000" in text
    assert "undefined: b" in text


def test_nothing_is_worse_than_nan_in_disguise():
    found = evaluate({"a": 0 * TISSUE}, {"a": 0 * TISSUE}, metrics=["dice"])
    assert math.isnan(found.value("dice"))
    assert found.as_dict()["summary"][0]["mean"] is None


def test_a_class_that_is_not_evaluated_counts_nowhere_worked_by_hand():
    #                    GM GM GM WM WM  stem stem
    reference = np.array([[1, 1, 1, 2, 2, 3, 3, 0]])
    prediction = np.array([[1, 1, 3, 2, 1, 1, 3, 3]])
    found = evaluate({"a": prediction}, {"a": reference}, not_evaluated=[3], spacing=(1, 1))
    assert {row.class_name for row in found.rows} == {"class 1", "class 2"}
    # GM: two found, one called stem and so missed, one invented in WM; what stands in the stem does not count
    assert found.value("dice", class_name="class 1") == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert found.value("avd_percent", class_name="class 1") == 0
    assert found.value("dice", class_name="class 2") == pytest.approx(2 * 1 / (2 * 1 + 1))
    assert found.value("dice") == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert any("class 3 is not evaluated" in note for note in found.notes)


@pytest.mark.parametrize("wrong", [0, 3, -1])
def test_only_a_foreground_class_can_be_left_out(wrong):
    with pytest.raises(ConfigError, match="foreground classes are 1 class 1, 2 class 2"):
        evaluate({"a": TISSUE}, {"a": TISSUE}, not_evaluated=[wrong])
