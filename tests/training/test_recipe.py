import pytest
import yaml

from recurseg.errors import ConfigError
from recurseg.training.recipe import Recipe, override, parse_recipe, read_recipe, write_recipe

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
