"""A Ray cluster predicts what one machine does; killed workers lose no case and repeat none that is finished."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from recurseg.cli.main import main
from recurseg.errors import ConfigError, ResourceError
from recurseg.inference import Segmenter, load, predict_files
from recurseg.inference.cluster import predict_on_cluster
from recurseg.inference.cluster_connection import connected
from recurseg.inference.index import NOTES_FOLDER, Index
from recurseg.models import load_plugin, registry

MakePackage = Callable[..., Path]
NEEDS_RAY = "Ray is not installed: pip install 'recurseg[ray]'"
PLUGIN = '''
"""A threshold that writes down which image it sees, and workers that die where they are told to."""

import os
import signal
from pathlib import Path

import torch
from torch import nn

from recurseg.inference import cluster_task
from recurseg.models import register_model

DIES_ALWAYS, DIES_ONCE, DIES_ONCE_WHEN_FINISHED = 201, 202, "fox"


@register_model("mortal")
class Mortal(nn.Module):
    task, sequence_axis, spatial_dims = "segmentation", None, 2

    def __init__(self, *, in_channels, num_classes, log):
        super().__init__()
        self.at = nn.Parameter(torch.tensor(100.0))
        self.log = Path(log)

    def forward(self, image, state=None, *, present=None, return_state=False):
        name = int(image[0, 0, 0, 0])
        with self.log.open("a") as file:
            file.write(f"{name}\\n")
        if name == DIES_ALWAYS or (name == DIES_ONCE and first_time(self.log, name)):
            os.kill(os.getpid(), signal.SIGKILL)
        above = image - self.at
        return torch.cat([torch.zeros_like(above), above], dim=1)


def first_time(log, what):
    return log.read_text().split().count(str(what)) == 1


honest = cluster_task.write_note


def noted_then_killed(out, id, entry):
    honest(out, id, entry)
    if id == DIES_ONCE_WHEN_FINISHED:
        os.kill(os.getpid(), signal.SIGKILL)


cluster_task.write_note = noted_then_killed
'''


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster of two nodes with one core each, which this process is connected to."""
    pytest.importorskip("ray", reason=NEEDS_RAY)
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "mortal_plugin.py").write_text(PLUGIN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.syspath_prepend(folder)
        cluster = two_nodes()
        try:
            with connected(cluster.address):
                yield cluster.address
        finally:
            cluster.shutdown()
            sys.modules.pop("mortal_plugin", None)
            registry._entries.pop("mortal", None)
            registry._plugins.pop("mortal_plugin", None)


def two_nodes() -> Any:
    """Starts a cluster of two nodes."""
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_log_monitor": False}
    cluster = Cluster()
    try:
        cluster.add_node(**node, include_dashboard=False, no_monitor=True)
        cluster.add_node(**node)
    except BaseException:
        cluster.shutdown()
        raise
    return cluster


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where every prediction leaves the name of its image."""
    return tmp_path / "log.txt"


@pytest.fixture
def segmenter(make_package: MakePackage, address: str, log: Path) -> Segmenter:
    """Above 100 is class 1; every prediction is written down in `log`."""
    load_plugin("mortal_plugin")
    spec = {"model": "mortal", "plugin": "mortal_plugin", "options": {"log": str(log)}, "label_map": {255: 0, 7: 1}}
    return load(make_package(**spec), device="cpu", plugin="mortal_plugin")


def images(folder: Path, names: dict[str, int]) -> Path:
    """A folder of images, each with its number in the first pixel."""
    folder.mkdir(exist_ok=True)
    for name, number in names.items():
        pixels = np.random.default_rng(number).integers(0, 200, size=(12, 9)).astype(np.uint8)
        pixels[0, 0] = number
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


def read(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_files_and_index_are_those_of_one_machine_and_a_rerun_predicts_nothing(
    segmenter: Segmenter, address: str, log: Path, tmp_path: Path
) -> None:
    data = images(tmp_path / "in", {f"image_{number}": number for number in (40, 20, 30, 10, 50)})
    alone = predict_files(segmenter, [data], tmp_path / "alone", quiet=True)
    log.unlink()
    together = predict_on_cluster(segmenter, [data], tmp_path / "together", address=address, quiet=True)
    assert read(tmp_path / "together") == read(tmp_path / "alone")
    assert sorted(together.written) == sorted(alone.written)
    assert together.notes == alone.notes
    assert sorted(log.read_text().split()) == ["10", "20", "30", "40", "50"]
    again = predict_on_cluster(segmenter, [data], tmp_path / "together", address=address, quiet=True)
    assert (again.written, sorted(again.skipped)) == ({}, sorted(alone.written))
    assert len(log.read_text().split()) == 5


def test_killed_workers_lose_no_case_and_repeat_none_that_is_finished(
    segmenter: Segmenter, address: str, log: Path, tmp_path: Path
) -> None:
    data = images(tmp_path / "in", {"cat": 10, "dog": 202, "eel": 30, "fox": 40, "gnu": 50})
    done = predict_on_cluster(segmenter, [data], tmp_path / "out", address=address, quiet=True)
    assert sorted(done.written) == ["cat", "dog", "eel", "fox", "gnu"]
    assert Counter(log.read_text().split()) == {"10": 1, "202": 2, "30": 1, "40": 1, "50": 1}
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "cat.png",
        "dog.png",
        "eel.png",
        "fox.png",
        "gnu.png",
        "predictions.json",
    ]


@pytest.mark.slow
def test_a_case_that_kills_every_worker_fails_and_the_others_are_done(
    segmenter: Segmenter, address: str, log: Path, tmp_path: Path
) -> None:
    data = images(tmp_path / "in", {"bee": 10, "cow": 201, "elk": 30})
    (data / "bat.png").write_bytes((data / "bee.png").read_bytes()[:60])
    with pytest.raises(ResourceError, match=r"2 of 4 inputs.*") as caught:
        predict_on_cluster(segmenter, [data], tmp_path / "out", address=address, quiet=True)
    assert "case cow: 3 workers died of it" in str(caught.value)
    assert "bat" in str(caught.value)
    assert "\n" not in str(caught.value)
    index = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert sorted(index["cases"]) == ["bee", "elk"]
    assert sorted(index["failed"]) == ["bat", "cow"]
    assert Counter(log.read_text().split()) == {"10": 1, "201": 3, "30": 1}


@pytest.mark.slow
def test_a_driver_that_was_killed_goes_on_from_what_its_workers_noted(
    segmenter: Segmenter, address: str, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = {"ant": 10, "bug": 20, "cod": 30}
    data = images(tmp_path / "in", numbers)
    with monkeypatch.context() as patch:
        patch.setattr(Index, "add", killed)
        patch.setattr(Index, "kept", nullcontext)
        with pytest.raises(KeyboardInterrupt):
            predict_on_cluster(segmenter, [data], tmp_path / "out", address=address, quiet=True)
    finished = {note.stem for note in (tmp_path / "out" / NOTES_FOLDER).glob("*.json")}
    assert finished
    done = predict_on_cluster(segmenter, [data], tmp_path / "out", address=address, quiet=True)
    assert sorted([*done.written, *done.skipped]) == ["ant", "bug", "cod"]
    assert finished <= set(done.skipped)
    times = Counter(log.read_text().split())
    assert {times[str(numbers[name])] for name in finished} == {1}


def killed(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ray", "auto"], "pip install 'recurseg[ray]'"),
        (["--ray", "auto", "--subsets"], "--ray and --subsets exclude each other"),
        (["--ray", "auto", "--device", "cuda:1"], "--device is auto, cpu or cuda"),
        (["--cores", "2"], "--cores is for the nodes of a cluster"),
    ],
)
def test_the_command_refuses_in_one_line(
    options: list[str],
    message: str,
    make_package: MakePackage,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    data = images(tmp_path / "in", {"ant": 10})
    command = ["predict", str(make_package()), str(data), "--out", str(tmp_path / "out"), *options]
    assert main(command) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_case_that_no_node_can_hold_is_told_before_any_work(
    segmenter: Segmenter, address: str, log: Path, tmp_path: Path
) -> None:
    data = images(tmp_path / "in", {"ant": 10})
    for asked, lacking in ({"cores": 2}, "2 cores"), ({"max_ram": "1000TB"}, "1 cores and .* of memory"):
        with pytest.raises(ConfigError, match=f"^no node of the Ray cluster has {lacking}: ask for less"):
            predict_on_cluster(segmenter, [data], tmp_path / "out", address=address, quiet=True, **asked)
    assert not log.exists()
    assert not (tmp_path / "out").exists()
    done = predict_on_cluster(segmenter, [data], tmp_path / "out", address=address, max_ram="3GB", quiet=True)
    assert list(done.written) == ["ant"]
