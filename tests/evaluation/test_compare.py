"""`compare`: two evaluations of the same cases."""

import numpy as np
import pytest

from recurseg.errors import DataError
from recurseg.evaluation import Evaluation, compare
from recurseg.evaluation.result import Row


def evaluation(values, metric="dice", class_name="lesion"):
    return Evaluation([Row(case, class_name, metric, value, "") for case, value in values.items()])


FIRST = {f"c{i}": 0.5 + i / 100 for i in range(7)}


def test_a_constant_gain_wins_every_case():
    got = compare(evaluation(FIRST), evaluation({c: v + 0.1 for c, v in FIRST.items()})).lines[0].paired
    assert got.difference == pytest.approx(0.1)
    assert (got.wins, got.losses, got.ties) == (7, 0, 0)
    assert got.p == pytest.approx(2 / 2**7)


def test_where_lower_is_better_a_smaller_value_wins():
    got = compare(evaluation(FIRST, "hd95_mm"), evaluation({c: v - 0.1 for c, v in FIRST.items()}, "hd95_mm")).lines[
        0
    ]
    assert got.paired.wins == 7
    assert got.unit == "mm"


def test_undefined_cases_are_left_out_and_listed():
    second = FIRST | {"c3": float("nan")}
    line = compare(evaluation(FIRST), evaluation(second)).lines[0]
    assert line.undefined == ["c3"]
    assert line.paired.n == 6


def test_cases_are_matched_by_id_not_by_order():
    shuffled = dict(reversed(FIRST.items()))
    assert compare(evaluation(FIRST), evaluation(shuffled)).lines[0].paired.ties == 7


def test_different_cases_are_an_error_that_names_them():
    with pytest.raises(DataError, match="c6"):
        compare(evaluation(FIRST), evaluation({c: v for c, v in FIRST.items() if c != "c6"}))


def test_nothing_in_common_is_an_error():
    with pytest.raises(DataError, match="share no"):
        compare(evaluation(FIRST), evaluation(FIRST, "iou"))


def test_files_can_be_compared_and_the_result_saved(tmp_path):
    a, b = evaluation(FIRST).to_json(tmp_path / "a.json"), evaluation(FIRST).to_csv(tmp_path / "b.csv")
    found = compare(a, b)
    assert found.to_json(tmp_path / "c.json").exists()
    assert found.as_dict()["comparison"][0]["p"] == 1
    evaluation(FIRST).to_json(tmp_path / "run" / "validation" / "metrics.json")
    assert compare(tmp_path / "run", a).lines[0].paired.n == 7


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"rows": [{"case": 1}]}'])
def test_a_file_that_is_no_evaluation_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(DataError, match="not an evaluation"):
        compare(path, path)
    with pytest.raises(DataError, match="cannot be read"):
        compare(tmp_path / "absent.json", path)


def test_the_table_shows_difference_interval_and_p():
    from rich.console import Console

    console = Console(width=120)
    with console.capture() as capture:
        console.print(compare(evaluation(FIRST), evaluation({c: np.sqrt(v) for c, v in FIRST.items()})).table())
    assert "7/0/0" in capture.get()
    assert "lesion" in capture.get()
