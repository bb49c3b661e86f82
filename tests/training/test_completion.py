"""Image completion from files to files: parts are deleted, a network learns to put them back, no labels anywhere."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

import recurseg
from recurseg.cli.main import main
from recurseg.errors import ConfigError
from recurseg.evaluation.reconstruction import evaluate_images
from recurseg.inference import load
from recurseg.models import register_model, registry
from recurseg.preprocess import Preprocessing
from recurseg.training.deletion import deleted_from_images, deleted_from_window
from recurseg.training.recipe import DeletionConfig, Recipe
from recurseg.training.recipe_files import parse_recipe, published_recipe
from recurseg.training.sampling import Arrays, Windows
from recurseg.training.tasks import TASKS

CONTENT = {
    "task": "regression",
    "deletion": {"what": "bottom_half"},
    "model": {"name": "two_layers"},
    "preprocessing": {"normalise": "unit"},
    "loss": "mean_squared_error",
    "optimizer": {"name": "rmsprop", "lr": 1e-2, "decay": 0.99},
    "stages": [{"steps": 12, "window": [1, 16, 16], "batch": 4}],
    "validation": {"metric": "mse", "times": 2},
    "checkpoint": {"every": 4},
    "prediction": {"window": [1, 16, 16], "overlap": 0.0},
}


class TwoLayers(nn.Module):
    """As small as a network can be that sees the upper half from the lower."""

    task, spatial_dims, sequence_axis = "regression", 2, None

    def __init__(self, *, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, num_classes, (25, 1), padding=(12, 0))
        )

    def forward(
        self, image: Tensor, state: None = None, *, present: None = None, return_state: bool = False
    ) -> Tensor:
        return self.layers(image)


@pytest.fixture(autouse=True, scope="module")
def two_layers():
    register_model("two_layers")(TwoLayers)
    yield
    registry._entries.pop("two_layers")


@pytest.fixture
def recipe() -> Recipe:
    return parse_recipe(CONTENT, "test")


def stripes(count: int) -> np.ndarray:
    """Pictures whose lower half follows from the upper: columns of one grey each, from 20 to 220."""
    random = np.random.default_rng(0)
    return np.repeat(random.integers(20, 221, (count, 1, 16)), 16, axis=1).astype(np.uint8)


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """A stack of pictures without labels."""
    (tmp_path / "data").mkdir()
    tifffile.imwrite(tmp_path / "data" / "stripes.tif", stripes(40), photometric="minisblack")
    return tmp_path / "data"


def test_a_run_learns_from_images_alone_and_leaves_what_every_run_leaves(stack, recipe, tmp_path):
    run = recurseg.train(stack, recipe=recipe, holdout="30-39", out=tmp_path / "run", steps=250)
    names = {"recipe.yaml", "manifest.json", "log.jsonl", "checkpoints", "package", "validation", "report.html"}
    assert {path.name for path in run.folder.iterdir()} == names
    assert run.evaluation.cases == [f"stripes[30-39][{n}]" for n in range(10)]
    # a grey of 20 to 220 lies at 0 to 1 evenly: deleted pixels left at 0 would cost half of the mean of x², 1/6
    assert run.evaluation.value("mse") < 0.03
    page = (run.folder / "report.html").read_text()
    assert page.count(' completed"><img') == 9, "three worst, median and best images are drawn"
    assert "Completed images for new images" in page
    assert "labels" not in page[page.index('<section id="use">') :].split("</section>")[0]
    index = json.loads((run.folder / "validation" / "predictions.json").read_text())["cases"]["stripes[30-39]"]
    completed, altered = (tifffile.imread(run.folder / "validation" / index[kind]) for kind in ("image", "altered"))
    assert completed.dtype == altered.dtype == np.uint8
    np.testing.assert_array_equal(altered[:, :8], stripes(40)[30:, :8])
    assert (altered[:, 8:] == stripes(40)[30:].min()).all(), "deleted is the lowest value of the image"


def test_a_broken_training_goes_on_to_the_same_bits(stack, recipe, tmp_path):
    whole = recurseg.train(stack, recipe=recipe, holdout="30-39", out=tmp_path / "whole")
    broken = tmp_path / "broken"
    recurseg.train(stack, recipe=recipe, holdout="30-39", out=broken)
    for path in (broken / "checkpoints" / "step-0000012", broken / "package"):
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    recurseg.train(out=broken, resume=True)
    one, other = (load_file(run / "package" / "weights.safetensors") for run in (whole.folder, broken))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_minutes_become_steps(stack, recipe, tmp_path):
    run = recurseg.train(stack, recipe=recipe, holdout="30-39", out=tmp_path / "run", minutes=0.02)
    assert run.manifest["steps"] == run.recipe.steps


@pytest.mark.parametrize(("kind", "suffix"), [("uint8", ".png"), ("uint16", ".png"), ("float32", ".tif")])
def test_predict_takes_images_as_they_are_and_writes_their_own_kind(stack, recipe, tmp_path, kind, suffix):
    run = recurseg.train(stack, recipe=recipe, holdout="30-39", out=tmp_path / "run")
    image = stripes(1)[0].astype(kind) * (200 if kind == "uint16" else 1)
    (tmp_path / "new").mkdir()
    path = tmp_path / "new" / f"one{suffix}"
    Image.fromarray(image).save(path) if suffix == ".png" else tifffile.imwrite(path, image)
    assert main(["predict", str(run.folder), str(path), "--out", str(tmp_path / "out")]) == 0
    written = tmp_path / "out" / f"one{suffix}"
    found = np.asarray(Image.open(written)) if suffix == ".png" else tifffile.imread(written)
    assert (found.dtype, found.shape) == (np.dtype(kind), (16, 16))
    low, high = float(image.min()), float(image.max())
    unit = (image - low).astype(np.float32) / (high - low)
    model = load(run.folder).model
    with torch.inference_mode():
        expected = model(torch.from_numpy(unit)[None, None])[0, 0].numpy() * (high - low) + low
    np.testing.assert_allclose(found, np.clip(expected, 0, None) if kind != "float32" else expected, atol=0.51)


def test_a_prediction_of_an_image_has_values_and_no_labels(stack, recipe, tmp_path):
    segmenter = load(recurseg.train(stack, recipe=recipe, holdout="30-39", out=tmp_path / "run").folder)
    prediction = segmenter.predict(stripes(3))
    assert prediction.values.shape == (3, 16, 16)
    with pytest.raises(ConfigError, match="it has no labels"):
        _ = prediction.labels
    with pytest.raises(ConfigError, match="neither probabilities nor pieces"):
        segmenter.predict(stripes(3), keep_largest=True)


def test_the_network_sees_what_is_left_and_is_to_give_all(recipe):
    image = stripes(5).astype(np.float32)[None] / 255
    finish = TASKS["regression"].finish(recipe)
    windows = Windows(
        [Arrays(image, np.zeros(image.shape[1:], np.uint8))], (1, 16, 16), recipe.sampling, seed=0, finish=finish
    )
    seen, wanted, _ = windows[3]
    assert any(np.array_equal(wanted[0, 0], section) for section in image[0])
    assert torch.equal(seen[:, :, :8], wanted[:, :, :8])
    assert not seen[:, :, 8:].any()


PATCHES = DeletionConfig(what="patches", count=3, size=4)


def test_places_are_a_function_of_seed_and_number_alone():
    whole = deleted_from_images((6, 20, 24), PATCHES, seed=1, first=0)
    np.testing.assert_array_equal(whole[4:], deleted_from_images((2, 20, 24), PATCHES, seed=1, first=4))
    assert not np.array_equal(whole[0], whole[1])
    assert not np.array_equal(whole, deleted_from_images((6, 20, 24), PATCHES, seed=2, first=0))
    window = deleted_from_window((1, 20, 24), PATCHES, seed=1, number=5)
    np.testing.assert_array_equal(window, deleted_from_window((1, 20, 24), PATCHES, seed=1, number=5))
    assert not np.array_equal(window[0], whole[5]), "training and held-out images never share their places"


def test_patches_lie_within_the_image_and_reach_its_corners():
    lost = deleted_from_images((400, 9, 9), DeletionConfig(what="patches", count=1, size=4), seed=0, first=0)
    assert (lost.sum((1, 2)) == 16).all()
    assert lost[:, 0, 0].any()
    assert lost[:, 8, 8].any()
    assert deleted_from_images((1, 3, 3), DeletionConfig(what="patches", count=1, size=8), seed=0, first=0).all()


def test_known_pixels_are_pasted_back_where_that_is_asked_for(stack, recipe, tmp_path):
    plain, pasted = (
        recurseg.train(stack, recipe=recipe, holdout="30-39", out=tmp_path / name, settings=[f"paste_known={name}"])
        for name in ("false", "true")
    )
    assert pasted.evaluation.value("mse") < plain.evaluation.value("mse")
    completed = tifffile.imread(next((pasted.folder / "validation").glob("*.tif")))
    np.testing.assert_array_equal(completed[:, :8], stripes(40)[30:, :8])


def test_measures_of_an_image_by_hand():
    original = np.array([[0.0, 1.0], [0.5, 0.2]])
    found = np.array([[0.5, 0.9], [0.4, 0.2]])  # bright: two in each, one of them in both
    values = {
        r.metric: r.value
        for r in evaluate_images([("a", found, original)], metrics=["mse", "dice@0.5"], name="d").rows
    }
    assert values["mse"] == pytest.approx((0.25 + 0.01 + 0.01 + 0) / 4)
    assert values["dice@0.5"] == pytest.approx(2 * 1 / (2 + 2))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"deletion": None}, "needs a deletion"),
        ({"task": "segmentation"}, "mse is not for task segmentation"),
        ({"loss": "soft_dice"}, "soft_dice is for classes"),
        ({"preprocessing": {"normalise": "volume"}}, "needs normalise unit"),
        ({"validation": {"metric": "dice"}}, "dice is not for task regression"),
        ({"validation": {"metric": "mes"}}, "did you mean 'mse'"),
        ({"deletion": {"what": "patches", "count": 2}}, "deletion: patches needs count and size"),
        ({"deletion": {"what": "bottom_half", "size": 2}}, "deletion: bottom_half has no count and size"),
    ],
    ids=str,
)
def test_a_recipe_that_does_not_fit_its_task_says_why(change, said):
    with pytest.raises(ConfigError, match=said):
        parse_recipe(CONTENT | change, "r.yaml")


def test_what_completes_and_what_segments_are_not_mixed_up(stack, recipe, tmp_path, capsys):
    assert main(["train", str(stack), "--out", str(tmp_path / "run")]) == 3
    assert "no labels to learn a segmentation from" in capsys.readouterr().err
    run = recurseg.train(stack, recipe=recipe, holdout="30-39", out=tmp_path / "run")
    assert main(["predict", str(run.folder), str(stack), "--out", str(tmp_path / "out")]) == 0
    assert main(["evaluate", str(tmp_path / "out"), str(tmp_path / "out")]) == 3
    assert "completed images, no labels" in capsys.readouterr().err
    assert main(["predict", str(run.folder), str(stack), "--out", str(tmp_path / "out")]) == 0, "what is done is kept"


def test_a_model_of_another_task_is_refused(stack, recipe, tmp_path):
    recipe.model.name = "unet"
    with pytest.raises(ConfigError, match=r"model unet .* is for segmentation, the recipe for regression"):
        recurseg.train(stack, recipe=recipe, holdout="30-39", out=tmp_path / "run")


def test_several_modalities_are_refused_before_training(recipe, tmp_path):
    for name in ("t1", "t2"):
        for case in ("a", "b"):
            (tmp_path / "data" / case).mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(tmp_path / "data" / case / f"{name}.tif", stripes(3), photometric="minisblack")
    with pytest.raises(ConfigError, match="takes one modality"):
        recurseg.train(tmp_path / "data", recipe=recipe, out=tmp_path / "run")


@pytest.mark.parametrize("name", ["bottom_half", "patches"])
def test_the_papers_recipes_say_what_the_paper_says(name):
    recipe = published_recipe(f"shamann/paper_mnist_{name}")
    assert (recipe.task, recipe.deletion.what if recipe.deletion else None) == ("regression", name)
    assert (recipe.optimizer.name, recipe.optimizer.lr) == ("rmsprop", 1e-3)
    assert {key: recipe.model.options[key] for key in ("patch", "stride", "cell", "slots", "heads")} == {
        "patch": 8, "stride": 4, "cell": 32, "slots": 100, "heads": 8,
    }  # fmt: skip
    assert recipe.preprocessing == Preprocessing(normalise="unit")
    assert not recipe.paste_known
