import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import recurseg
from recurseg.errors import ConfigError, DataError
from recurseg.inference.package import load_package
from recurseg.inference.predictor import load
from recurseg.training.checkpoint import Checkpoints
from recurseg.training.log import read_log
from recurseg.training.run import Run, train


def weights(run):
    return load_file(run / "package" / "weights.safetensors")


def last(run):
    checkpoints = Checkpoints(run / "checkpoints")
    return load_file(checkpoints.path(checkpoints.steps()[-1]) / "weights.safetensors")


def test_a_run_folder_holds_all_that_is_promised(stacks, small, tmp_path):
    run = train(stacks, out=tmp_path / "run", holdout="case3", settings=small)
    names = {path.name for path in run.folder.iterdir()}
    assert names == {
        "recipe.yaml",
        "manifest.json",
        "log.jsonl",
        "checkpoints",
        "package",
        "validation",
        "report.html",
    }
    assert run.manifest["split"]["validation"] == ["case3"]
    assert set(run.manifest["hashes"]) == {f"case{n}" for n in range(4)}
    events = read_log(run.folder / "log.jsonl")
    assert [e["step"] for e in events if e["event"] == "step"] == list(range(1, 13))
    assert [e["step"] for e in events if e["event"] == "validation"] == [4, 8, 12]
    assert run.evaluation.cases == ["case3"]
    assert not [path for path in run.folder.rglob("*") if ".part" in path.name]
    assert not [path for path in run.folder.rglob("*.p*") if path.suffix in (".pt", ".pth", ".pkl")]


def test_training_learns_what_a_ball_is(stacks, small, tmp_path):
    run = recurseg.train(
        stacks, out=tmp_path / "run", holdout="case3", settings=[*small, "stages.0.steps=100", "optimizer.lr=2e-2"]
    )
    assert run.evaluation.value("dice") > 0.8


@pytest.mark.parametrize("model", ["light_unet", "unet3d", "monai_segresnet"])
def test_other_models_train_the_same_way(stacks, tmp_path, model):
    depth = 4 if model == "unet3d" else 1  # sections that lie three times apart are planned one by one
    settings = [f"stages=[{{steps: 2, window: [{depth}, 16, 16]}}]"]
    if model == "unet3d":
        settings.append("model.options={widths: [8, 16]}")
    run = train(stacks, model=model, out=tmp_path / "run", holdout="case3", settings=settings)
    assert run.evaluation.cases == ["case3"]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_low_precision_trains(stacks, small, tmp_path, precision):
    run = train(stacks, out=tmp_path / "run", holdout="case3", settings=[*small, f"precision={precision}"])
    assert all(torch.isfinite(tensor).all() for tensor in weights(run.folder).values())


def test_the_same_seed_gives_the_same_weights_and_another_does_not(stacks, small, tmp_path):
    runs = [
        train(stacks, out=tmp_path / n, holdout="case3", seed=s, settings=small)
        for n, s in (("a", 1), ("b", 1), ("c", 2))
    ]
    one, same, other = (last(run.folder) for run in runs)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not all(torch.equal(one[key], other[key]) for key in one)


def test_a_killed_training_resumes_to_the_same_bits(stacks, small, tmp_path):
    settings = [
        *small,
        "stages=[{steps: 20, window: [3, 12, 12], batch: 2}, {steps: 20, window: [5, 16, 16], batch: 1}]",
    ]
    whole = train(stacks, out=tmp_path / "whole", holdout="case3", settings=settings).folder
    killed = tmp_path / "killed"
    options = [option for setting in settings for option in ("--set", setting)]
    command = [sys.executable, "-m", "recurseg", "train", str(stacks), "--out", str(killed), "--holdout", "case3"]
    process = subprocess.Popen(command + options, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.time() + 600
    while len(read_log(killed / "log.jsonl")) < 14 and process.poll() is None and time.time() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 0 < Checkpoints(killed / "checkpoints").steps()[-1] < 40, "it was killed in mid-training"
    assert not (killed / "package").exists()
    train(out=killed, resume=True)
    for part in (last, weights):
        one, other = part(whole), part(killed)
        assert all(torch.equal(one[key], other[key]) for key in one)
    steps = [event["step"] for event in read_log(killed / "log.jsonl") if event["event"] == "step"]
    assert steps == list(range(1, 41))


def test_minutes_become_steps_and_stay(stacks, small, tmp_path):
    run = train(stacks, out=tmp_path / "run", holdout="case3", minutes=0.05, settings=small)
    assert run.recipe.steps == run.manifest["steps"]
    assert run.recipe.steps != 12


def test_fine_tuning_starts_from_a_package(stacks, small, tmp_path):
    first = train(stacks, out=tmp_path / "first", holdout="case3", settings=small)
    settings = [*small, "optimizer.lr=1e-12", "optimizer.weight_decay=0"]
    second = train(stacks, out=tmp_path / "second", holdout="case3", seed=5, init=first.folder, settings=settings)
    before, after = weights(first.folder), weights(second.folder)
    assert all(torch.allclose(before[key], after[key], atol=1e-6) for key in before)


def test_early_stopping_ends_a_training_that_gets_no_better(stacks, small, tmp_path):
    settings = [*small, "optimizer.lr=1e-12", "early_stopping=1"]
    run = train(stacks, out=tmp_path / "run", holdout="case3", settings=settings)
    assert run.manifest["steps"] == 8


def test_the_package_predicts_what_the_run_validated(stacks, small, tmp_path):
    run = train(stacks, out=tmp_path / "run", holdout="case3", settings=small)
    import tifffile

    written = tifffile.imread(next((run.folder / "validation").glob("case3*.tif")))
    predicted = load(run.folder).predict(stacks / "images" / "case3.tif").labels
    np.testing.assert_array_equal(predicted, written)


def test_an_existing_run_is_never_overwritten(stacks, small, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious.txt").touch()
    with pytest.raises(ConfigError, match="exists already"):
        train(stacks, out=tmp_path / "run", settings=small)


def test_resuming_with_another_recipe_or_changed_data_is_refused(stacks, small, tmp_path):
    run = train(stacks, out=tmp_path / "run", holdout="case3", settings=small)
    train(stacks, out=run.folder, resume=True, holdout="case3", settings=small)
    with pytest.raises(ConfigError, match=r"leave out steps 3 \(was 12\)"):
        train(out=run.folder, resume=True, steps=3)
    with pytest.raises(ConfigError, match=r"leave out holdout case2 \(was case3\)"):
        train(stacks, out=run.folder, resume=True, holdout="case2")
    image = stacks / "images" / "case0.tif"
    image.write_bytes(image.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match="case0 changed"):
        train(out=run.folder, resume=True)


def test_a_training_that_diverges_says_so(stacks, small, tmp_path):
    settings = [*small, "optimizer.lr=1e30", "clip_norm=null", "stages.0.steps=60", "validation.times=1"]
    with pytest.raises(ConfigError, match="diverged"):
        train(stacks, out=tmp_path / "run", holdout="case3", settings=settings)


def test_nothing_to_resume_is_one_clear_line(tmp_path):
    with pytest.raises(ConfigError, match="no run to resume"):
        train(out=tmp_path, resume=True)


def test_a_run_opens_from_its_folder(stacks, small, tmp_path):
    folder = train(stacks, out=tmp_path / "run", holdout="case3", settings=small).folder
    assert Run(folder).recipe.model.name == "pyramid_lstm"


def test_a_papers_recipe_trains_by_name_through_its_three_stages(stacks, tmp_path):
    settings = [
        "model.options={widths: [2, 3], pixelwise: [4], kernel: 3}",
        "stages=[{steps: 3, window: [2, 8, 8]}, {steps: 2, window: [3, 12, 12]}, {steps: 1, window: [5, 16, 16]}]",
        "preprocessing.local_contrast={image: add}",
    ]
    run = train(stacks, recipe="pyramid_lstm/paper_mrbrains", out=tmp_path / "r", settings=settings, holdout="case0")
    assert run.recipe.loss == "mean_squared_error"
    assert run.manifest["steps"] == 6
    rates = [event["lr"] for event in read_log(run.folder / "log.jsonl") if event["event"] == "step"]
    begins = [rates[0], rates[3], rates[5]]
    assert begins == pytest.approx([1e-2 + 1e-6] * 3)
    assert load_package(run.package)[0].in_channels == 2
