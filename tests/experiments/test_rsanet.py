"""The tables of RSANet: random splits together and one by one, run from end to end at the smallest scale."""

from __future__ import annotations

import json
import math

import pytest

from recurseg.data.splits import split_cases
from recurseg.experiments import Result, find_table
from recurseg.experiments.ledger import Ledger
from recurseg.experiments.measured import texts, values
from recurseg.experiments.pairs import PairedSplits, compare_pairs
from recurseg.experiments.plot import write_plots
from recurseg.experiments.rows import Entry, reproduce, stored
from recurseg.experiments.show import as_data, caption, markdown
from recurseg.experiments.splits import together
from recurseg.models import create_model
from recurseg.training.recipe_files import published_recipe
from recurseg.training.settings import override

TABLE = find_table("rsanet/table1")


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("rsanet")
    return {"results": root / "results", "work": root / "work"}


@pytest.fixture(scope="module")
def finished(places) -> list[Entry]:
    return list(reproduce(TABLE, scale="smoke", **places))


def test_the_papers_numbers_are_as_printed():
    best = {"sample Dice %": 65.949, "voxel Dice %": 71.589, "sample IoU %": 50.896, "voxel IoU %": 55.847}
    assert TABLE.printed["RSA-101"] == best
    assert [row.name for row in TABLE.rows] == list(TABLE.printed)


def test_rows_differ_in_nothing_but_the_network_and_its_options_are_there():
    for scale in ("small", "full"):
        trainings = [row.training(scale) for row in TABLE.rows]
        recipes = [override(published_recipe(training.recipe), training.settings) for training in trainings]
        assert len({recipe.model_dump_json(exclude={"model"}) for recipe in recipes}) == 1
        assert len({str(recipe.model.options.get("widths")) for recipe in recipes}) == 1
        placed = [recipe.model.options.get("placement") for recipe in recipes]
        assert placed == [None, *(row.name.split("-")[1] for row in TABLE.rows[1:])]
        for model in (recipe.model for recipe in recipes if scale == "small"):
            assert create_model(model.name, in_channels=3, num_classes=2, **model.options)
    assert {row.small.minutes for row in TABLE.rows} == {5}
    assert {row.full.repeats for row in TABLE.rows} == {5}


def test_windows_of_the_paper_halve_four_times():
    (stage,) = published_recipe("rsanet/paper").stages
    assert all(side % 16 == 0 for side in stage.window)


def test_twenty_patients_train_and_23_are_held_out():
    from types import SimpleNamespace

    cases = [SimpleNamespace(id=f"{n}", patient=f"{n}", label=True, slice_axis=0) for n in range(43)]
    dataset = SimpleNamespace(to_learn_from=cases, manifest=SimpleNamespace(splits={}))
    for source in TABLE.sources:
        split = split_cases(dataset, source.holdout, labelled=False)
        assert (len(split.train), len(split.validation)) == (20, 23)


def test_a_row_of_each_network_runs_at_the_smallest_scale_and_is_measured(finished, places):
    found = {entry.row.id: values(TABLE, entry.result) for entry in finished if entry.result}
    assert set(found) == {"unet3d", "ncl_101", "rsa_101"}
    assert all(0 <= number <= 100 for own in found.values() for number in own.values())
    for path in write_plots(TABLE, finished, places["results"], "smoke"):
        assert path.stat().st_size > 1000


def test_two_patients_are_each_held_out_once(tmp_path):
    table = find_table("rsanet/two_patients")
    entries = list(reproduce(table, scale="smoke", results=tmp_path / "results", work=tmp_path / "work"))
    assert [entry.row.id for entry in entries if entry.result] == ["unet3d_07", "rsa_101_07"]
    assert {row.small.holdout for row in table.rows} == {"patient07", "patient19"}
    assert all("modalities=[FLAIR, T1, T2]" in source.recipe_settings for source in table.sources)


def test_a_repeated_row_stores_each_split_and_their_mean(finished, places):
    entry = next(entry for entry in finished if entry.row.id == "unet3d")
    path = places["results"] / "rsanet/table1/ms_lesions/smoke/unet3d.json"
    document = json.loads(path.read_text())
    assert len(document["splits"]["results"]) == 2
    assert document["splits"]["held_over_trained"] == 1
    assert {(s["metric"], s["average"]) for s in document["splits"]["summary"]} >= {
        ("dice", "sample"),
        ("dice:pooled", "voxel"),
    }
    each = [values(TABLE, own) for own in entry.result.splits.results]
    for name, mean in values(TABLE, entry.result).items():
        assert mean == pytest.approx(sum(own[name] for own in each) / 2)
    assert Ledger(places["results"]).read(TABLE.id, "ms_lesions", "smoke", "unet3d") == entry.result


def test_finished_splits_are_not_run_again_but_another_number_of_them_is(finished, places, monkeypatch):
    monkeypatch.setattr("recurseg.experiments.rows.train_repeats", None)
    table = TABLE.model_copy(deep=True)
    (entry,) = reproduce(table, rows=["unet3d"], scale="smoke", **places)
    assert entry.state == "done"
    table.row("unet3d").smoke.repeats = 3
    (entry,) = reproduce(table, rows=["unet3d"], scale="smoke", run=False, **places)
    assert (entry.state, entry.result) == ("stale: the splits changed", None)


def test_splits_whose_result_is_lost_are_measured_from_their_runs(finished, places):
    entry = next(entry for entry in finished if entry.row.id == "unet3d")
    Ledger(places["results"]).path(TABLE.id, "ms_lesions", "smoke", "unet3d").unlink()
    weights = entry.run / "repeat-2" / "package" / "weights.safetensors"
    before = weights.stat().st_mtime_ns
    (again,) = reproduce(TABLE, rows=["unet3d"], scale="smoke", **places)
    assert weights.stat().st_mtime_ns == before
    assert values(TABLE, again.result) == values(TABLE, entry.result)


def on_split(seed: int, dice: dict[str, float], row: str = "unet3d") -> Result:
    return Result(
        table=TABLE.id, row=row, source="ms_lesions", scale="small", holdout="0.535", split=f"seed {seed}",
        data_hash="", recipe_hash="", recipe={"seed": seed}, minutes=5, seconds=300, steps=100,
        best_step=90, parameters=1000, curve=[], commit=None, versions={}, machine={}, finished="",
        evaluation=[
            {"case": case, "class": "lesion", "metric": "dice", "value": value, "unit": ""}
            for case, value in dice.items()
        ],
    )  # fmt: skip


def row(id: str, result: Result) -> Entry:
    return Entry(TABLE.row(id), TABLE.sources[0], "done", result)


@pytest.fixture
def three() -> list[Entry]:
    """U-Net and RSA-101 on three splits, RSA-010 on the first of them."""
    unet = [on_split(0, {"a": 0.5, "b": 0.7}), on_split(1, {"a": 0.6, "c": 0.8}), on_split(2, {"b": 0.7, "c": 0.7})]
    rsa = [
        on_split(0, {"a": 0.6, "b": 0.8}, "rsa_101"),
        on_split(1, {"a": 0.8, "c": 1.0}, "rsa_101"),
        on_split(2, {"b": 1.0, "c": 1.0}, "rsa_101"),
    ]
    one = on_split(0, {"a": 0.7, "b": 0.9}, "rsa_010")
    return [row("unet3d", together(unet, 1)), row("rsa_101", together(rsa, 1)), row("rsa_010", one)]


def test_a_row_on_several_splits_shows_mean_and_deviation_over_them(three):
    result = three[0].result
    assert values(TABLE, result)["sample Dice %"] == pytest.approx((60 + 70 + 70) / 3)
    assert texts(TABLE, result)["sample Dice %"] == "66.7 ± 5.8"
    assert result.seconds == 900
    assert result.split == "3 random splits; the first: seed 0"


def test_two_rows_on_several_splits_are_compared_over_splits(three):
    """Differences are 10, 20 and 30: mean 20, s = 10, error √(1/3 + 1)·10, t = 1.732, and p of 2 degrees 0.225."""
    (pair,) = [pair for pair in compare_pairs(TABLE, three[:2]) if pair.measure.name == "sample Dice %"]
    assert isinstance(pair, PairedSplits)
    t = 20 / (math.sqrt(4 / 3) * 10)
    assert (pair.over.mean, pair.over.sd) == (pytest.approx(20), pytest.approx(10))
    assert pair.over.p == pytest.approx(1 - t / math.sqrt(t**2 + 2))
    text = markdown(TABLE, three[:2])
    assert "| RSA-101 − 3-D U-Net, over splits | sample Dice % | +20 |" in text
    assert "corrected t, p 0.23" in text


def test_a_row_on_one_split_is_compared_with_the_first_split_of_another_case_by_case(three):
    (pair,) = [pair for pair in compare_pairs(TABLE, [three[0], three[2]]) if pair.measure.name == "sample Dice %"]
    assert [case for case, *_ in pair.line.pairs] == ["a", "b"]
    assert pair.line.paired.difference == pytest.approx(0.2)


def test_below_the_table_stands_each_split_and_the_caption_says_how_to_compare(three):
    text = markdown(TABLE, three)
    assert "| 3-D U-Net | ms_lesions | 1 | 60 |" in text
    assert "| RSA-101 | ms_lesions | 3 | 100 |" in text
    assert "| RSA-010 | ms_lesions | 1 | 80 |" in text
    assert "| RSA-101 | ms_lesions | mean | 86.7 (" in text
    assert "Nadeau and Bengio" in caption(TABLE, three)
    assert "Nadeau" not in caption(TABLE, three[2:])
    json.dumps(as_data(TABLE, three))


def test_stored_rows_of_each_scale_are_listed_once(three, tmp_path):
    Ledger(tmp_path).write(three[0].result)
    states = {entry.row.id: entry.state for entry in stored(TABLE, tmp_path)}
    assert states["unet3d"] == "stored (small)"
    assert len(stored(TABLE, tmp_path)) == 7
