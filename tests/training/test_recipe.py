import hashlib
import json

import pytest
import torch
import yaml

from recurseg.errors import ConfigError
from recurseg.models import create_model
from recurseg.training.optimizers import learning_rate
from recurseg.training.recipe import Recipe
from recurseg.training.recipe_files import (
    parse_recipe,
    published_recipe,
    published_recipes,
    read_recipe,
    write_recipe,
)
from recurseg.training.settings import override

CONTENT = {
    "model": {"name": "unet"},
    "stages": [{"steps": 10, "window": [1, 8, 8]}, {"steps": 5, "window": [1, 16, 16]}],
    "prediction": {"window": [1, 16, 16]},
}


@pytest.fixture
def recipe():
    return parse_recipe(CONTENT, "test")


def test_a_recipe_survives_the_disk(recipe, tmp_path):
    write_recipe(recipe, tmp_path / "r.yaml")
    assert read_recipe(tmp_path / "r.yaml") == recipe
    assert next(iter(yaml.safe_load((tmp_path / "r.yaml").read_text()))) == "schema_version"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"optimiser": {}}, "unknown key 'optimiser'; did you mean 'optimizer'"),
        ({"optimizer": {"rate": 1}}, "unknown key 'optimizer.rate'"),
        ({"optimizer": {"lr": -1}}, "optimizer.lr: "),
        ({"loss": "dice"}, "loss: "),
        ({"stages": []}, "stages: "),
        ({"stages": [{"steps": 1, "windows": [1, 2, 3]}]}, "stages.0"),
        ({"preprocessing": {"normalize": "volume"}}, "did you mean 'normalise'"),
        (
            {"sampling": {"right_angles": True}, "stages": [{"steps": 1, "window": [1, 8, 9]}]},
            "needs windows with H = W",
        ),
        ({"schema_version": 9}, "schema_version 9 is not 1"),
    ],
    ids=str,
)
def test_a_mistake_is_named_with_its_place(change, said):
    with pytest.raises(ConfigError, match=said.replace("(", r"\(")):
        parse_recipe(CONTENT | change, "r.yaml")


def test_settings_change_single_values(recipe):
    changed = override(recipe, ["optimizer.lr=1e-3", "stages.1.batch=4", "model.options.norm=batch"])
    assert changed.optimizer.lr == 1e-3
    assert changed.stages[1].batch == 4
    assert changed.model.options == {"norm": "batch"}


@pytest.mark.parametrize(
    "setting", ["optimizer.rl=1", "optimizer", "stages.7.batch=1", "loss.name=x", "precision=f32"]
)
def test_a_wrong_setting_is_one_clear_line(recipe, setting):
    with pytest.raises(ConfigError, match=setting.split("=")[0].split(".")[0]):
        override(recipe, [setting])


def test_the_digest_changes_with_the_content(recipe):
    assert recipe.digest() == Recipe.model_validate(recipe.model_dump()).digest()
    assert recipe.digest() != override(recipe, ["seed=1"]).digest()


def test_keys_that_came_later_leave_the_digest_of_older_recipes_as_it_was(recipe):
    content = recipe.model_dump(mode="json", exclude={"data", "why", "task", "deletion", "paste_known"})
    del content["classes"], content["modalities"], content["one_logit"], content["exponential"]
    del content["sampling"]["modality_dropout"], content["sampling"]["frames"]
    del content["prediction"]["frames"], content["validation"]["keep"], content["validation"]["soft"]
    for key in ("smooth", "equalise", "in_plane_factor", "in_plane_size", "shrink_to_size"):
        del content["preprocessing"][key]
    for stage in content["stages"]:
        del stage["sections"], stage["loss"], stage["lr"]
    assert recipe.digest() == hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@pytest.mark.parametrize(
    "setting",
    [
        "sampling.modality_dropout=0.3",
        "stages.0.lr=1e-5",
        "stages.1.loss=cross_entropy",
        "preprocessing.equalise=clahe",
        "preprocessing.in_plane_size=[8, 8]",
        "classes=[cell]",
        "modalities=[T1]",
        "exponential.as_printed=true",
        "one_logit=true",
        "validation.keep=last",
        "validation.soft=true",
    ],
)
def test_once_set_they_count(recipe, setting):
    assert recipe.digest() != override(recipe, [setting]).digest()


def test_the_papers_recipes_are_known_by_name():
    names = ["pyramid_lstm/paper_em", "pyramid_lstm/paper_mrbrains"]
    assert set(names) < set(published_recipes())
    em, brains = (published_recipe(name) for name in names)
    assert [(stage.steps, stage.window) for stage in em.stages] == [
        (3000, (8, 64, 64)), (2000, (15, 128, 128)), (1000, (20, 256, 256)),
    ]  # fmt: skip
    assert [stage.window for stage in brains.stages] == [(8, 64, 64), (15, 128, 128), (25, 240, 240)]
    assert brains.preprocessing.channels(["T1", "T1_IR", "FLAIR"])[3:] == [("T1", True), ("FLAIR", True)]


def test_the_papers_brain_network_has_the_published_number_of_weights_but_two():
    recipe = published_recipe("pyramid_lstm/paper_mrbrains")
    with torch.device("meta"):
        model = create_model(recipe.model.name, in_channels=5, num_classes=5, **recipe.model.options)
    assert sum(parameter.numel() for parameter in model.parameters()) == 10_751_549 - 2


def test_the_papers_rate_halves_every_hundred_updates_towards_its_floor():
    recipe = published_recipe("pyramid_lstm/paper_em")
    for step in (0, 1, 100, 250, 2999):
        rate = learning_rate(recipe.schedule, recipe.optimizer.lr, step, 3000)
        assert rate == pytest.approx(1e-6 + 1e-2 * 0.5 ** (step / 100))


def test_fewer_steps_halve_the_rate_earlier_in_proportion():
    assert published_recipe("pyramid_lstm/paper_em").scaled(0.1).schedule.halve_every == 10


def test_an_unknown_recipe_is_told_the_nearest_paper():
    with pytest.raises(ConfigError, match="did you mean 'pyramid_lstm/paper_em'"):
        published_recipe("pyramid_lstm/paper_me")
