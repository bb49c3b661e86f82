"""Columns of a table beyond the mean, and rows against their rivals, from results worked by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from recurseg.experiments import Result, find_table
from recurseg.experiments.pairs import compare_pairs
from recurseg.experiments.rows import Entry
from recurseg.experiments.show import as_data, markdown, values
from recurseg.experiments.table import Measure, list_tables

TABLE = find_table("shamann/table1")
GOOD = {"a": 0.96, "b": 0.94, "c": 0.95, "d": 0.97, "e": 0.93, "f": 0.92}
BAD = {"a": 0.91, "b": 0.89, "c": 0.90, "d": 0.92, "e": 0.88, "f": 0.87}


def entry(row: str, dice: dict[str, float], *, holdout: str = "every 4th", peak: int | None = 1536) -> Entry:
    result = Result(
        table=TABLE.id, row=row, source="cxr_lung", scale="small", holdout=holdout, split="", data_hash="",
        recipe_hash="", recipe={}, minutes=10, seconds=600, steps=100, best_step=90, parameters=6_290_539,
        peak_memory_mib=peak, curve=[], commit=None, versions={}, machine={}, finished="",
        evaluation=[
            {"case": case, "class": "lung", "metric": "dice", "value": value, "unit": ""}
            for case, value in dice.items()
        ],
    )  # fmt: skip
    return Entry(TABLE.row(row), TABLE.sources[0], "done", result)


def test_columns_are_mean_deviation_failures_and_facts():
    found = values(TABLE, entry("shamann", BAD).result)
    assert found["Dice %"] == pytest.approx(89.5)
    assert found["± sd"] == pytest.approx(1.8708, abs=1e-4)
    assert found["failures (Dice < 0.9)"] == 3
    assert found["weights, M"] == pytest.approx(6.290539)
    assert found["peak memory, GiB"] == 1.5


def test_failures_are_shown_with_the_interval_of_their_share():
    text = markdown(TABLE, [entry("shamann", {**GOOD, "f": 0.5})])
    assert "| 1 of 6 (3.01 – 56.4 %) |" in text
    assert "| DRN-C-42, printed |  |  |  | 96.78 | 1.52 | 12 | 30.7 |" in text


def test_memory_that_was_not_measured_is_a_dash():
    line = markdown(TABLE, [entry("shamann", GOOD, peak=None)]).splitlines()[2]
    assert line.split(" | ")[-2] == "–"


def test_a_row_is_compared_with_its_rivals_case_by_case():
    entries = [entry("no_memory", BAD), entry("shamann", GOOD), entry("bi_lstm", GOOD)]
    memory, lstm = compare_pairs(TABLE, entries)
    assert (memory.row.row.id, memory.rival.row.id) == ("shamann", "no_memory")
    assert memory.line.paired.difference == pytest.approx(0.05)
    assert (memory.line.failures.second, memory.line.failures.p) == (0, pytest.approx(2 / 2**3))
    assert lstm.line.paired.difference == 0
    assert "| SHAMANN − No memory | Dice % | +5 |" in markdown(TABLE, entries)
    (row,) = [line for line in as_data(TABLE, entries) if line["row"] == "shamann"]
    assert [pair["rival"] for pair in row["pairs"]] == ["no_memory", "bi_lstm"]


def test_rows_that_held_out_other_cases_are_not_compared():
    assert compare_pairs(TABLE, [entry("shamann", GOOD), entry("no_memory", BAD, holdout="0.2")]) == []
    assert compare_pairs(TABLE, [entry("shamann", GOOD)]) == []


@pytest.mark.parametrize("id", list_tables())
def test_pairs_name_rows_of_their_table(id):
    table = find_table(id)
    assert {name for pair in table.pairs for name in (pair.row, pair.rival)} <= {row.id for row in table.rows}


@pytest.mark.parametrize("wrong", [{"statistic": "failures"}, {"limit": 0.9}])
def test_failures_have_a_limit_and_nothing_else_has(wrong):
    with pytest.raises(ValidationError, match="limit"):
        Measure(name="x", metric="dice", **wrong)


def test_results_stored_before_memory_was_measured_still_read():
    from recurseg.experiments import Ledger

    root = Path(__file__).parents[2] / "docs" / "results"
    stored = Ledger(root).read("pyramid_lstm/table1", "isbi2012_em", "small", "unet")
    assert stored is not None
    assert stored.peak_memory_mib is None


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[2] / "docs/results").glob("*/*/*/*/*.json")), ids=lambda path: path.stem
)
def test_stored_results_still_read_and_give_their_table(path):
    from recurseg.experiments import Ledger

    source, scale = path.parts[-3:-1]
    table = find_table("/".join(path.parts[-5:-3]))
    stored = Ledger(path.parents[4]).read(table.id, source, scale, path.stem)
    assert stored is not None
    assert any(value == value for value in values(table, stored).values())
