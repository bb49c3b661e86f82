"""The budget is kept: what the operating system counted of a process that predicted more than it may hold."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

SHAPE, CLASSES = (256, 256, 64), 5
ROOM = 70 * 10**6
"""Bytes beyond what the program holds before it predicts; a float32 map of the volume has 17 million."""

PROGRAM = """
import json, sys
from pathlib import Path
import monai.data.utils, monai.inferers, scipy.ndimage, torch
from torch import nn
from recurseg.data.formats import open_volume
from recurseg.inference import PackageSpec, load, predict_files, save_package
from recurseg.inference.memory import forget_peak, peak, resident
from recurseg.models import register_model
from recurseg.preprocess import Preprocessing

class Convolution(nn.Module):
    task, sequence_axis, spatial_dims = "segmentation", None, 3

    def __init__(self, *, in_channels, num_classes):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Conv3d(in_channels, num_classes, 3, padding=1)

    def forward(self, image, state=None, *, present=None, return_state=False):
        return self.net(image)

register_model("convolution")(Convolution)
folder, name, room, window, classes = Path(sys.argv[1]), *sys.argv[2:4], json.loads(sys.argv[4]), int(sys.argv[5])
models = {
    "pyramid_lstm": {"widths": [4, 4], "pixelwise": [4], "kernel": 3},
    "cross_modality": {"widths": [4, 4]},
}
torch.manual_seed(0)
spec = PackageSpec(
    model=name, options=models.get(name, {}), in_channels=1, num_classes=classes, modalities=["image"],
    class_names=[str(number) for number in range(classes)], preprocessing=Preprocessing(), window=window,
)
from recurseg.models import create_model
model = create_model(name, in_channels=1, num_classes=classes, **spec.options)
segmenter = load(save_package(folder / "package" / name, model, spec), device="cpu")
segmenter.predict(__import__("numpy").zeros((8, 16, 16), "float32"))
forget_peak()
before = resident()
out = folder / f"out {name} {room}"
limit = None if room == "none" else before + int(room)
done = predict_files(segmenter, [folder / "a.nii"], out, quiet=True, max_ram=limit)
print(json.dumps({"taken": peak() - before, "file": str(done.written["a"])}))
"""


def predicted(folder: Path, model: str, room: int | None, window: tuple[int, ...]) -> tuple[int, np.ndarray]:
    """Bytes that a process took beyond what it held before, and the labels that it wrote."""
    arguments = [folder, model, "none" if room is None else room, json.dumps(window), CLASSES]
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return found["taken"], np.asarray(nib.load(found["file"]).dataobj)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an uncompressed volume."""
    folder = tmp_path_factory.mktemp("volume")
    noise = np.random.default_rng(0).normal(size=(64, 64, 64)).astype(np.float32)
    volume = noise.repeat(4, axis=0).repeat(4, axis=1)
    assert volume.shape == SHAPE
    nib.Nifti1Image(volume, np.diag([1.0, 1, 3, 1])).to_filename(folder / "a.nii")
    return folder


def test_a_volume_is_predicted_within_its_budget_and_as_without(folder: Path) -> None:
    assert CLASSES * 4 * np.prod(SHAPE) > ROOM
    taken, bounded = predicted(folder, "convolution", ROOM, (16, 64, 64))
    assert taken <= ROOM
    unbounded, whole = predicted(folder, "convolution", None, (16, 64, 64))
    assert unbounded > 3 * ROOM
    np.testing.assert_array_equal(bounded, whole)
    assert len(np.unique(whole)) == CLASSES


@pytest.mark.slow
@pytest.mark.parametrize("model", ["pyramid_lstm", "cross_modality"])
def test_models_that_see_the_whole_keep_it_too(folder: Path, model: str) -> None:
    room = 160 * 10**6
    taken, bounded = predicted(folder, model, room, (999, 999, 999))
    assert taken <= room
    unbounded, whole = predicted(folder, model, None, (999, 999, 999))
    assert unbounded > 2 * room
    assert (bounded != whole).mean() < 1e-6
