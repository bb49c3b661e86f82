"""Classes of whole images from files to files: learned from targets, measured as accuracy, predicted as an index."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import recurseg
from recurseg.cli.main import main
from recurseg.errors import ConfigError, DataError
from recurseg.inference import load
from recurseg.models import register_model, registry
from recurseg.training.recipe_files import parse_recipe

RECIPE = {
    "task": "classification",
    "model": {"name": "brightest"},
    "sampling": {"foreground": 0.0},
    "preprocessing": {"normalise": "none"},
    "loss": "cross_entropy",
    "optimizer": {"name": "adam", "lr": 0.3},
    "stages": [{"steps": 60, "window": [1, 8, 8], "batch": 8}],
    "validation": {"metric": "accuracy", "times": 2},
    "prediction": {"window": [1, 8, 8], "overlap": 0.0},
}


class Brightest(nn.Module):
    """Looks at the largest pixel."""

    task, spatial_dims, sequence_axis = "classification", 2, None

    def __init__(self, *, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(in_channels, num_classes)

    def forward(
        self, image: Tensor, state: None = None, *, present: None = None, return_state: bool = False
    ) -> Tensor:
        return self.head(image.amax((2, 3)) / 255)


@pytest.fixture(autouse=True, scope="module")
def brightest():
    register_model("brightest")(Brightest)
    yield
    del registry._entries["brightest"]


@pytest.fixture
def spots(tmp_path):
    """Images with a bright spot or a dim one; the class says which."""
    random, root = np.random.default_rng(0), tmp_path / "spots"
    root.mkdir()
    cases = []
    for number in range(20):
        image = random.integers(0, 60, (8, 8)).astype(np.uint8)
        image[tuple(random.integers(0, 8, 2))] = 240 if number % 2 else 100
        Image.fromarray(image).save(root / f"{number:02}.png")
        cases.append(f"  - {{id: '{number:02}', images: {{grey: {number:02}.png}}, target: {number % 2}}}")
    lines = [
        "schema_version: 1",
        "name: spots",
        "modalities: [grey]",
        "classes: {0: dim, 1: bright}",
        "cases:",
        *cases,
    ]
    (root / "dataset.yaml").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def run(spots, tmp_path):
    return recurseg.train(spots, recipe=parse_recipe(RECIPE, "test"), out=tmp_path / "run", holdout="every 3rd")


def test_a_training_learns_the_class_of_images_and_says_how_many_are_right(run):
    assert run.evaluation.value("accuracy") == 1
    answers = json.loads((run.folder / "validation" / "predictions.json").read_text())["cases"]
    assert {case: own["class"] for case, own in answers.items()} == {f"{n:02}": n % 2 for n in (2, 5, 8, 11, 14, 17)}
    assert answers["05"]["name"] == "bright"
    assert sum(answers["05"]["probabilities"]) == pytest.approx(1, abs=1e-5)
    assert "accuracy" in (run.folder / "report.html").read_text()


def test_a_resumed_training_ends_as_one_that_was_not_stopped(spots, run, tmp_path):
    from recurseg.training.checkpoint import Checkpoints

    folder = tmp_path / "again"
    recurseg.train(spots, recipe=parse_recipe(RECIPE, "test"), out=folder, holdout="every 3rd")
    steps = Checkpoints(folder / "checkpoints", None).steps()
    assert steps[-1] == 60
    weights = [load(each).model.state_dict() for each in (run.folder, folder)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_predicted_classes_are_an_index_and_are_kept(run, spots, tmp_path, capsys):
    out = tmp_path / "found"
    assert main(["predict", str(run.folder), str(spots), "--out", str(out), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["written"]) == 20
    answers = json.loads((out / "predictions.json").read_text())["cases"]
    assert all(own["class"] == int(case) % 2 for case, own in answers.items())
    assert main(["predict", str(run.folder), str(spots), "--out", str(out), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["skipped"]) == 20


def test_predicted_classes_are_evaluated_against_the_data_set(run, spots, tmp_path, capsys):
    out = tmp_path / "found"
    main(["predict", str(run.folder), str(spots), "--out", str(out), "--json"])
    capsys.readouterr()
    assert main(["evaluate", str(out), str(spots), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (accuracy,) = [line for line in document["summary"] if line["metric"] == "accuracy"]
    assert (accuracy["mean"], accuracy["n"]) == (1, 20)


def test_one_image_is_classified_from_python(run):
    image = np.zeros((8, 8), np.float32)
    image[2, 3] = 240
    found = load(run.folder).predict(image)
    assert found.values == 1
    assert found.probabilities.shape == (2,)


def test_labels_of_voxels_are_nothing_to_classify(stacks, tmp_path):
    with pytest.raises(DataError, match="no class of the whole image"):
        recurseg.train(stacks, recipe=parse_recipe(RECIPE, "test"), out=tmp_path / "run")


def test_classes_of_images_are_nothing_to_segment(spots, tmp_path):
    with pytest.raises(ConfigError, match="hgru_classifier"):
        recurseg.train(spots, model="light_unet", out=tmp_path / "run", steps=1)
    with pytest.raises(DataError, match="take a model of classification"):
        recurseg.train(spots, recipe="shamann/paper_xray", out=tmp_path / "run", steps=1)
