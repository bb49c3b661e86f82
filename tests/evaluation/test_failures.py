"""Cases below a limit: counts, intervals, the paired test, and the same by tags."""

import json
import math

import numpy as np
import pytest
import yaml

from recurseg.cli.main import main
from recurseg.errors import ConfigError
from recurseg.evaluation import Evaluation, Limit, compare, evaluate, read_evaluation
from recurseg.evaluation.failures import compare_failures, count_failures
from recurseg.evaluation.result import Row

DICE = {"a": 0.95, "b": 0.9, "c": 0.89, "d": 0.1, "e": math.nan}


def evaluation(values, metric="dice"):
    return Evaluation([Row(case, "lung", metric, value, "") for case, value in values.items()])


def test_a_case_fails_strictly_below_the_limit_and_an_undefined_one_does_not():
    found = count_failures(DICE, Limit("dice", 0.9))
    assert (found.count, found.n, found.cases) == (2, 4, ["c", "d"])


def test_where_lower_is_better_a_case_fails_above_the_limit():
    assert Limit.read("hd95_mm=10").failures({"near": 10.0, "far": 10.1}) == ["far"]


def test_the_interval_is_wilsons_formula():
    n, share, z = 75, 6 / 75, 1.959964
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    values = {str(case): 0.5 if case < 6 else 0.95 for case in range(75)}
    found = count_failures(values, Limit("dice", 0.9))
    assert found.interval == pytest.approx((middle - half, middle + half), abs=1e-6)


def test_no_failure_among_few_cases_is_no_certainty():
    low, high = count_failures({"a": 1.0, "b": 1.0}, Limit("dice", 0.9)).interval
    assert (low, high) == pytest.approx((0, 0.6576), abs=1e-4)
    assert count_failures({"a": math.nan}, Limit("dice", 0.9)).interval is None


def test_mcnemar_is_the_sign_test_of_the_cases_that_one_method_fails_on():
    both, first_only, second_only = ["b0", "b1"], [f"f{n}" for n in range(8)], ["s0"]
    cases = [*both, *first_only, *second_only, "fine"]
    first = {case: 0.5 if case in both + first_only else 1.0 for case in cases}
    second = {case: 0.5 if case in both + second_only else 1.0 for case in cases}
    found = compare_failures(first, second, Limit("dice", 0.9))
    assert (found.first, found.second) == (10, 3)
    assert (found.only_first, found.only_second) == (first_only, second_only)
    assert found.p == pytest.approx(2 * (math.comb(9, 0) + math.comb(9, 1)) / 2**9)


def test_methods_that_fail_alike_do_not_differ():
    assert compare_failures(DICE, DICE, Limit("dice", 0.9)).p == 1


@pytest.mark.parametrize(
    ("text", "metric", "value"), [(0.9, "dice", 0.9), ("0.95", "dice", 0.95), ("pixel_error:best_f=0.1", None, 0.1)]
)
def test_a_limit_is_a_number_or_a_metric_with_one(text, metric, value):
    assert Limit.read(text) == Limit(metric or "pixel_error:best_f", value)


@pytest.mark.parametrize("text", ["", "many", "dice=", "dise=0.9", "nan"])
def test_anything_else_is_refused_with_a_way_out(text):
    with pytest.raises(ConfigError, match=r"METRIC=LIMIT|did you mean 'dice'"):
        Limit.read(text)


def test_compare_counts_the_failures_of_paired_cases():
    second = DICE | {"d": 0.99, "e": 0.1}
    line = compare(evaluation(DICE), evaluation(second), failures=0.9).lines[0]
    assert (line.failures.first, line.failures.second) == (2, 1)
    assert line.failures.only_first == ["d"]
    with pytest.raises(ConfigError, match="share no value"):
        compare(evaluation(DICE), evaluation(second), failures="iou=0.9")


def test_a_limit_of_a_metric_that_is_not_measured_is_refused():
    mask = np.ones((4, 4), np.uint8)
    with pytest.raises(ConfigError, match="failures by dice: it is not among iou"):
        evaluate({"a": mask}, {"a": mask}, metrics=["iou"], failures=0.9)


@pytest.fixture
def tagged(tmp_path):
    """Eight radiographs: of two children, one with a device too, predictions are half wrong."""
    from PIL import Image

    rng, cases = np.random.default_rng(0), []
    tags = {"c0": ["child"], "c1": ["child", "device"]}
    for case in (f"c{n}" for n in range(8)):
        label = np.zeros((16, 16), np.uint8)
        label[4:12, 2:14] = 1
        found = label.copy()
        if case in tags:
            found[8:12] = 0
        for folder, array in {"images": rng.integers(0, 255, (16, 16)), "labels": label, "found": found}.items():
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(tmp_path / folder / f"{case}.png")
        images = {"CXR": f"images/{case}.png"}
        cases.append({"id": case, "images": images, "label": f"labels/{case}.png", "tags": tags.get(case, [])})
    manifest = {
        "schema_version": 1, "name": "chest", "modalities": ["CXR"], "classes": {0: "background", 1: "lung"},
        "cases": cases,
    }  # fmt: skip
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(manifest))
    return tmp_path


def test_difficult_cases_are_summarised_by_their_tags(tagged, capsys):
    arguments = ["evaluate", str(tagged / "found"), str(tagged), "--metrics", "dice", "--failures", "0.9"]
    assert main([*arguments, "--out", str(tagged / "e.json"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["tags"] == {"c0": ["child"], "c1": ["child", "device"]}
    by_tag = {entry["tag"]: entry for entry in document["by_tag"]}
    assert [(tag, entry["n"], entry["failures"]["count"]) for tag, entry in by_tag.items()] == [
        ("child", 2, 2),
        ("device", 1, 1),
        ("no tag", 6, 0),
    ]
    assert by_tag["child"]["mean"] == pytest.approx(2 / 3)
    assert by_tag["child"]["sd"] == 0
    assert by_tag["device"]["sd"] is None
    (everything,) = document["summary"]
    assert everything["mean"] == pytest.approx(11 / 12)
    assert everything["sd"] == pytest.approx(np.std([1] * 6 + [2 / 3] * 2, ddof=1))
    assert everything["failures"] | {"interval": None} == {
        "limit": 0.9, "count": 2, "n": 8, "interval": None, "cases": ["c0", "c1"],
    }  # fmt: skip
    assert read_evaluation(tagged / "e.json").groups["device"] == ["c1"]


def test_the_table_shows_tags_and_failures_and_names_the_failing(tagged, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["evaluate", str(tagged / "found"), str(tagged), "--metrics", "dice", "--failures", "0.9"]) == 0
    shown = capsys.readouterr().out
    assert "dice < 0.9" in shown
    assert "child (2)" in shown
    assert "2 of 8 (7.15 – 59.1 %)" in shown
    assert "dice < 0.9 of lung: c0, c1" in shown


def test_without_tags_there_is_no_column_for_them(tagged, capsys):
    assert main(["evaluate", str(tagged / "found"), str(tagged / "labels"), "--metrics", "dice"]) == 0
    assert "all (" not in capsys.readouterr().out


def test_compare_shows_mcnemars_test(tagged, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    arguments = ["--labels", str(tagged), "--metrics", "dice,iou", "--failures", "0.9"]
    assert main(["compare", str(tagged / "found"), str(tagged / "labels"), *arguments]) == 0
    shown = capsys.readouterr().out
    assert "McNemar" in shown
    assert "2 → 0" in shown
    assert main(["compare", str(tagged / "found"), str(tagged / "labels"), *arguments, "--json"]) == 0
    dice, iou = json.loads(capsys.readouterr().out)["comparison"]
    assert (dice["failures"]["only_first"], dice["failures"]["p"]) == (["c0", "c1"], 0.5)
    assert iou["failures"] is None


def test_failures_have_no_place_in_a_ranking(tagged, capsys):
    arguments = ["--ranks", "--failures", "0.9", "--labels", str(tagged)]
    assert main(["compare", str(tagged / "found"), str(tagged / "labels"), *arguments]) == 2
    assert "--failures" in capsys.readouterr().err
