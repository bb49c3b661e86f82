"""Rows of a table that differ only in a few choices, written once: a grid becomes its rows."""

from __future__ import annotations

import itertools
from string import Template
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Choice(BaseModel):
    """One value on an axis."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    name: str
    """What the table calls it."""
    settings: list[str] = Field(default_factory=list)
    """Changes of the recipe that it asks for."""
    training: dict[str, Any] = Field(default_factory=dict)
    """Other parts of a training that it sets, such as `fraction`."""


class Grid(BaseModel):
    """Every combination of one choice an axis makes a row.

    In all texts of `row` and `pairs`, `$axis` stands for the choice and `${axis_name}` for its name.
    """

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    axes: dict[str, dict[str, Choice]]
    """Axis → choice → what it means; the last axis changes fastest."""
    row: dict[str, Any]
    """A row; the settings of its choices are put behind those of its trainings."""
    only: dict[str, dict[str, list[str]]] = Field(default_factory=dict)
    """Scale → axis → choices that are run at it; all of them where nothing is said."""
    pairs: list[dict[str, str]] = Field(default_factory=list)
    """Rows that are compared case by case; a row is not compared with itself."""


def expand(content: dict[str, Any]) -> dict[str, Any]:
    """Replaces the `grid` of a table by `rows` and `pairs`; any other table is returned as it is."""
    if "grid" not in content:
        return content
    grid = Grid.model_validate(content["grid"])
    rows, pairs = [], []
    for chosen in itertools.product(*grid.axes.values()):
        picked = dict(zip(grid.axes, chosen, strict=True))
        choices = {axis: grid.axes[axis][choice] for axis, choice in picked.items()}
        words = picked | {f"{axis}_name": choice.name for axis, choice in choices.items()}
        row = _filled(grid.row, words)
        settings = _filled([setting for choice in choices.values() for setting in choice.settings], words)
        for scale in ("smoke", "small", "full"):
            if any(picked[axis] not in allowed for axis, allowed in grid.only.get(scale, {}).items()):
                row.pop(scale, None)
            elif scale in row:
                parts = [part for choice in choices.values() for part in choice.training.items()]
                row[scale] |= {**dict(parts), "settings": [*row[scale].get("settings", []), *settings]}
        rows.append(row)
        pairs += [pair for pair in _filled(grid.pairs, words) if pair["row"] != pair["rival"]]
    rest = {key: value for key, value in content.items() if key != "grid"}
    return rest | {"rows": rows, "pairs": [pair for number, pair in enumerate(pairs) if pair not in pairs[:number]]}


def _filled(value: Any, words: dict[str, str]) -> Any:
    """A copy of plain data with every text filled in."""
    if isinstance(value, str):
        return Template(value).substitute(words)
    if isinstance(value, list):
        return [_filled(part, words) for part in value]
    if isinstance(value, dict):
        return {key: _filled(part, words) for key, part in value.items()}
    return value
