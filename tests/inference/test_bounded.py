"""A budget of memory changes nothing but the memory: labels equal those of the unbounded prediction."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nibabel as nib
import numpy as np
import pytest
import scipy.ndimage
import SimpleITK as sitk
import tifffile
import torch
from PIL import Image
from torch import Tensor, nn

from recurseg.cli.main import main
from recurseg.data.formats import open_volume, open_written
from recurseg.data.formats.spool import scratch
from recurseg.errors import ConfigError, ResourceError
from recurseg.inference import load, predict_files
from recurseg.inference.bar import CasesBar
from recurseg.inference.components import keep_largest_component, keep_largest_on_disk
from recurseg.inference.memory import forget_peak, resident
from recurseg.inference.strategies import by_disk, by_slices, by_windows, strategy_for
from recurseg.models import register_model, registry
from recurseg.preprocess import Preprocessing

MakePackage = Callable[..., Path]
LARGE = 10**12
AFFINE = np.array([[0, 0, -3.0, 5], [0.7, 0, 0, 1], [0, -0.9, 0, 2], [0, 0, 0, 1]])
CLASSES = {"num_classes": 4, "class_names": ["background", "a", "b", "c"]}
MODELS = {
    "unet": {"model": "unet", "options": {"widths": [2, 3, 3, 3, 4]}, "window": (12, 10)},
    "unet3d": {"model": "unet3d", "options": {"widths": [2, 3, 3], "groups": 1}, "window": (4, 12, 10)},
    "out of core": {
        "model": "pyramid_lstm",
        "options": {"widths": [4, 3], "pixelwise": [4], "kernel": 3},
        "window": (99, 99, 99),
    },
    "streamed": {"model": "cross_modality", "options": {"widths": [4, 4]}, "window": (99, 99, 99)},
}


def save(path: Path, shape: tuple[int, ...], seed: int = 0) -> Path:
    voxels = scipy.ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5).astype(np.float32)
    nib.Nifti1Image(voxels * 100, AFFINE).to_filename(path)
    return path


def labels_of(make_package: MakePackage, path: Path, *, max_ram: int | None, **spec: object) -> np.ndarray:
    package = make_package(**(CLASSES | {"preprocessing": Preprocessing()} | spec))
    return load(package, device="cpu").predict(path, max_ram=max_ram).labels


@pytest.mark.parametrize("name", ["unet", "unet3d"])
def test_labels_and_probabilities_equal_the_unbounded_ones(
    make_package: MakePackage, tmp_path: Path, name: str
) -> None:
    segmenter = load(make_package(**(CLASSES | {"preprocessing": Preprocessing()} | MODELS[name])), device="cpu")
    path = save(tmp_path / "a.nii", (23, 19, 11))
    whole = segmenter.predict(path, probabilities=True)
    bounded = segmenter.predict(path, probabilities=True, max_ram=LARGE)
    np.testing.assert_array_equal(bounded.labels, whole.labels)
    assert len(np.unique(whole.labels)) > 1
    assert bounded.probabilities is not None
    np.testing.assert_array_equal(bounded.probabilities, whole.probabilities)
    assert isinstance(bounded.labels, np.memmap)


@pytest.mark.parametrize(("name", "strategy"), [("out of core", by_disk), ("streamed", by_slices)])
def test_models_that_see_the_whole_are_read_in_parts(
    make_package: MakePackage, tmp_path: Path, name: str, strategy: Callable
) -> None:
    segmenter = load(make_package(**(CLASSES | {"preprocessing": Preprocessing()} | MODELS[name])), device="cpu")
    path = save(tmp_path / "a.nii", (13, 17, 22))
    assert strategy_for(segmenter, (22, 17, 13), flips=False) is strategy
    assert strategy_for(segmenter, (22, 17, 13), flips=True) is by_windows
    whole, bounded = (segmenter.predict(path, probabilities=True, max_ram=limit) for limit in (None, LARGE))
    np.testing.assert_array_equal(bounded.labels, whole.labels)
    np.testing.assert_allclose(bounded.probabilities, whole.probabilities, atol=1e-5)


def test_what_goes_through_disk_is_said_before_the_work(
    make_package: MakePackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = load(
        make_package(**(CLASSES | {"preprocessing": Preprocessing()} | MODELS["out of core"])), device="cpu"
    )
    said: list[str] = []
    monkeypatch.setattr(CasesBar, "tell", lambda bar, text: said.append(text))
    predict_files(segmenter, [save(tmp_path / "a.nii", (13, 17, 22))], tmp_path / "out", max_ram=LARGE, quiet=True)
    assert said[0] == "a (1/1)"
    assert re.fullmatch(r"a \(1/1\), up to \d+ MB of disk", said[1])


@pytest.mark.parametrize("flips", [False, True])
def test_several_modalities_resampled_and_mirrored(make_package: MakePackage, tmp_path: Path, flips: bool) -> None:
    from recurseg.data.case import Case

    paths = [save(tmp_path / f"{name}.nii.gz", (15, 17, 9), seed) for seed, name in enumerate(("T1", "T2"))]
    case = Case("c", dict(zip(("T1", "T2"), map(open_volume, paths), strict=True)))
    steps = Preprocessing(normalise="foreground", clip_percentiles=(1, 99), spacing=(2.0, 1.0, 1.0))
    package = make_package(
        **(CLASSES | MODELS["unet3d"]), in_channels=2, modalities=["T1", "T2"], preprocessing=steps
    )
    segmenter = load(package, device="cpu")
    bounded = segmenter.predict(case, flips=flips, max_ram="900GB", keep_largest=True)
    np.testing.assert_array_equal(bounded.labels, segmenter.predict(case, flips=flips, keep_largest=True).labels)


@pytest.mark.parametrize("dims", [2, 3])
def test_an_image_of_two_axes(make_package: MakePackage, dims: int) -> None:
    image = np.random.default_rng(0).uniform(size=(37, 23)).astype(np.float32)
    segmenter = load(make_package(options={"spatial_dims": dims}, window=(1, 8, 8)), device="cpu")
    np.testing.assert_array_equal(segmenter.predict(image, max_ram=LARGE).labels, image > 0.5)


def test_files_are_those_of_the_unbounded_prediction(make_package: MakePackage, tmp_path: Path) -> None:
    package = make_package(**(CLASSES | MODELS["unet3d"]), label_map={0: 0, 5: 1, 6: 2, 300: 3})
    segmenter = load(package, device="cpu")
    paths = [save(tmp_path / "in.nii", (9, 8, 7)), save(tmp_path / "other.nii.gz", (9, 8, 7), 1)]
    for out, options in {"whole": {}, "bounded": {"max_ram": "1000GB"}}.items():
        predict_files(segmenter, paths, tmp_path / out, probabilities=True, quiet=True, **options)
    files = sorted(p.relative_to(tmp_path / "whole") for p in (tmp_path / "whole").rglob("*") if p.is_file())
    assert files == sorted(
        p.relative_to(tmp_path / "bounded") for p in (tmp_path / "bounded").rglob("*") if p.is_file()
    )
    for file in files:
        if file.suffix == ".json":
            whole, bounded = (json.loads((tmp_path / out / file).read_text()) for out in ("whole", "bounded"))
            assert whole == bounded
        else:
            whole, bounded = (nib.load(tmp_path / out / file) for out in ("whole", "bounded"))
            assert whole.header.binaryblock == bounded.header.binaryblock
            np.testing.assert_array_equal(np.asarray(whole.dataobj), np.asarray(bounded.dataobj))


def write_source(folder: Path, kind: str) -> Path:
    """A volume of random voxels, (z, y, x) = (12, 13, 14), as one kind of file."""
    stack = (np.random.default_rng(6).uniform(size=(12, 13, 14)) * 255).astype(np.uint8)
    path = folder / f"a.{kind}"
    if kind == "zarr":
        pytest.importorskip("zarr").create_array(
            path, data=stack, chunks=(4, 8, 8), attributes={"spacing": [3, 1, 1]}
        )
    elif kind == "tif":
        tifffile.imwrite(path, stack, compression="zlib")
    elif kind == "folder":
        path.mkdir()
        for number, section in enumerate(stack):
            Image.fromarray(section).save(path / f"{number:02d}.png")
    else:
        nib.Nifti1Image(stack.T, AFFINE).to_filename(path)
    return path


@pytest.mark.parametrize(
    ("name", "kind"),
    [*((name, "nii.gz") for name in MODELS), *(("unet3d", kind) for kind in ("tif", "folder", "zarr"))],
)
def test_the_command_writes_the_labels_that_it_writes_without_a_budget(
    make_package: MakePackage, tmp_path: Path, name: str, kind: str, capsys: pytest.CaptureFixture
) -> None:
    package, path = make_package(**(CLASSES | MODELS[name])), write_source(tmp_path, kind)
    for out, options in {"whole": [], "bounded": ["--max-ram", "900GB"]}.items():
        command = ["predict", str(package), str(path), "--out", str(tmp_path / out), "--device", "cpu", "--json"]
        assert main([*command, *options]) == 0
    written = [
        next(file for file in (tmp_path / out).iterdir() if file.suffix != ".json") for out in ("whole", "bounded")
    ]
    assert written[0].name == written[1].name
    whole, bounded = (open_written(file).array[...] for file in written)
    np.testing.assert_array_equal(bounded, whole)
    capsys.readouterr()


class Sum(nn.Module):
    """Adds up the frames that it has seen, blurred."""

    task, spatial_dims, sequence_axis = "segmentation", 2, "time"

    def __init__(self, *, in_channels: int, num_classes: int) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.blur = nn.Conv3d(in_channels, num_classes, (1, 3, 3), padding=(0, 1, 1))

    def forward(
        self, image: Tensor, state: Tensor | None = None, *, present: None = None, return_state: bool = False
    ) -> Any:
        frames = image if image.ndim == 5 else image[:, :, None]
        total = (0 if state is None else state) + self.blur(frames).cumsum(dim=2)
        logits = total if image.ndim == 5 else total[:, :, 0]
        return (logits, total[:, :, -1:]) if return_state else logits


@pytest.mark.parametrize("kind", ["nii", "h5"])
@pytest.mark.parametrize("frames", ["each", "series", "stream"])
def test_a_cine_is_predicted_as_without_a_budget(
    make_package: MakePackage, tmp_path: Path, frames: str, kind: str
) -> None:
    if "sum" not in registry._entries:
        register_model("sum")(Sum)
    film = np.random.default_rng(2).normal(size=(8, 9, 4, 5)).astype(np.float32)
    path = tmp_path / f"a.{kind}"
    if kind == "nii":
        nib.Nifti1Image(film, np.diag([1.0, 1, 8, 1])).to_filename(path)
    else:
        with h5py.File(path, "w") as file:
            file["image"] = film.T
    steps = Preprocessing(in_plane_factor=1.5)
    window = (1 if frames == "each" else 3, 99, 99)
    segmenter = load(make_package(**CLASSES, model="sum", frames=frames, window=window, preprocessing=steps))
    whole, bounded = (segmenter.predict(path, probabilities=True, max_ram=limit) for limit in (None, LARGE))
    assert len(np.unique(whole.labels)) > 1
    np.testing.assert_array_equal(bounded.labels, whole.labels)
    np.testing.assert_allclose(bounded.probabilities, whole.probabilities, atol=1e-6)


def test_a_second_run_skips_what_the_unbounded_one_finished(make_package: MakePackage, tmp_path: Path) -> None:
    segmenter, path = load(make_package(), device="cpu"), save(tmp_path / "a.nii", (6, 7, 5))
    predict_files(segmenter, [path], tmp_path / "out", quiet=True)
    assert predict_files(segmenter, [path], tmp_path / "out", max_ram="1TB", quiet=True).skipped


def test_a_budget_that_cannot_hold_a_window_is_told_with_the_need(make_package: MakePackage, tmp_path: Path) -> None:
    segmenter, path = load(make_package(), device="cpu"), save(tmp_path / "a.nii", (20, 20, 20))
    with pytest.raises(ResourceError, match=r"case a: .* needs about .* more than --max-ram 50 MB: give --max-ram"):
        segmenter.predict(path, max_ram="50MB")
    with pytest.raises(ConfigError, match="'many' is no size of memory"):
        segmenter.predict(path, max_ram="many")


def test_a_format_that_is_read_whole_counts_whole(make_package: MakePackage, tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((200, 200, 200), np.float32)), str(tmp_path / "a.nrrd"))
    segmenter = load(make_package(), device="cpu")
    forget_peak()  # what earlier tests left is no room for the image
    with pytest.raises(ResourceError, match=r"a\.nrrd, read whole by ITK, unlike NIfTI and Zarr, needs about"):
        segmenter.predict(tmp_path / "a.nrrd", max_ram=resident() + 40 * 10**6)


def test_a_volume_larger_than_the_free_memory_is_bounded_by_itself(
    make_package: MakePackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter, path = load(make_package(), device="cpu"), save(tmp_path / "a.nii", (80, 80, 70))
    expected = segmenter.predict(path).labels
    monkeypatch.setattr("recurseg.inference.bounded.available", lambda: 16 * 2**20)
    done = predict_files(segmenter, [path], tmp_path / "out", quiet=True)
    assert any("larger than the free memory, predicted as with --max-ram" in note for note in done.notes)
    np.testing.assert_array_equal(open_volume(done.written["a"]).array[...], expected)


@pytest.mark.parametrize("shape", [(12, 11, 10), (30, 21)])
@pytest.mark.parametrize("slab_bytes", [1, 3000])
def test_the_largest_pieces_are_found_across_slabs(shape: tuple[int, ...], slab_bytes: int) -> None:
    noise = scipy.ndimage.gaussian_filter(np.random.default_rng(3).normal(size=shape), 1.0)
    labels = np.digitize(noise, np.quantile(noise, [0.5, 0.8])).astype(np.uint8)
    found = scratch(Path("a"), shape, np.uint8)
    found[...] = labels
    keep_largest_on_disk(found, slab_bytes)
    np.testing.assert_array_equal(found[...], keep_largest_component(labels))


def test_of_pieces_of_one_size_the_first_is_kept() -> None:
    found = scratch(Path("a"), (6, 7, 8), np.uint8)
    for place in [(3, 0, 0), (0, 5, 5), (5, 0, 7)]:
        found[place] = 1
    expected = keep_largest_component(found[...])
    keep_largest_on_disk(found, 1)
    np.testing.assert_array_equal(found[...], expected)


KILLED = """
    import os, signal
    from pathlib import Path
    from recurseg.inference import bounded, load, predict_files
    from recurseg.data.formats.slabs import SlabWriter

    note = SlabWriter.note
    def noted(self, done):
        note(self, done)
        if done >= 12:
            os.kill(os.getpid(), signal.SIGKILL)
    SlabWriter.note = noted
    predict_files(load({package!r}, device="cpu"), [{path!r}], Path({out!r}), max_ram="1TB", quiet=True)
"""


def test_a_killed_run_goes_on_inside_the_case(
    make_package: MakePackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = make_package(
        **(CLASSES | {"preprocessing": Preprocessing()} | MODELS["unet3d"] | {"window": (9, 64, 64)})
    )
    path, out = save(tmp_path / "a.nii", (64, 64, 30)), tmp_path / "out"
    script = KILLED.format(package=str(package), path=str(path), out=str(out))
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert ".a.nii.part" in os.listdir(out)
    segmenter = load(package, device="cpu")
    windows: list[int] = []
    segmenter.model.register_forward_hook(lambda model, given, found: windows.append(len(given[0])))
    done = predict_files(segmenter, [path], out, max_ram="1TB", quiet=True)
    resumed = sum(windows)
    windows.clear()
    expected = segmenter.predict(path)
    assert resumed < sum(windows)
    np.testing.assert_array_equal(open_volume(done.written["a"]).array[...], expected.labels)
    assert sorted(os.listdir(out)) == ["a.nii", "predictions.json"]
