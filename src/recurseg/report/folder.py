"""What a report reads of a run folder: recipe, manifest, log, metrics and the index of held-out predictions."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recurseg.errors import ConfigError, DataError
from recurseg.evaluation.result import Evaluation, read_evaluation


@dataclass(frozen=True)
class RunFiles:
    """The content of a run folder, as plain data.

    Attributes:
        path: The folder.
        recipe: `recipe.yaml`.
        recipe_text: The same as text, for reading.
        manifest: `manifest.json`: data, split, hashes, versions, machine, times.
        log: Events of `log.jsonl` in their order; empty where there is no log.
        evaluation: How the held-out cases came out; None where they were not measured.
        predictions: `validation/predictions.json`; empty where there is none.
    """

    path: Path
    recipe: dict[str, Any]
    recipe_text: str
    manifest: dict[str, Any]
    log: list[dict[str, Any]] = field(default_factory=list)
    evaluation: Evaluation | None = None
    predictions: dict[str, Any] = field(default_factory=dict)

    @property
    def metric(self) -> str:
        """Id of the metric that decides which checkpoint is best."""
        return (self.recipe.get("validation") or {}).get("metric") or "dice"

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Events of one kind, "step" or "validation"."""
        return [event for event in self.log if event.get("event") == kind]


def read_run(path: Path) -> RunFiles:
    """Reads a run folder; a training that has only begun has no metrics yet, which is no error.

    Raises:
        ConfigError: Where the folder is no run.
        DataError: Where one of its files is damaged.
    """
    import yaml

    if not (path / "manifest.json").is_file() or not (path / "recipe.yaml").is_file():
        raise ConfigError(f"{path}: not a run folder: pass what 'recurseg train' wrote")
    text = (path / "recipe.yaml").read_text(encoding="utf-8")
    try:
        recipe = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DataError(f"{path / 'recipe.yaml'}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(recipe, dict):
        raise DataError(f"{path / 'recipe.yaml'}: a recipe is a mapping of keys: restore the file")
    metrics = path / "validation" / "metrics.json"
    index = path / "validation" / "predictions.json"
    return RunFiles(
        path=path,
        recipe=recipe,
        recipe_text=text,
        manifest=_read_json(path / "manifest.json"),
        log=_read_log(path / "log.jsonl"),
        evaluation=read_evaluation(metrics) if metrics.is_file() else None,
        predictions=_read_json(index) if index.is_file() else {},
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise DataError(f"{path}: not a JSON object: restore the file")
    return content


def _read_log(path: Path) -> list[dict[str, Any]]:
    """All whole events; what follows a line that a kill cut short is left out."""
    events: list[dict[str, Any]] = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                events.append(json.loads(line))
            except ValueError:
                break
    return events
