"""Predictions from every subset of the modalities: recognised, measured, averaged."""

import json
from itertools import combinations

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from recurseg.cli.evaluate import evaluate as command
from recurseg.errors import ConfigError, DataError
from recurseg.evaluation import evaluate, evaluate_subsets, subset_folders

MODALITIES = ("FLAIR", "T1c", "T2")
ORDER = [("FLAIR", "T1c", "T2"), ("FLAIR", "T1c"), ("FLAIR", "T2"), ("T1c", "T2"), ("FLAIR",), ("T1c",), ("T2",)]
APP = typer.Typer()
APP.command()(command)


def save(folder, name, labels):
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(labels.astype(np.uint8)).save(folder / f"{name}.png")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Seven cases of three classes; the fewer modalities, the more wrong voxels."""
    root, rng = tmp_path_factory.mktemp("subsets"), np.random.default_rng(0)
    for case in "abcdefg":
        labels = rng.integers(0, 3, (12, 12))
        save(root / "labels", case, labels)
        for size in (1, 2, 3):
            for subset in combinations(MODALITIES, size):
                wrong = rng.random(labels.shape) < 0.6 - 0.2 * size
                save(root / "predicted" / "+".join(subset), case, np.where(wrong, (labels + 1) % 3, labels))
    return root


def run(*arguments):
    result = CliRunner().invoke(APP, [str(a) for a in arguments], env={"COLUMNS": "150"})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_all_modalities_come_first_and_then_subsets_by_their_number(folder):
    assert list(subset_folders(folder / "predicted")) == ORDER


@pytest.mark.parametrize("names", [["T1"], ["a", "b"], ["T1+T2", "T2+FLAIR"], ["T1+T1", "T1"]])
def test_other_folders_are_not_taken_for_subsets(tmp_path, names):
    for name in names:
        save(tmp_path / name, "a", np.ones((3, 3)))
    assert subset_folders(tmp_path) == {}
    with pytest.raises(DataError, match="FLAIR\\+T1"):
        evaluate_subsets(tmp_path, {"a": np.ones((3, 3), int)})


def test_a_folder_of_label_files_is_one_prediction_whatever_folders_lie_in_it(tmp_path, folder):
    for name in ("T1+T2", "T1", "."):
        save(tmp_path / name, "a", np.ones((3, 3)))
    assert subset_folders(tmp_path) == {}
    assert subset_folders(tmp_path / "absent") == {}
    assert subset_folders(folder / "labels" / "a.png") == {}


def test_each_subset_is_what_evaluating_its_folder_gives(folder):
    found = evaluate_subsets(folder / "predicted", folder / "labels", metrics=["dice", "mean_iou:pooled"])
    alone = evaluate(folder / "predicted" / "T1c", folder / "labels", metrics=["dice", "mean_iou:pooled"])
    assert list(found.summaries[("T1c",)].values()) == alone.full_summary()
    assert found.modalities == MODALITIES
    assert found.notes == []


def test_the_mean_over_subsets_is_the_mean_of_the_column(folder):
    metrics = ["dice", "mean_iou:pooled"]
    found = evaluate_subsets(folder / "predicted", folder / "labels", metrics=metrics, regions={"any": [1, 2]})
    for key, whole in found.mean.items():
        assert whole.value == pytest.approx(np.mean([own[key].mean for own in found.summaries.values()]))
        assert whole.interval is not None
        assert whole.interval[0] < whole.value < whole.interval[1]
    assert found.names("dice") == ["any"], "regions are what a table shows where there are any"
    assert found.names("mean_iou:pooled") == ["mean of classes"]


def test_a_case_that_some_subset_lacks_is_left_out_of_all(folder, tmp_path):
    labels = {case: np.array(Image.open(folder / "labels" / f"{case}.png")) for case in "abc"}
    for subset, cases in {"T1+T2": "abc", "T1": "ab", "T2": "abc"}.items():
        for case in cases:
            save(tmp_path / subset, case, labels[case])
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth" / "dataset.yaml").write_text(
        "schema_version: 1\nname: x\nmodalities: [T1]\nclasses: {0: background, 1: a, 2: b}\ncases:\n"
        + "".join(f"  - {{id: {c}, images: {{T1: {c}.png}}, label: {c}.png}}\n" for c in "abc")
    )
    for case, array in labels.items():
        save(tmp_path / "truth", case, array)
    (tmp_path / "predicted").mkdir()
    for name in ("T1+T2", "T1", "T2"):
        (tmp_path / name).rename(tmp_path / "predicted" / name)
    found = evaluate_subsets(tmp_path / "predicted", tmp_path / "truth")
    assert found.cases == ["a", "b"]
    assert "left out, since not every subset predicted them: c" in found.notes


def test_missing_subsets_are_said(folder, tmp_path):
    for name in ("FLAIR+T1c+T2", "FLAIR"):
        (tmp_path / name).symlink_to(folder / "predicted" / name)
    assert "2 of 7 subsets" in evaluate_subsets(tmp_path, folder / "labels").notes[-1]


def test_the_command_prints_a_table_and_writes_document_and_chart(folder, tmp_path):
    result = run(
        folder / "predicted", folder / "labels", "--regions", "any=1,2", "--metrics", "dice,recall:pooled",
        "--out", tmp_path / "all.json",
    )  # fmt: skip
    assert "dice, 7 cases" in result.output
    assert "mean of 7" in result.output
    lines = [line.split() for line in result.output.splitlines() if "●" in line]
    assert [line[:3] for line in lines[:7]] == [["●" if m in subset else "·" for m in MODALITIES] for subset in ORDER]
    document = json.loads((tmp_path / "all.json").read_text())
    assert document["modalities"] == list(MODALITIES)
    assert [tuple(entry["modalities"]) for entry in document["subsets"]] == ORDER
    assert document["regions"] == {"any": [1, 2]}
    assert (tmp_path / "all.svg").read_text().startswith("<?xml")


def test_the_command_prints_one_json_document_and_writes_into_a_folder(folder, tmp_path):
    result = run(folder / "predicted", folder / "labels", "--json", "--out", tmp_path / "new")
    assert [entry["class"] for entry in json.loads(result.stdout)["mean"]] == [
        "class 1",
        "class 2",
        "mean of classes",
    ]
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"evaluation.json", "evaluation.svg"}


@pytest.mark.parametrize("arguments", [("--out", "x.csv"), ("--failures", "0.9")])
def test_what_subsets_do_not_have_is_refused(folder, arguments):
    with pytest.raises(ConfigError, match="subset"):
        run(folder / "predicted", folder / "labels", *arguments)
