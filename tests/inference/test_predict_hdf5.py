"""A dataset inside an HDF5 file is named on the command line as in a manifest: file.h5:dataset."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from recurseg.cli.main import main


@pytest.fixture
def scan(tmp_path) -> Path:
    """Three volumes in a file, each bright in a voxel of its own, and a spacing."""
    path = tmp_path / "scans" / "scan.h5"
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        for number, name in enumerate(("raw", "group/raw", "label")):
            array = np.zeros((3, 8, 9), np.float32)
            array[1, number, number] = 1
            file.create_dataset(name, data=array).attrs["spacing"] = (3.0, 0.7, 0.7)
    return path


def stored(path: Path) -> tuple[np.ndarray, list[float]]:
    with h5py.File(path) as file:
        label = file["label"]
        assert isinstance(label, h5py.Dataset)
        return label[...], list(label.attrs["spacing"])


@pytest.mark.parametrize(("dataset", "bright"), [("raw", 0), ("group/raw", 1), ("/group/raw", 1)])
def test_the_named_dataset_is_predicted(make_package, scan, tmp_path, dataset, bright):
    assert main(["predict", str(make_package()), f"{scan}:{dataset}", "--out", str(tmp_path / "out")]) == 0
    label, spacing = stored(tmp_path / "out" / "scan.h5")
    assert np.argwhere(label).tolist() == [[1, bright, bright]]
    assert spacing == [3.0, 0.7, 0.7]


def test_another_dataset_of_the_file_is_predicted_anew(make_package, scan, tmp_path):
    package, out = str(make_package()), tmp_path / "out"
    for dataset, bright in (("raw", 0), ("group/raw", 1)):
        assert main(["predict", package, f"{scan}:{dataset}", "--out", str(out)]) == 0
        assert np.argwhere(stored(out / "scan.h5")[0]).tolist() == [[1, bright, bright]]


@pytest.mark.parametrize(
    ("inputs", "code", "says"),
    [
        (["{scan}:rwa"], 3, "no dataset 'rwa'; did you mean 'raw'?"),
        (["{scan}"], 3, "which dataset is the image, of group/raw, label, raw: name it as scan.h5:name"),
        (["{scan}:raw", "{scan}:group/raw"], 2, "scan.h5:raw and"),
        (["{scan}x:raw"], 3, "no such file or folder"),
    ],
)
def test_mistakes_in_the_name_of_a_dataset_end_in_one_line(make_package, scan, tmp_path, capsys, inputs, code, says):
    words = [text.format(scan=scan) for text in inputs]
    assert main(["predict", str(make_package()), *words, "--out", str(tmp_path / "out"), "--json"]) == code
    assert says in json.loads(capsys.readouterr().out)["error"]["message"]
