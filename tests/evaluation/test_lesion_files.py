"""Lesions through files and the command line: tables, JSON and CSV, the plot, and options."""

import csv
import json

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from recurseg.cli.evaluate import evaluate as command
from recurseg.errors import ConfigError
from recurseg.evaluation import evaluate, read_evaluation
from recurseg.evaluation.result import together

APP = typer.Typer()
APP.command()(command)
nib = pytest.importorskip("nibabel")


def brain(*lesions):
    """A label of (12, 12, 6) with boxes of voxels: (corner, shape)."""
    label = np.zeros((12, 12, 6), np.uint8)
    for corner, shape in lesions:
        label[tuple(slice(start, start + length) for start, length in zip(corner, shape, strict=True))] = 1
    return label


SMALL, MEDIUM, LARGE, EXTRA = (
    ((0, 0, 0), (2, 2, 1)), ((4, 4, 1), (3, 3, 2)), ((0, 8, 3), (6, 4, 3)), ((10, 10, 4), (1, 1, 1))
)  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Seven patients with a small, a medium and a large lesion each: small ones are missed in odd patients."""
    root = tmp_path_factory.mktemp("lesions")
    for n in range(7):
        sides = {"labels": (SMALL, MEDIUM, LARGE), "found": (MEDIUM, LARGE, EXTRA if n % 2 else SMALL)}
        for name, lesions in sides.items():
            (root / name).mkdir(exist_ok=True)
            image = nib.Nifti1Image(brain(*lesions), np.diag([1.0, 1.0, 3.0, 1.0]))
            nib.save(image, root / name / f"p{n}.nii.gz")
    return root


def run(folders, *options):
    arguments = [folders / "found", folders / "labels", "--classes", "background,lesion", *options]
    result = CliRunner(env={"COLUMNS": "80"}).invoke(APP, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_the_terminal_shows_found_and_false_lesions_by_size_and_both_averages(folders):
    result = run(folders)
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "lesion, 7 cases together: 26-connected, any overlap counts" in lines
    assert "all small ≤ 30 mm³ medium ≤ 150 mm³ large > 150 mm³" in lines
    assert "in the labels 21 7 7 7" in lines
    assert "found 18 4 7 7" in lines
    assert "false 3 3 0 0" in lines
    assert "true-positive rate 0.8571 0.5714 1.0000 1.0000" in lines
    assert any(line.startswith("lesion count 3.00 3.00 0.00") for line in lines)
    assert any(line.startswith("lesion load 0.282") for line in lines), "12 + 54 + 216 mm³"
    assert any(line.startswith("dice lesion sample") for line in lines)
    assert any(line.startswith("dice:pooled lesion voxel") for line in lines)
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_a_folder_gets_tables_and_the_plot(folders, tmp_path):
    result = run(folders, "--out", tmp_path / "out")
    assert result.exit_code == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"evaluation.csv", "evaluation.json", "lesions.csv", "bland_altman_lesions.svg"}
    with (tmp_path / "out" / "lesions.csv").open() as stream:
        rows = {(row["case"], row["size"]): row for row in csv.DictReader(stream)}
    assert len(rows) == 7 * 4
    assert rows["p1", "small"] == {
        "case": "p1", "class": "lesion", "size": "small", "label": "1", "found": "0", "prediction": "1", "false": "1",
        "label_ml": "0.012", "prediction_ml": "0.003",
    }  # fmt: skip
    assert "lesion load, 7 cases" in (tmp_path / "out" / "bland_altman_lesions.svg").read_text().replace("\n", " ")


def test_json_holds_everything_and_comes_back(folders, tmp_path):
    assert run(folders, "--out", tmp_path / "e.json").exit_code == 0
    assert (tmp_path / "e_lesions.svg").is_file()
    document = json.loads((tmp_path / "e.json").read_text())["lesions"]
    assert document["rule"] == "any_overlap_26"
    assert document["sizes_mm3"]["large"] == [150, None]
    (whole, *_) = document["detection"]
    assert (whole["size"], whole["lesions"], whole["found"]) == ("all", 21, 18)
    assert whole["tpr"]["value"] == pytest.approx(6 / 7)
    again = read_evaluation(tmp_path / "e.json").lesions
    assert again is not None
    assert json.loads(json.dumps(again.as_dict())) == document


def test_options_set_rule_and_sizes_or_leave_lesions_out(folders):
    document = json.loads(run(folders, "--lesion-rule", "overlap_0.5_6", "--lesion-sizes", "20,60", "--json").stdout)
    assert document["lesions"]["rule"] == "overlap_0.5_6"
    assert document["lesions"]["sizes_mm3"]["medium"] == [20, 60]
    assert {"lesion_tpr:overlap_0.5_6"} <= {row["metric"] for row in document["rows"]}
    without = json.loads(run(folders, "--no-lesions", "--json").stdout)
    assert without["lesions"] is None
    assert not any(row["metric"].startswith("lesion") for row in without["rows"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--lesion-rule", "any_overlap_8"), "write any_overlap_26"),
        (("--lesion-sizes", "30"), "two ascending volumes"),
        (("--lesion-sizes", "a,b"), "two volumes in mm³"),
        (("--metrics", "lesion_tpr:any_overlap_20"), "did you mean 'lesion_tpr:any_overlap_26'"),
    ],
    ids=str,
)
def test_what_cannot_be_is_said_in_one_line(folders, options, message):
    with pytest.raises(ConfigError, match=message):
        run(folders, *options)


def test_evaluations_of_parts_join_to_that_of_all(folders):
    names = ["background", "lesion"]
    whole = evaluate(folders / "found", folders / "labels", class_names=names)
    sides = {
        name: {f"p{n}": nib.load(folders / name / f"p{n}.nii.gz").get_fdata().astype(np.uint8) for n in range(7)}
        for name in ("found", "labels")
    }
    parts = [
        evaluate({case: sides["found"][case]}, {case: label}, class_names=names, spacing=(1, 1, 3))
        for case, label in sides["labels"].items()
    ]
    joined = together(parts).lesions
    assert joined is not None
    assert whole.lesions is not None
    assert joined.as_dict() == whole.lesions.as_dict()
