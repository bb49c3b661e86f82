"""Two processes that torchrun starts train as one does on the same batches."""

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tifffile
import torch
from safetensors.torch import load_file

from recurseg.errors import ConfigError
from recurseg.training.checkpoint import Checkpoints
from recurseg.training.distributed import join, require_alone
from recurseg.training.log import read_log
from recurseg.training.run import Run, train

SCRIPT = Path(__file__).with_name("two_processes.py")
RANKS = 2
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(RANKS)]
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
SWEEPS = "model.options={widths: [2, 3], pixelwise: [4], kernel: 3, block: [2, 2], init: orthogonal}"
SHORT = ["stages=[{steps: 4, window: [3, 12, 12], batch: 3}]", "validation.times=2", "checkpoint.every=2"]
TRAININGS = {
    "cross entropy": {"settings": [SWEEPS, *SHORT, "loss=cross_entropy"]},
    "dice": {"settings": [SWEEPS, *SHORT, "loss=soft_dice", "clip_norm=0.01"]},
    "batch norm": {
        "model": "segnet",
        "settings": [
            "model.options={widths: [4, 6]}",
            "stages=[{steps: 4, window: [1, 12, 12], batch: 5}]",
            "optimizer.eps=1e-3",  # a bias before the norm has no gradient but rounding, which Adam would blow up
        ],
    },
}
"""Name → what differs in a training; a batch of 3 is 2 samples for one process and 1 for the other."""


def two_processes():
    spec = importlib.util.spec_from_file_location("two_processes", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def weights(run, step=None):
    checkpoints = Checkpoints(run / "checkpoints")
    return load_file(checkpoints.path(step or checkpoints.steps()[-1]) / "weights.safetensors")


def apart(one, other):
    """Largest difference of two sets of weights, which are below 1 or little more."""
    assert one.keys() == other.keys()
    return max(float((one[key] - other[key]).abs().max()) for key in one)


@pytest.fixture(scope="module")
def data(make_stacks, tmp_path_factory):
    """Four small volumes; much of the first and some of the second is not labelled."""
    root = make_stacks(tmp_path_factory.mktemp("ddp") / "data")
    for case, row in ((0, 8), (1, 14)):
        path = root / "labels" / f"case{case}.tif"
        with tifffile.TiffFile(path) as file:
            label, metadata = file.asarray(), {"axes": "ZYX", "spacing": 3, "unit": "mm"}
        label[:, row:] = 255
        tifffile.imwrite(path, label, imagej=True, metadata=metadata, resolution=(1, 1))
    return root


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """Folder of each training in one process, and of each in two, with what else two processes found."""
    root = tmp_path_factory.mktemp("runs")
    one, two = root / "one", root / "two"
    two.mkdir()
    asked = {name: {"data": str(data), "holdout": "case3", "device": "cpu", **own} for name, own in TRAININGS.items()}
    for name, own in asked.items():
        train(**own, out=one / name)
    half = root / "half"
    stop_at(half, 2, from_=one / "cross entropy")
    trainings = [{**own, "out": str(two / name)} for name, own in asked.items()]
    (two / "trainings.json").write_text(json.dumps([*trainings, {"out": str(half), "resume": True}]))
    done = subprocess.run(
        [*TORCHRUN, str(SCRIPT), str(two)], env=os.environ | LOOPBACK, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return one, two, half


def stop_at(folder, step, *, from_):
    """Makes a run folder as a kill after a checkpoint would have left it."""
    shutil.copytree(from_, folder)
    for path in (folder / "package", folder / "validation"):
        shutil.rmtree(path)
    (folder / "report.html").unlink()
    checkpoints = Checkpoints(folder / "checkpoints")
    for later in checkpoints.steps():
        if later > step:
            shutil.rmtree(checkpoints.path(later))


@pytest.mark.parametrize("name", TRAININGS)
def test_two_processes_end_with_the_weights_of_one(runs, name):
    """Measured after 4 updates: weights 3e-8 apart, running variances of a batch norm 2e-7."""
    one, two, _ = runs
    assert apart(weights(one / name), weights(two / name)) < 1e-6
    losses = [[e["loss"] for e in read_log(root / name / "log.jsonl") if e["event"] == "step"] for root in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert len(losses[0]) == 4


@pytest.mark.parametrize("loss", two_processes().losses())
def test_every_loss_is_that_of_the_whole_batch(runs, loss):
    """Five samples, two for one process and three for the other; gradients are twice as large until their mean is
    taken."""
    expected = two_processes().gradients(slice(None))
    for rank in range(RANKS):
        found = load_file(runs[1] / f"{rank}.safetensors")
        torch.testing.assert_close(found[f"{loss} value"], expected[f"{loss} value"])
        whole = RANKS * expected[f"{loss} gradient"][rank::RANKS]
        torch.testing.assert_close(found[f"{loss} gradient"], whole, rtol=1e-5, atol=1e-8)


def test_batch_norm_takes_the_statistics_of_the_whole_batch(runs):
    expected = two_processes().normalised(torch.nn.BatchNorm3d(3), slice(None))
    for rank in range(RANKS):
        found = load_file(runs[1] / f"{rank}.safetensors")
        for name, whole in expected.items():
            whole = whole if "running" in name else whole[rank::RANKS]
            torch.testing.assert_close(
                found[name], whole, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: name + text
            )


def test_all_processes_get_what_each_did_of_a_list_in_its_order(runs):
    for rank in range(RANKS):
        assert load_file(runs[1] / f"{rank}.safetensors")["spread"].tolist() == [0, 11, 20, 31, 40]


def test_the_first_process_alone_writes(runs):
    one, two, _ = runs
    for name in TRAININGS:
        files = [sorted(path.relative_to(root / name) for path in (root / name).rglob("*")) for root in (one, two)]
        assert files[0] == files[1]
        assert [e["step"] for e in read_log(two / name / "log.jsonl") if e["event"] == "step"] == [1, 2, 3, 4]
        assert Run(two / name).manifest["processes"] == RANKS


def test_one_process_begins_and_two_go_on(runs):
    one, _, half = runs
    assert apart(weights(one / "cross entropy"), weights(half)) < 1e-6
    assert Run(half).evaluation.cases == ["case3"]


def test_two_processes_begin_and_one_goes_on(runs, tmp_path):
    one, two, _ = runs
    half = tmp_path / "half"
    stop_at(half, 2, from_=two / "dice")
    train(out=half, resume=True, device="cpu")
    assert apart(weights(one / "dice"), weights(half)) < 1e-6


def test_a_repeated_training_in_several_processes_is_one_clear_line(monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "2")
    with pytest.raises(ConfigError, match="trains in one process: start it without srun"):
        require_alone("a repeated training")


def test_srun_without_processes_a_machine_is_one_clear_line(monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE", raising=False)
    with pytest.raises(ConfigError, match="--ntasks-per-node"):
        join("cpu")


def test_a_batch_script_without_srun_is_one_process(monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "4")
    monkeypatch.delenv("SLURM_STEP_NUM_TASKS", raising=False)
    assert join("cpu").world_size == 1


def command(data, out, *settings):
    options = [option for setting in settings for option in ("--set", setting)]
    return ["train", str(data), "--out", str(out), "--holdout", "case3", "--device", "cpu", *options]


@pytest.fixture
def start():
    """Starts a command; what still runs when the test ends is ended too."""
    running = []

    def begin(arguments, **environment):
        given, pipe = os.environ | LOOPBACK | environment, subprocess.PIPE
        running.append(subprocess.Popen(arguments, env=given, stdout=pipe, stderr=pipe, text=True))
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.wait()


def as_srun(start, arguments):
    """Starts a command with the environment that srun gives to tasks on one machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    given = dict.fromkeys(("SLURM_NTASKS", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS_PER_NODE"), str(RANKS))
    given |= {"SLURM_JOB_NAME": "train", "SLURM_NNODES": "1", "SLURM_NODEID": "0", "SLURM_NODELIST": "127.0.0.1"}
    given |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [start(arguments, **given, SLURM_PROCID=str(n), SLURM_LOCALID=str(n)) for n in range(RANKS)]


@pytest.mark.slow
def test_srun_s_processes_find_each_other(start, data, runs, tmp_path):
    out = tmp_path / "run"
    arguments = [sys.executable, "-m", "recurseg", *command(data, out, *TRAININGS["dice"]["settings"])]
    ranks = as_srun(start, arguments)
    shown = [rank.communicate(timeout=600) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], shown
    assert shown[1] == ("", "")
    assert apart(weights(runs[0] / "dice"), weights(out)) < 1e-6


@pytest.mark.slow
def test_a_batch_smaller_than_the_processes_is_one_clear_line(start, data, tmp_path):
    arguments = [*TORCHRUN, "-m", "recurseg", *command(data, tmp_path / "run", SWEEPS, *SHORT, "stages.0.batch=1")]
    process = start(arguments)
    _, shown = process.communicate(timeout=600)
    assert process.returncode != 0
    lines = [line for line in shown.splitlines() if line.startswith(("error", "internal", "interrupted"))]
    assert lines == [
        "error: stages.0.batch 1 is what all 2 processes share: start fewer, or take --set stages.0.batch=2"
    ]
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "to_rank", "line"),
    [
        (signal.SIGTERM, None, "interrupted: what was trained up to the last checkpoint is kept"),
        (signal.SIGTERM, 1, "interrupted: what was trained up to the last checkpoint is kept"),
        (signal.SIGKILL, 1, "error: another process of the training is gone"),
        (signal.SIGKILL, 0, "error: another process of the training is gone"),
    ],
    ids=["all are asked to stop", "the second is asked to", "the second is killed", "the first is killed"],
)
def test_what_ends_one_process_ends_all_and_the_run_can_be_resumed(start, data, tmp_path, sent, to_rank, line):
    out = tmp_path / "run"
    settings = [SWEEPS, *SHORT, "stages.0.steps=100000", "validation.times=1"]
    arguments = [sys.executable, "-m", "recurseg", *command(data, out, *settings)]
    ranks = as_srun(start, arguments)
    deadline = time.time() + 600
    while len(read_log(out / "log.jsonl")) < 5 and time.time() < deadline:
        time.sleep(0.05)
    for number, rank in enumerate(ranks):
        if to_rank in (None, number):
            os.kill(rank.pid, sent)
    shown = "".join(rank.communicate(timeout=60)[1] for rank in ranks)
    assert shown.count(line) == 1, shown
    assert "internal error" not in shown
    assert Checkpoints(out / "checkpoints").steps()
