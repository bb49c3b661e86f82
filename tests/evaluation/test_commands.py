"""`recurseg evaluate` and `recurseg compare`."""

import json

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from recurseg.cli.compare import compare
from recurseg.cli.evaluate import evaluate
from recurseg.errors import ConfigError

APP = typer.Typer()
APP.command("evaluate")(evaluate)
APP.command("compare")(compare)


def run(*arguments):
    result = CliRunner().invoke(APP, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def folders(tmp_path):
    """Predictions of two methods and their labels, seven single images each."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for case in "abcdefg":
        reference = rng.integers(0, 2, (16, 16))
        for name, share in (("labels", 0), ("good", 0.05), ("bad", 0.3)):
            array = np.where(rng.random(reference.shape) < share, 1 - reference, reference)
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray((array * 255).astype(np.uint8)).save(tmp_path / name / f"{case}.png")
    return tmp_path


def test_evaluate_prints_a_table_and_writes_both_files(folders):
    result = run("evaluate", folders / "good", folders / "labels", "--out", folders / "result")
    assert result.exit_code == 0
    assert "7 cases" in result.output
    assert "--spacing" in result.output, "says why metrics in mm are missing"
    assert {p.name for p in (folders / "result").iterdir()} == {"evaluation.csv", "evaluation.json"}


def test_evaluate_prints_one_json_document(folders):
    result = run(
        "evaluate", folders / "good", folders / "labels", "--json", "--metrics", "dice, hd95_mm", "--spacing", "1,1"
    )
    document = json.loads(result.stdout)
    assert {row["metric"] for row in document["rows"]} == {"dice", "hd95_mm"}
    assert document["summary"][0]["interval"] is not None


@pytest.mark.parametrize(
    "arguments", [("--out", "x.xlsx"), ("--spacing", "1;1"), ("--metrics", "dise"), ("--spacing", "0,1")]
)
def test_wrong_options_are_refused(folders, arguments):
    with pytest.raises(ConfigError):
        run("evaluate", folders / "good", folders / "labels", *arguments)


def test_compare_of_two_files_and_of_two_folders_of_predictions_agree(folders):
    for name in ("good", "bad"):
        run("evaluate", folders / name, folders / "labels", "--out", folders / f"{name}.json")
    from_files = json.loads(run("compare", folders / "bad.json", folders / "good.json", "--json").stdout)
    from_folders = json.loads(
        run("compare", folders / "bad", folders / "good", "--labels", folders / "labels", "--json").stdout
    )
    assert from_files["comparison"] == from_folders["comparison"]
    dice = from_files["comparison"][0]
    assert (dice["metric"], dice["wins"], dice["losses"]) == ("dice", 7, 0)
    assert dice["p"] == pytest.approx(2 / 2**7)


def test_compare_prints_a_table_and_writes_json(folders):
    result = run(
        "compare", folders / "bad", folders / "good", "--labels", folders / "labels",
        "--metrics", "dice", "--out", folders / "c.json",
    )  # fmt: skip
    assert "7/0/0" in result.output
    assert json.loads((folders / "c.json").read_text())["comparison"]


def test_compare_of_three_or_with_ranks_prints_the_ranking(folders):
    for name in ("good", "bad"):
        run("evaluate", folders / name, folders / "labels", "--out", folders / f"{name}.json")
    run("evaluate", folders / "labels", folders / "labels", "--out", folders / "right")
    three = [folders / "bad.json", folders / "good.json", folders / "right"]
    document = json.loads(run("compare", *three, "--metrics", "dice", "--json").stdout)
    assert [(place["run"], place["rank_sum"]) for place in document["ranking"]] == [
        ("right", 1),
        ("good", 2),
        ("bad", 3),
    ]
    result = run("compare", *three[:2], "--ranks", "--out", folders / "ranks.json")
    assert "rank sum" in result.output
    assert json.loads((folders / "ranks.json").read_text())["ranking"][0]["run"] == "good"


def test_one_method_given_twice_is_refused(folders):
    with pytest.raises(ConfigError, match="twice"):
        run("compare", folders / "x.json", folders / "x.json", "--ranks")
