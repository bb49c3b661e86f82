"""Changes of single values of a recipe, as `--set key.subkey=value` gives them."""

from __future__ import annotations

from typing import Any

import yaml

from recurseg.errors import ConfigError, did_you_mean
from recurseg.training.recipe import Recipe
from recurseg.training.recipe_files import parse_recipe


def override(recipe: Recipe, settings: list[str]) -> Recipe:
    """Returns the recipe with `key.subkey=value` settings applied, values in YAML (`optimizer.lr=1e-3`).

    Raises:
        ConfigError: If a setting has no `=`, or names an unknown key.
    """
    content = recipe.model_dump(mode="json")
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting}: write it as key=value, such as optimizer.lr=1e-3")
        place: Any = content
        *parents, last = key.split(".")
        for part in parents:
            place = _step_into(place, part, key)
        if isinstance(place, list):
            place[_index(place, last, key)] = _yaml_value(value)
        elif last not in place and place is not content["model"]["options"]:
            raise ConfigError(f"--set {key}: no such key{did_you_mean(last, place)}")
        else:
            place[last] = _yaml_value(value)
    return parse_recipe(content, "--set " + " ".join(settings))


def _step_into(place: Any, part: str, key: str) -> Any:
    if isinstance(place, list):
        return place[_index(place, part, key)]
    if part not in place:
        raise ConfigError(f"--set {key}: no such key{did_you_mean(part, place)}")
    if not isinstance(place[part], dict | list):
        raise ConfigError(f"--set {key}: '{part}' has no keys below it")
    return place[part]


def _index(place: list, part: str, key: str) -> int:
    if not part.isdigit() or int(part) >= len(place):
        raise ConfigError(f"--set {key}: '{part}' is not an index from 0 to {len(place) - 1}")
    return int(part)


def _yaml_value(text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set: '{text}' is not a YAML value") from None
    if isinstance(value, str):  # YAML 1.1 reads 1e-3 as a string
        try:
            return float(value)
        except ValueError:
            return value
    return value
