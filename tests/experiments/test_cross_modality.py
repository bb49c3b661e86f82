"""Tables of cross-modality convolution: pooled measures, folds, and every subset of the modalities."""

from __future__ import annotations

import json
import math

import pytest
from pydantic import ValidationError

from recurseg.cli.main import main
from recurseg.errors import ConfigError
from recurseg.evaluation import evaluate
from recurseg.experiments import Ledger, Result, find_table, list_tables, reproduce
from recurseg.experiments.measured import texts, values
from recurseg.experiments.pairs import compare_pairs
from recurseg.experiments.plot import write_plots
from recurseg.experiments.rows import Entry
from recurseg.experiments.show import caption, markdown
from recurseg.experiments.subsets import SubsetDice
from recurseg.experiments.table import Measure, Table, Training
from recurseg.training.recipe_files import published_recipe
from recurseg.training.settings import override

TABLES = [id for id in list_tables() if id.startswith("cross_modality/")]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("cross_modality")
    return {"results": root / "results", "work": root / "work"}


def smoke(id: str, rows: list[str] | None, places) -> list[Entry]:
    entries = list(reproduce(find_table(id), rows=rows, scale="smoke", **places))
    assert {entry.state for entry in entries} == {"done"}
    return entries


def test_the_papers_numbers_are_as_printed():
    full = "MME + MRF + CMC + convLSTM + two-phase"
    assert find_table("cross_modality/table1").printed[full] == {
        "label 0 %": 98.5, "label 1 %": 92.1, "label 2 %": 77.3, "label 3 %": 55.9, "label 4 %": 78.6,
        "MeanIU %": 73.5,
    }  # fmt: skip
    assert find_table("cross_modality/table2").printed["Encoder-Decoder + convLSTM + MRF"] == {"MeanIU %": 52.13}
    third = {name: numbers["MeanIU %"] for name, numbers in find_table("cross_modality/table3").printed.items()}
    assert (third["Encoder-Decoder"], third["MME + CMC"], third["Encoder-Decoder + MRF"]) == (44.14, 45.80, 55.37)
    fourth = find_table("cross_modality/table4").printed
    assert (fourth["Ours"]["core Dice"], fourth["U-Net"]["core sensitivity"]) == (0.6835, 0.5296)
    assert not find_table("cross_modality/missing").printed


@pytest.mark.parametrize("id", TABLES)
def test_every_row_is_a_recipe_and_has_the_paper_name_it_is_printed_under(id):
    table = find_table(id)
    for row in table.rows:
        for training in filter(None, (row.smoke, row.small, row.full)):
            recipe = override(published_recipe(training.recipe), training.settings)
            assert ("two-phase" in row.name or table.id.endswith("table4")) == (len(recipe.stages) == 2)
    missing = set(table.printed) - {row.name for row in table.rows}
    assert missing <= ({"U-Net", "U-Net + two-phase"} if id.endswith("table3") else set())


def test_rows_of_a_scale_differ_in_nothing_but_the_network_and_the_phases():
    for id in ("cross_modality/table1", "cross_modality/table2", "cross_modality/table3"):
        trainings = [row.small for row in find_table(id).rows if row.small]
        assert len({training.minutes for training in trainings}) == 1
        recipes = [override(published_recipe(t.recipe), t.settings) for t in trainings]
        rest = [r.model_dump_json(exclude={"model", "stages"}) for r in recipes]
        assert len(set(rest)) == 1
        assert len({r.stages[0].batch * r.stages[0].window[0] for r in recipes}) == 1, "slices an update"


def test_two_phases_share_the_minutes_as_in_the_papers_recipe():
    row = find_table("cross_modality/table1").row("cmc_convlstm_two_phase").small
    first, second = override(published_recipe(row.recipe), row.settings).stages
    assert (first.steps / second.steps, first.sections, second.sections) == (3, "non_empty", "all")
    assert (first.loss, second.loss) == ("balanced_cross_entropy", None)
    assert second.lr < 2e-3


def test_one_and_two_phases_run_and_are_measured_over_all_cases_together(places):
    one, two = smoke("cross_modality/table1", ["unet", "cmc_convlstm_two_phase"], places)
    assert (len(one.result.recipe["stages"]), len(two.result.recipe["stages"])) == (1, 2)
    found = values(find_table("cross_modality/table1"), two.result)
    recalls = [found[f"label {label} %"] for label in range(5)]
    assert 0 <= found["MeanIU %"] < 100
    assert all(math.isnan(recall) or 0 <= recall <= 100 for recall in recalls)
    assert two.result.curve[-1]["value"] * 100 == pytest.approx(found["MeanIU %"]) or two.result.best_step == 1
    stored = json.loads((places["results"] / "cross_modality/table1/brain_tumour/smoke/unet.json").read_text())
    assert list(stored["confusion"]["cases"]) == ["case_002"]


def test_road_scenes_and_ablation_run(places):
    flat, deep = smoke("cross_modality/table2", ["segnet", "encoder_decoder_mrf_convlstm"], places)
    assert (flat.result.recipe["model"]["name"], deep.result.recipe["model"]["name"]) == ("segnet", "encoder_decoder")
    (entry,) = smoke("cross_modality/table3", ["encoder_decoder_mrf_convlstm"], places)
    assert set(values(find_table("cross_modality/table3"), entry.result)) == {"MeanIU %", "Dice %"}


def test_regions_are_measured_under_the_papers_names(places):
    table = find_table("cross_modality/table4")
    entries = smoke(table.id, None, places)
    assert [entry.row.id for entry in entries] == ["unet", "ours"], "folds are for the full scale"
    found = values(table, entries[1].result)
    (core,) = (r for r in entries[1].result.evaluation if (r["class"], r["metric"]) == ("core", "recall"))
    assert found["core sensitivity"] == core["value"]
    assert len(table.rows_at("full")) == 10


def test_a_row_is_predicted_from_every_subset_and_drawn(places):
    table = find_table("cross_modality/missing")
    entries = smoke(table.id, ["cmc_dropout", "stacked"], places)
    subsets = entries[0].result.subsets
    assert [len(own.modalities) for own in subsets] == [4] + [3] * 4 + [2] * 6 + [1] * 4
    whole = {r["class"]: r["value"] for r in entries[0].result.evaluation if r["metric"] == "dice"}
    assert {name: by_case["case_002"] for name, by_case in subsets[0].dice.items()} == whole
    curves, *bars = write_plots(table, entries, places["results"], "smoke")
    assert curves.name == "curves.svg"
    assert [path.name for path in bars] == ["subsets-cmc_dropout.svg", "subsets-stacked.svg"]
    assert "CMC, dropout" in bars[0].read_text()
    assert "lost over subsets" in markdown(table, entries)


def result(table: Table, row: str, **measured) -> Entry:
    """A row as if it had run."""
    found = Result(
        table=table.id, row=row, source=table.sources[0].name, scale="small", holdout="", split="", data_hash="",
        recipe_hash="", recipe={}, minutes=1, seconds=60, steps=1, best_step=1, parameters=1, curve=[], commit=None,
        versions={}, machine={}, finished="", **({"evaluation": []} | measured),
    )  # fmt: skip
    return Entry(table.row(row), table.sources[0], "done", found)


def of_cases(predicted: dict, labels: dict, names: list[str]) -> dict:
    """What the ledger keeps of an evaluation."""
    import numpy as np

    sides = ({case: np.array(row)[None] for case, row in side.items()} for side in (predicted, labels))
    found = evaluate(*sides, class_names=names)
    assert found.pooled
    return {"evaluation": [row.as_dict() for row in found.rows], "confusion": found.pooled.as_dict()}


BRATS = ["background", "necrosis", "edema", "non-enhancing", "enhancing"]


def test_pooled_values_come_from_the_stored_confusion_matrices():
    table = find_table("cross_modality/table1")
    labels = {"a": [0, 0, 1, 2], "b": [0, 0, 0, 2]}
    predicted = {"a": [0, 0, 1, 1], "b": [0, 2, 0, 2]}
    entry = result(table, "unet", **of_cases(predicted, labels, BRATS))
    found = values(table, entry.result)
    assert found["label 0 %"] == pytest.approx(100 * 4 / 5)
    assert (found["label 1 %"], found["label 2 %"]) == (100, 50)
    assert math.isnan(found["label 4 %"])
    assert found["MeanIU %"] == pytest.approx(100 * (4 / 5 + 1 / 2 + 1 / 3) / 3)
    text = markdown(table, [entry])
    assert "| 80 | 100 | 50 | – | – | 54.4 |" in text
    assert "| U-Net | brats | a | 100 | 100 | 0 | – | – | 50 |" in text, "few cases are shown, by themselves"
    assert "16 channels at every level" in text


def test_pooled_values_of_six_cases_have_an_interval_and_the_cases_are_not_listed():
    table = find_table("cross_modality/table1")
    labels = {case: [0, 1] for case in "abcdef"}
    predicted = {case: [0, 1] if case < "d" else [0, 0] for case in "abcdef"}
    entry = result(table, "unet", **of_cases(predicted, labels, BRATS))
    assert texts(table, entry.result)["label 1 %"].startswith("50 (")
    assert "| a |" not in markdown(table, [entry])


def subset_dice(dice: dict[tuple[str, ...], list[float]]) -> dict:
    """Dice of cases by subset, of one class."""
    cases = [f"case {number}" for number in range(8)]
    return {
        "subsets": [
            SubsetDice(modalities=list(m), dice={"tumour": dict(zip(cases, own, strict=False))})
            for m, own in dice.items()
        ]
    }


def test_what_is_lost_over_subsets_is_all_modalities_less_the_mean_over_every_subset():
    table = find_table("cross_modality/missing")
    robust = subset_dice({("A", "B"): [0.8] * 8, ("A",): [0.8] * 8, ("B",): [0.5] * 4 + [0.8] * 4})
    frail = subset_dice({("A", "B"): [0.9] * 8, ("A",): [0.3] * 8, ("B",): [0.3] * 8})
    one, two = result(table, "cmc_dropout", **robust), result(table, "stacked", **frail)
    found, rival = values(table, one.result), values(table, two.result)
    assert found["mean over subsets"] == pytest.approx(100 * ((0.7 + 0.8) / 2))
    assert found["lost over subsets"] == pytest.approx(100 * (0.1 + 0) / 2)
    assert rival["lost over subsets"] == pytest.approx(100 * (0.9 - 0.5))
    assert math.isnan(found["lost of core"])
    lost = next(p for p in compare_pairs(table, [one, two]) if p.measure.name == "lost over subsets")
    assert lost.line.paired.difference == pytest.approx(0.05 - 0.4)
    assert lost.line.paired.wins == 8, "to lose less is to win"


def test_measures_over_subsets_ask_for_them():
    with pytest.raises(ValidationError, match="subsets: true"):
        Table.model_validate(find_table("cross_modality/missing").model_dump() | {"subsets": False})
    assert Measure(name="x", metric="dice", statistic="over_subsets").of_subsets


def test_trainings_share_lists_of_settings():
    assert Training(recipe="r", settings=[["a=1", ["b=2"]], "c=3"]).settings == ["a=1", "b=2", "c=3"]


def test_a_training_may_hold_out_other_cases_than_its_table(tmp_path):
    table = find_table("cross_modality/table4")
    table.row("ours").smoke.holdout = "case_001"
    places = {"results": tmp_path / "results", "work": tmp_path / "work"}
    (entry,) = reproduce(table, rows=["ours"], scale="smoke", **places)
    assert entry.result.holdout == "case_001"
    assert {line["case"] for line in entry.result.evaluation} == {"case_001"}


def test_a_table_of_no_paper_says_nothing_of_one():
    table = find_table("cross_modality/missing")
    assert "paper:" not in caption(table, [result(table, "cmc")])


def test_road_scenes_take_the_users_data_alone(tmp_path):
    with pytest.raises(ConfigError, match="needs data of layout camvid"):
        list(reproduce(find_table("cross_modality/table2"), results=tmp_path, work=tmp_path, run=False))


def test_results_without_confusion_or_subsets_still_read(tmp_path):
    entry = result(find_table("cross_modality/table1"), "unet")
    path = Ledger(tmp_path).write(entry.result)
    plain = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in plain.items() if key not in ("confusion", "subsets")}))
    assert Ledger(tmp_path).read("cross_modality/table1", "brats", "small", "unet") == entry.result


def test_frames_of_a_film_that_are_far_apart_are_trained_on_measured_and_drawn(tmp_path):
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    for split, numbers in (("train", range(840, 960, 30)), ("val", range(7959, 7969, 2))):
        for folder in (split, f"{split}annot"):
            (tmp_path / "camvid" / folder).mkdir(parents=True)
        for number in numbers:
            picture = random.integers(0, 256, (24, 40, 3), np.uint8)
            label = random.integers(0, 12, (24, 40)).astype(np.uint8)
            for folder, array in ((split, picture), (f"{split}annot", label)):
                Image.fromarray(array).save(tmp_path / "camvid" / folder / f"0016E5_{number:05d}.png")
    table = find_table("cross_modality/table2")
    table.row("segnet").small = table.row("segnet").smoke
    places = {"data": tmp_path / "camvid", "results": tmp_path / "results", "work": tmp_path / "work"}
    (entry,) = reproduce(table, rows=["segnet"], **places)
    assert (entry.source.name, entry.result.holdout) == ("camvid", "val")
    assert len(entry.result.confusion["classes"]) == 11
    assert 0 < values(table, entry.result)["MeanIU %"] < 20, "noise"
    assert "could not be drawn" not in (entry.run / "report.html").read_text()


def test_stored_rows_are_listed_without_the_data(tmp_path, capsys):
    assert main(["reproduce", "cross_modality/table2", "--stored", "--json", "--results", str(tmp_path)]) == 0
    assert {row["state"] for row in json.loads(capsys.readouterr().out)} == {"not run"}
