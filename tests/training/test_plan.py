from dataclasses import replace

import nibabel
import numpy as np
import pytest
from PIL import Image

from recurseg.data.dataset import open_dataset
from recurseg.errors import ConfigError
from recurseg.training.designs import design
from recurseg.training.facts import look_at
from recurseg.training.plan import plan
from recurseg.training.recipe_files import write_recipe
from recurseg.training.run import train


@pytest.fixture
def heads(tmp_path):
    """Two skull-stripped heads, sagittal sections 3 mm apart, stored left to right along the first axis."""
    root = tmp_path / "heads"
    random = np.random.default_rng(0)
    for name in ("p1", "p2"):
        (root / name).mkdir(parents=True)
        brain = np.zeros((8, 40, 36), np.uint8)
        brain[2:6, 8:30, 8:28] = 1
        image = (brain * random.normal(100, 10, brain.shape)).astype(np.float32)
        for part, array in (("T1", image), ("seg", brain)):
            nibabel.save(nibabel.Nifti1Image(array, np.diag([3.0, 1, 1, 1])), root / name / f"{name}_{part}.nii.gz")
    return root


@pytest.fixture
def photographs(tmp_path):
    root = tmp_path / "photographs"
    random = np.random.default_rng(0)
    for folder, top in (("images", 255), ("masks", 2)):
        (root / folder).mkdir(parents=True)
        for name in ("a", "b", "c"):
            Image.fromarray(random.integers(0, top, (40, 50), dtype=np.uint8)).save(root / folder / f"{name}.png")
    return root


def test_anatomy_is_flipped_from_left_to_right_only(heads):
    recipe = plan(heads)
    assert recipe.sampling.flip == ["D"]  # the sections are sagittal
    assert recipe.preprocessing.crop_foreground
    assert recipe.preprocessing.normalise == "foreground"


def test_a_stack_without_a_world_may_be_turned_anyhow(stacks):
    sampling = plan(stacks).sampling
    assert sampling.flip == ["D", "H", "W"]
    assert sampling.right_angles


def test_images_get_two_dimensional_sweeps(photographs, tmp_path):
    recipe = plan(photographs)
    assert recipe.model.options["spatial_dims"] == 2
    assert recipe.stages[0].window == (1, 40, 50)
    settings = ["model.options.widths=[2, 2]", "model.options.pixelwise=[2]", "stages.0.batch=1"]
    run = train(photographs, out=tmp_path / "run", holdout="c", steps=1, settings=settings)
    assert run.evaluation.cases == ["c"]


def test_windows_fit_into_the_images(heads):
    assert plan(heads).stages[0].window == (4, 40, 36)
    assert plan(heads, model="light_unet").stages[0].window == (1, 40, 36)


def test_more_minutes_widen_the_network_up_to_the_paper_s(stacks):
    widths = [plan(stacks, minutes=minutes).model.options["widths"] for minutes in (2, 15, 200, 10_000)]
    assert widths == sorted(widths)
    assert widths[-1] == [16, 32, 64]
    assert any(str(tuple(widths[0])) in reason for reason in plan(stacks, minutes=2).why)


def test_an_unknown_model_names_the_nearest(stacks):
    with pytest.raises(ConfigError, match="did you mean 'light_unet'"):
        plan(stacks, model="lightunet")


def test_a_recipe_names_its_data_and_trains_alone(stacks, tmp_path):
    write_recipe(plan(stacks, model="light_unet", steps=1), tmp_path / "recipe.yaml")
    assert train(tmp_path / "recipe.yaml", out=tmp_path / "run").manifest["dataset"] == "data"


def test_modalities_of_cross_modality_networks_may_be_missing_later(tmp_path):
    for modality in ("flair", "t1", "seg"):
        for case in range(2):
            array = np.random.default_rng(case).integers(0, 2, (20, 18, 6)).astype(np.float32)
            folder = tmp_path / f"BraTS{case}"
            folder.mkdir(exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array, np.diag([1, 1, 3, 1])), folder / f"BraTS{case}_{modality}.nii.gz")
    recipe = plan(tmp_path, model="cross_modality")
    assert recipe.sampling.modality_dropout > 0
    assert recipe.stages[0].window[0] == 3
    assert not plan(tmp_path, model="encoder_decoder").sampling.modality_dropout


def test_attention_sees_a_volume_whole_where_it_fits(heads):
    recipe = plan(heads, model="rsanet")
    assert recipe.stages[0].window == (8, 40, 36)
    assert recipe.prediction.window == (32, 64, 64)
    assert any("predicted whole" in reason for reason in recipe.why)
    assert plan(heads, model="unet3d").prediction.window == (8, 40, 36)


@pytest.mark.parametrize(("shape", "whole"), [((60, 260, 320), True), ((160, 512, 512), False)])
def test_volumes_that_do_not_fit_are_tiled(heads, shape, whole):
    facts = replace(look_at(open_dataset(heads).cases, ("background", "brain"), 1000), shape=shape)
    designed = design("rsanet", facts)
    assert designed.options["widths"][0] == 32
    assert all(side >= size for side, size in zip(designed.tile, shape, strict=True)) is whole
