"""Tables of the papers: every number traceable, none invented."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import yaml

from recurseg.cli.main import main
from recurseg.data.phantoms import write_phantom
from recurseg.errors import ConfigError, ResourceError
from recurseg.evaluation import METRICS
from recurseg.evaluation.cardiac import QUANTITIES
from recurseg.experiments import find_table, list_tables, reproduce, sources
from recurseg.experiments.completion import ACCURACY
from recurseg.experiments.ledger import Result
from recurseg.experiments.show import markdown, values
from recurseg.models import model_names
from recurseg.training.recipe_files import published_recipes
from recurseg.training.validation import SOFT_DICE


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Two rows of table 1 at the smoke scale: (results, work, entries)."""
    root = tmp_path_factory.mktemp("reproduce")
    places = {"results": root / "results", "work": root / "work"}
    table = find_table("pyramid_lstm/table1")
    return places, list(reproduce(table, rows=["pyramid_lstm", "light_unet"], scale="smoke", **places))


@pytest.mark.parametrize("id", list_tables())
def test_a_table_names_only_what_there_is(id):
    table = find_table(id)
    assert {measure.metric for measure in table.measures} <= {*METRICS, *QUANTITIES, ACCURACY, SOFT_DICE}
    headings = {column.name for column in (*table.measures, *table.facts)}
    assert all(set(printed) <= headings for printed in table.printed.values())
    for row in table.rows:
        for training in filter(None, (row.small, row.full, row.smoke)):
            assert training.model in [None, *model_names()]
            assert training.recipe in [None, *published_recipes()]


def test_the_papers_numbers_are_as_printed():
    printed = find_table("pyramid_lstm/table1").printed["PyraMiD-LSTM"]
    assert printed == {"Rand error": 0.047, "warping error ×1000": 0.462, "pixel error": 0.062}
    assert find_table("pyramid_lstm/table2").printed["PyraMiD-LSTM"]["CSF Dice %"] == 83.72


def test_a_finished_row_keeps_where_its_numbers_come_from(finished):
    places, entries = finished
    assert [entry.state for entry in entries] == ["done", "done"]
    stored = json.loads((places["results"] / "pyramid_lstm/table1/em_membranes/smoke/pyramid_lstm.json").read_text())
    assert stored["steps"] == 2
    assert len(stored["recipe_hash"]) == 64
    assert stored["machine"]["cores"] >= 1
    assert len(stored["data_hash"]) == 64
    assert [section["section"] for section in stored["sections"]] == [4]
    assert stored["curve"]


def test_a_row_of_version_1_is_read_with_one_hash_of_its_data(finished):
    _, entries = finished
    files = {"b": {"image": "1" * 64}, "a": {"label": "2" * 64, "image": "3" * 64}}
    old = entries[0].result.model_dump(mode="json", exclude={"data_hash"})
    old |= {"schema_version": 1, "data_hashes": files}
    again = old | {"data_hashes": {"a": dict(reversed(files["a"].items())), "b": files["b"]}}
    other = old | {"data_hashes": files | {"b": {"image": "4" * 64}}}
    hashes = [Result.model_validate(content).data_hash for content in (old, again, other)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_numbers_of_one_section_are_those_of_the_run(finished):
    _, entries = finished
    table, result = find_table("pyramid_lstm/table1"), entries[0].result
    found = values(table, result)
    (section,) = result.sections
    assert section["rand_error"] == pytest.approx(found["Rand error"])
    assert section["pixel_error:fraction@0.5"] == pytest.approx(found["wrong pixels at 0.5"])


def test_a_table_of_radiographs_knows_its_failures_and_memory(tmp_path):
    table = find_table("shamann/table1")
    places = {"results": tmp_path / "results", "work": tmp_path / "work"}
    entries = list(reproduce(table, rows=["shamann", "no_memory"], scale="smoke", **places))
    found = values(table, entries[0].result)
    assert 0 <= found["Dice %"] <= 100
    assert found["failures (Dice < 0.9)"] in (0, 1, 2)
    assert sys.platform != "linux" or found["peak memory, GiB"] > 0.1
    assert "SHAMANN − No memory" in markdown(table, entries)


def test_a_finished_row_is_not_run_again(finished, monkeypatch):
    places, _ = finished
    monkeypatch.setattr("recurseg.experiments.rows.train", None)
    again = list(reproduce(find_table("pyramid_lstm/table1"), rows=["light_unet"], scale="smoke", **places))
    assert again[0].state == "done"


def test_a_changed_recipe_makes_a_row_stale_and_takes_its_number_away(finished):
    places, _ = finished
    table = find_table("pyramid_lstm/table1")
    table.row("light_unet").smoke.settings.append("optimizer.lr=0.123")
    (entry,) = reproduce(table, rows=["light_unet"], scale="smoke", run=False, **places)
    assert entry.state == "stale: the recipe changed"
    assert entry.result is None
    assert "0.123" not in markdown(table, [entry])


def test_a_row_that_was_not_run_has_no_number(tmp_path, capsys):
    assert main(["reproduce", "--results", str(tmp_path / "none"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["state"] for row in rows} == {"not run"}
    assert {row["ours"] for row in rows} == {None}
    assert {row["table"] for row in rows} == set(list_tables())


def test_the_users_data_are_preferred_and_named_in_the_table(tmp_path):
    write_phantom("em_membranes", tmp_path / "data" / "mine", size=(6, 48, 48))
    manifest = tmp_path / "data" / "mine" / "dataset.yaml"
    content = yaml.safe_load(manifest.read_text()) | {"layout": "isbi2012_em"}
    manifest.write_text(yaml.safe_dump(content))
    table = find_table("pyramid_lstm/table1")
    places = {"results": tmp_path / "r", "work": tmp_path / "w"}
    (entry,) = reproduce(table, rows=["unet"], data=tmp_path / "data", run=False, **places)
    assert entry.source.name == "isbi2012_em"
    text = markdown(table, [entry])
    assert "16 train, the last 4 are held out" in text
    assert "hidden test stack" in text


def test_unknown_tables_rows_and_folders_are_one_line(tmp_path, capsys):
    assert main(["reproduce", "pyramid_lstm/tabel1", "--results", str(tmp_path)]) == 2
    assert "did you mean 'pyramid_lstm/table1'" in capsys.readouterr().err
    assert main(["reproduce", "pyramid_lstm/table1/unett", "--results", str(tmp_path)]) == 2
    assert "did you mean 'unet'" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="no such folder"):
        list(reproduce(find_table("pyramid_lstm/table1"), data=tmp_path / "no", results=tmp_path, work=tmp_path))


@pytest.mark.skipif("RECURSEG_DATA" not in os.environ, reason="RECURSEG_DATA does not name a folder of data sets")
@pytest.mark.parametrize("id", ["pyramid_lstm/table1", "pyramid_lstm/table2", "shamann/table1"])
def test_stored_rows_are_not_stale(id, tmp_path):
    data, results = Path(os.environ["RECURSEG_DATA"]), Path(__file__).parents[2] / "docs" / "results"
    table = find_table(id)
    rows = [row.id for row in table.rows if any((results / id).glob(f"*/small/{row.id}.json"))]
    entries = list(reproduce(table, rows=rows, data=data, results=results, work=tmp_path, run=False))
    assert {entry.row.id: entry.state for entry in entries} == dict.fromkeys(rows, "done")


def test_a_phantom_that_another_process_made_meanwhile_is_taken(tmp_path, monkeypatch):
    table = find_table("rsanet/table1")

    def slower(name, folder, **_):
        write_phantom(name, folder, cases=1, size=(12, 48, 36))
        raise ResourceError(f"{folder}: cannot be written")

    monkeypatch.setattr(sources, "write_phantom", slower)
    assert sources.find_data(table, "smoke", None, tmp_path)[1].is_dir()
    monkeypatch.setattr(sources, "write_phantom", lambda name, folder, **_: slower(name, folder.with_name("other")))
    with pytest.raises(ResourceError):
        sources.find_data(table, "smoke", None, tmp_path / "again")
