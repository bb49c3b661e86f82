"""One training on several random splits."""

import json
import shutil

import pytest

import recurseg
from recurseg.cli.main import main
from recurseg.errors import ConfigError, DataError
from recurseg.training.repeats import Repeats
from recurseg.training.run import Run

ARGUMENTS = {"model": "unet", "holdout": "0.5"}
QUICK = [
    "model.options={widths: [2, 3], norm: none}",
    "stages=[{steps: 2, window: [1, 12, 12]}]",
    "prediction.window=[1, 20, 18]",
    "validation.times=1",
]


@pytest.fixture(scope="module")
def done(make_stacks, tmp_path_factory) -> Repeats:
    """Three splits of four cases, from seed 4 on."""
    root = tmp_path_factory.mktemp("repeats")
    data = make_stacks(root / "data")
    return recurseg.train_repeats(data, repeats=3, out=root / "out", seed=4, settings=QUICK, **ARGUMENTS)


def test_each_repeat_is_an_ordinary_run_with_the_next_seed_and_its_split(done):
    assert [run.recipe.seed for run in done.runs] == [4, 5, 6]
    assert [run.folder.name for run in done.runs] == ["repeat-1", "repeat-2", "repeat-3"]
    for run in done.runs:
        assert (run.folder / "report.html").exists()
        assert len(run.manifest["split"]["validation"]) == len(run.manifest["split"]["train"]) == 2
    assert len({tuple(run.manifest["split"]["validation"]) for run in done.runs}) > 1
    alone = [run.recipe.model_dump(exclude={"seed"}) for run in done.runs]
    assert alone[0] == alone[1] == alone[2], "nothing else differs"


def test_repeats_json_holds_means_over_splits_and_every_case(done):
    found = json.loads((done.folder / "repeats.json").read_text())
    assert found["repeats"] == 3
    dice = next(line for line in found["summary"] if line["metric"] == "dice")
    values = [run.evaluation.value("dice") for run in done.runs]
    assert dice["values"] == pytest.approx(values)
    assert dice["mean"] == pytest.approx(sum(values) / 3)
    low, high = dice["interval"]
    assert low <= dice["mean"] <= high
    of_cases = {line["case"]: line["values"] for line in found["cases"] if line["metric"] == "dice"}
    held = [(own["run"], case) for own in found["splits"] for case in own["held_out"]]
    assert sorted(held) == sorted((run, case) for case, own in of_cases.items() for run in own)
    assert any("depend on each other" in note for note in found["notes"])


def test_finished_repeats_are_left_as_they_are_and_may_become_more(done, tmp_path):
    folder = shutil.copytree(done.folder, tmp_path / "out")
    before = json.loads((folder / "repeats.json").read_text())
    weights = (folder / "repeat-2" / "package" / "weights.safetensors").stat().st_mtime_ns
    again = recurseg.train_repeats(out=folder, resume=True)
    assert json.loads(json.dumps(again.as_dict())) == before
    assert (folder / "repeat-2" / "package" / "weights.safetensors").stat().st_mtime_ns == weights
    more = recurseg.train_repeats(out=folder, repeats=4, resume=True)
    assert more.runs[-1].recipe.seed == 7


def test_what_was_broken_off_goes_on_from_the_command_line_without_saying_it_again(done, tmp_path, capsys):
    folder = shutil.copytree(done.folder, tmp_path / "out")
    shutil.rmtree(folder / "repeat-3")
    shutil.rmtree(folder / "repeat-2" / "package")
    (folder / "repeat-3").mkdir()
    (folder / "repeat-3" / "recipe.yaml").touch()  # killed before the manifest was written
    (folder / "repeats.json").write_text('{"schema_version": 1, "repeats": 3}')
    assert main(["train", "--resume", "--out", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    whole = json.loads(json.dumps(done.as_dict()))
    assert [own["held_out"] for own in found["splits"]] == [own["held_out"] for own in whole["splits"]]
    assert found["summary"] == whole["summary"]
    assert (folder / "repeat-2" / "package").is_dir()


def test_the_command_prints_a_table(make_stacks, tmp_path, capsys):
    data, settings = make_stacks(tmp_path / "data"), [part for own in QUICK for part in ("--set", own)]
    command = ["train", str(data), "--out", str(tmp_path / "out"), "--repeats", "2", "--model", "unet"]
    assert main([*command, "--holdout", "0.5", *settings]) == 0
    text = capsys.readouterr().out
    assert "2 random splits" in text
    assert Run(tmp_path / "out" / "repeat-2").manifest["seed"] == 1


@pytest.mark.parametrize("holdout", ["case1", "every 2nd"])
def test_a_holdout_that_no_seed_changes_is_one_clear_line(stacks, tmp_path, holdout):
    with pytest.raises(ConfigError, match=f"--holdout {holdout} is the same for every seed"):
        recurseg.train_repeats(stacks, repeats=2, out=tmp_path / "out", holdout=holdout)
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_repeated_is_one_clear_line(stacks, tmp_path):
    with pytest.raises(ConfigError, match="at least 2 times"):
        recurseg.train_repeats(stacks, repeats=1, out=tmp_path / "out")
    with pytest.raises(ConfigError, match="no repeated training to resume"):
        recurseg.train_repeats(repeats=2, out=tmp_path / "out", resume=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious.txt").touch()
    with pytest.raises(ConfigError, match="exists already"):
        recurseg.train_repeats(stacks, repeats=2, out=tmp_path / "out")


def test_other_arguments_than_at_first_are_refused(done):
    with pytest.raises(ConfigError, match=r"leave out holdout 0.25 \(was 0.5\)"):
        recurseg.train_repeats(out=done.folder, resume=True, holdout="0.25")


def test_data_that_change_between_two_repeats_are_refused(make_stacks, tmp_path):
    data = make_stacks(tmp_path / "data")
    out = recurseg.train_repeats(data, repeats=2, out=tmp_path / "out", settings=QUICK, **ARGUMENTS).folder
    shutil.rmtree(out / "repeat-2")
    image = data / "images" / "case0.tif"
    image.write_bytes(image.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match="case0 changed"):
        recurseg.train_repeats(out=out, resume=True)
