"""Recipes as files: read and checked, the papers' own found by name, written."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from recurseg.data.files import write_text
from recurseg.errors import ConfigError, did_you_mean, first_problem
from recurseg.training.recipe import SCHEMA_VERSION, Recipe


def parse_recipe(content: Any, source: str) -> Recipe:
    """Checks the content of a recipe.

    Raises:
        ConfigError: On the first wrong key or value; names its place and, for a key, the nearest known one.
    """
    if not isinstance(content, dict):
        raise ConfigError(f"{source}: a recipe is a mapping of keys; write one with 'recurseg plan'")
    if content.get("schema_version", SCHEMA_VERSION) != SCHEMA_VERSION:
        version = content["schema_version"]
        raise ConfigError(f"{source}: schema_version {version} is not {SCHEMA_VERSION}: update recurseg")
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{source}: {first_problem(error, Recipe)}") from None


def read_recipe(path: Path) -> Recipe:
    """Reads a recipe from a YAML file. Raises ConfigError as `parse_recipe` does."""
    try:
        return parse_recipe(yaml.safe_load(path.read_text()), str(path))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None


def published_recipes() -> list[str]:
    """Names of the papers' recipes, such as "pyramid_lstm/paper_em"."""
    root = files("recurseg.training") / "recipes"
    return sorted(
        f"{model.name}/{file.name.removesuffix('.yaml')}" for model in root.iterdir() for file in model.iterdir()
    )


def published_recipe(name: str) -> Recipe:
    """One of the papers' recipes. Raises ConfigError for an unknown name, with the nearest known one."""
    known = published_recipes()
    if name not in known:
        raise ConfigError(f"no recipe '{name}': neither a file nor a paper's{did_you_mean(name, known)}")
    return parse_recipe(yaml.safe_load((files("recurseg.training") / "recipes" / f"{name}.yaml").read_text()), name)


def is_recipe(path: Path) -> bool:
    """Whether a path is a YAML file with the keys of a recipe, not a data set."""
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        return False
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError):
        return False
    return isinstance(content, dict) and "model" in content and "cases" not in content


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Writes a recipe as YAML, atomically."""
    write_text(path, recipe.to_yaml())
