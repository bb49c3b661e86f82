"""Lesion volumes of clinical spacing, 0.7 × 0.7 × 3 mm, all the way from their folder to label files."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from recurseg import load
from recurseg.data.check import check_dataset
from recurseg.data.dataset import open_dataset
from recurseg.inference import predict
from recurseg.training.plan import plan
from recurseg.training.run import train

AFFINE = np.diag([-0.7, -0.7, 3.0, 1.0])


def write(root: Path, shape: tuple[int, int, int], patients: int = 1) -> Path:
    """Writes patients with a bright lesion of 4 × 4 × 2 voxels in FLAIR, stored (x, y, z)."""
    inside = tuple(slice(size // 2, size // 2 + room) for size, room in zip(shape, (4, 4, 2), strict=True))
    label = np.zeros(shape, np.uint8)
    label[inside] = 1
    for number in range(patients):
        image = np.random.default_rng(number).integers(50, 100, shape, np.int16)
        image[inside] += 100
        folder = root / f"patient{number:02d}"
        folder.mkdir()
        for name, array in (("FLAIR", image), ("consensus_gt", label)):
            nib.save(nib.Nifti1Image(array, AFFINE), folder / f"{name}.nii")
    return root


@pytest.fixture(scope="module")
def clinical(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("ms"), (230, 320, 44))


def test_a_clinical_volume_is_checked_as_it_lies(clinical):
    report = check_dataset(clinical)
    (case,) = report.cases
    assert (case.shape, case.spacing_mm) == ([230, 320, 44], pytest.approx([0.7, 0.7, 3.0]))
    assert case.fractions == {"background": pytest.approx(1, abs=1e-4), "lesion": pytest.approx(32 / 3238400)}
    assert not report.problems


@pytest.mark.parametrize("model", ["unet3d", "rsanet", "non_local_unet3d"])
@pytest.mark.parametrize("minutes", [5, 10_000])
def test_windows_of_volumes_halve_four_times_and_are_of_like_length_in_all_directions(clinical, minutes, model):
    recipe = plan(clinical, model=model, minutes=minutes)
    depth, height, width = recipe.stages[0].window
    assert all(side % 16 == 0 for side in (depth, height, width))
    lengths = np.array([depth * 3, height * 0.7, width * 0.7])
    assert lengths.max() / lengths.min() < 1.5
    assert recipe.sampling.foreground == 0.5  # or most windows would hold no lesion at all
    assert recipe.sampling.flip == ["H"]  # x, the first axis of the file


def test_more_minutes_give_larger_windows_and_in_the_end_the_paper_s_widths(clinical):
    recipes = [plan(clinical, model="unet3d", minutes=minutes) for minutes in (5, 60, 300, 10_000)]
    voxels = [np.prod(recipe.stages[0].window) for recipe in recipes]
    assert voxels == sorted(voxels)
    assert recipes[-1].model.options["widths"] == [32, 64, 128, 256, 512]
    assert recipes[-1].stages[0].window == (32, 176, 176)


def test_volumes_without_a_multiple_of_sixteen_sections_are_taken_whole(tmp_path):
    recipe = plan(write(tmp_path, (40, 48, 9)), model="unet3d", minutes=5)
    assert recipe.stages[0].window == (9, 40, 48)


def test_lesion_volumes_are_learned_and_predicted_on_their_own_grid(tmp_path):
    (tmp_path / "ms").mkdir()
    root = write(tmp_path / "ms", (44, 52, 11), 3)
    settings = ["model.options={widths: [8, 8], dropout: 0}", "optimizer.lr=5e-3", "validation.times=1"]
    settings += ["stages.0.window=[8, 16, 16]", "sampling.rotate=0", "sampling.scale=0"]
    settings += ["prediction.window=[8, 48, 48]"]
    run = train(root, model="unet3d", out=tmp_path / "run", holdout="patient02", steps=60, settings=settings)
    assert run.evaluation.cases == ["patient02"]
    done = predict(run.folder, root / "patient02", out=tmp_path / "out", quiet=True)
    written = nib.Nifti1Image.from_filename(done.written["patient02"])
    assert written.affine is not None
    np.testing.assert_allclose(written.affine, AFFINE)
    assert written.shape == (44, 52, 11)
    label = nib.Nifti1Image.from_filename(root / "patient02" / "consensus_gt.nii").get_fdata()
    assert written.get_fdata()[label == 1].mean() > 0.5
    assert load(run.folder).predict(open_dataset(root).cases[0]).labels.shape == (44, 52, 11)
