"""Tables of hearts: patients as one, means over epochs, errors of clinical numbers, data of another origin."""

from __future__ import annotations

import pytest

from recurseg.data.dataset import open_dataset
from recurseg.evaluation.result import Row
from recurseg.experiments import Result
from recurseg.experiments.ledger import by_patient
from recurseg.experiments.measured import values
from recurseg.experiments.pairs import Paired, compare_pairs
from recurseg.experiments.rows import Entry
from recurseg.experiments.sources import find_elsewhere
from recurseg.experiments.table import Measure, Pair, Place, Source, Table
from recurseg.experiments.table import Row as TableRow


def table(*measures: Measure) -> Table:
    source = {"name": "s", "what": "", "phantom": "cardiac_cine", "holdout": "0.5"}
    return Table(
        schema_version=1, id="t", title="", source="", measures=list(measures), sources=[source], smoke=source,
        rows=[],
    )  # fmt: skip


def dice(case: str, value: float) -> dict:
    return {"case": case, "class": "left ventricle", "metric": "dice", "value": value, "unit": ""}


def result(**parts) -> Result:
    return Result(
        table="t", source="s", scale="small", holdout="0.5", split="", data_hash="", recipe_hash="",
        recipe={}, minutes=6, seconds=360, steps=10, best_step=10, parameters=1, curve=[], commit=None, versions={},
        machine={}, finished="",
        **({"row": "r", "evaluation": [dice("a_ED", 0.9), dice("a_ES", 0.7), dice("b_ED", 0.6)]} | parts),
    )  # fmt: skip


PATIENTS = {"a_ED": "a", "a_ES": "a", "b_ED": "b", "x_ED": "x"}


def test_the_cases_of_a_patient_count_as_one():
    rows = [Row("a_ED", "left ventricle", "dice", 0.9, ""), Row("a_ES", "left ventricle", "dice", 0.7, "")]
    (row,) = by_patient(rows, {"a_ED": "a", "a_ES": "a"})
    assert (row.case, row.value) == ("a", pytest.approx(0.8))
    measure = Measure(name="Dice", metric="dice")
    assert values(table(measure), result())["Dice"] == pytest.approx((0.9 + 0.7 + 0.6) / 3)
    assert values(table(measure), result(patients=PATIENTS))["Dice"] == pytest.approx((0.8 + 0.6) / 2)


def test_data_of_another_origin_have_a_column_of_their_own():
    home, away = Measure(name="home", metric="dice"), Measure(name="away", metric="dice", elsewhere=True)
    found = values(table(home, away), result(elsewhere=[dice("x_ED", 0.4)], patients=PATIENTS))
    assert (found["home"], found["away"]) == (pytest.approx(0.7), pytest.approx(0.4))


def test_a_pair_is_compared_where_the_measure_is_taken():
    home, away = Measure(name="home", metric="dice"), Measure(name="away", metric="dice", elsewhere=True)
    rows = [result(row=name, elsewhere=[dice("x_ED", value)]) for name, value in (("one", 0.4), ("two", 0.7))]
    compared = table(home, away).model_copy(
        update={"rows": [TableRow(id=row.row, name="") for row in rows], "pairs": [Pair(row="one", rival="two")]}
    )
    entries = [Entry(compared.row(found.row), compared.sources[0], "done", found) for found in rows]
    pairs = compare_pairs(compared, entries)
    assert [pair.line.paired.difference for pair in pairs if isinstance(pair, Paired)] == [0, pytest.approx(-0.3)]


def test_the_thesis_prints_mean_and_deviation_over_epochs():
    mean = Measure(name="mean", metric="dice:soft_batch", statistic="over_epochs")
    sd = Measure(name="sd", metric="dice:soft_batch", statistic="sd_over_epochs")
    found = values(table(mean, sd), result(soft=[0.2, 0.6, 0.7]))
    assert found == {"mean": pytest.approx(0.5), "sd": pytest.approx(0.2645751)}


def test_the_error_of_a_clinical_number_is_its_mean_absolute_difference():
    patients = {
        "a": {"lv_ef_percent": {"prediction": 50.0, "label": 58.0}},
        "b": {"lv_ef_percent": {"prediction": 33.0, "label": 29.0}},
    }
    measure = Measure(name="EF", metric="lv_ef_percent", statistic="error")
    assert values(table(measure), result(cardiac={"patients": patients}))["EF"] == pytest.approx(6)


def test_films_are_taken_where_a_folder_holds_both(tmp_path):
    place = Place(name="hearts", what="", phantom="cardiac_cine_a", cases=1, size=(4, 48, 48), cines=True)
    source = Source(name="a", what="", phantom="cardiac_cine_a", holdout="0.5", elsewhere=place)
    file = find_elsewhere(source, "small", None, tmp_path)
    assert file is not None
    (film,) = open_dataset(file).cases
    assert film.frames > 1


def test_a_layout_that_is_not_there_is_not_at_hand(tmp_path):
    place = Place(name="sunnybrook", what="", layout="sunnybrook")
    source = Source(name="a", what="", phantom="cardiac_cine_a", holdout="0.5", elsewhere=place)
    assert find_elsewhere(source, "small", tmp_path, tmp_path) is None
