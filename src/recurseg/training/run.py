"""From data and recipe to a run folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from recurseg.data.dataset import As, open_dataset, require_trainable
from recurseg.data.files import require_writable
from recurseg.data.splits import split_cases
from recurseg.errors import ConfigError
from recurseg.evaluation import Evaluation, read_evaluation
from recurseg.inference.predictor import choose_device
from recurseg.models import load_plugin
from recurseg.training.plan import plan
from recurseg.training.recipe import Recipe, is_recipe, override, read_recipe
from recurseg.training.trainer import Start, Trainer


@dataclass(frozen=True)
class Run:
    """A training on disk: recipe, manifest, log, checkpoints, package, validation and report."""

    folder: Path

    @property
    def recipe(self) -> Recipe:
        return read_recipe(self.folder / "recipe.yaml")

    @property
    def manifest(self) -> dict[str, Any]:
        """Data hashes, split, versions, seed, machine, times."""
        return json.loads((self.folder / "manifest.json").read_text())

    @property
    def package(self) -> Path:
        return self.folder / "package"

    @property
    def evaluation(self) -> Evaluation:
        """How the held-out cases came out."""
        return read_evaluation(self.folder / "validation" / "metrics.json")


def train(
    data: Path | str | None = None,
    *,
    model: str | None = None,
    recipe: Recipe | Path | None = None,
    out: Path | str,
    steps: int | None = None,
    minutes: float | None = None,
    seed: int | None = None,
    holdout: str | None = None,
    resume: bool = False,
    init: Path | str | None = None,
    settings: Sequence[str] = (),
    as_: As | None = None,
    device: str = "auto",
    plugin: str | None = None,
    console: Console | None = None,
) -> Run:
    """Trains a model and leaves a run folder with its package, held-out predictions, metrics and report.

    Args:
        data: Data set, or a recipe that names one; with `resume` it may be left out.
        model: Name of a model, whose default recipe is planned for the data; "pyramid_lstm" by default.
        recipe: Instead of planning one.
        out: The run folder; must not exist, but for `resume`.
        steps: Number of updates, shared by the stages in proportion.
        minutes: Wall-clock minutes, turned into steps after a timed warm-up.
        seed: Of weights and samples; 0, or the recipe's.
        holdout: What validation uses: case ids, a fraction, a fold "2/5", sections "16-19" or a named split.
        resume: Go on from the last checkpoint of `out`, with its recipe and data.
        init: Package or run whose weights to start from.
        settings: Changes of the recipe, such as `optimizer.lr=1e-3`.
        as_: How to read a folder of image files: "stack", "images" or "sequence".
        device: "auto", "cpu" or "cuda".
        plugin: Module that registers the model, where it is not built in.
        console: Where progress is shown; standard error by default.

    Returns:
        The finished run.

    Raises:
        ConfigError: Impossible options, an existing run folder.
        DataError: Data that cannot be trained on.
    """
    console = console or Console(stderr=True)
    folder = Path(out)
    if resume:
        given = {"--model": model, "a recipe": recipe, "--steps": steps, "--minutes": minutes, "--seed": seed}
        _refuse_changes(given | {"--holdout": holdout, "--init": init, "--set": list(settings) or None})
        start = _reopen(folder, data)
    else:
        start = _begin(folder, data, model, recipe, minutes, steps, seed, holdout, settings, as_, plugin)
    for line in (*start.dataset.notes, start.split.description, *start.recipe.why):
        console.print(f"[dim]·[/] {line}", highlight=False)
    Trainer(start, folder, choose_device(device), console).run(minutes, init, resume)
    return Run(folder)


def _begin(folder, data, model, recipe, minutes, steps, seed, holdout, settings, as_, plugin) -> Start:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: exists already: choose another --out, or go on with --resume")
    if data is not None and is_recipe(Path(data)):
        if recipe is not None:
            raise ConfigError(f"{data} is a recipe and another one is given: give one of them")
        recipe, data = read_recipe(Path(data)), None
    elif isinstance(recipe, Path):
        recipe = read_recipe(recipe)
    data = data or (recipe.data if recipe else None)
    require_writable(folder)
    if data is None:
        raise ConfigError("no data set given: recurseg train DATA --out RUN")
    if minutes is not None and steps is not None:
        raise ConfigError("--minutes and --steps exclude each other: give one")
    if (minutes is not None and minutes <= 0) or (steps is not None and steps <= 0):
        raise ConfigError("--minutes and --steps must be greater than 0")
    if plugin is not None:
        load_plugin(plugin)
    dataset = open_dataset(data, as_=as_)
    require_trainable(dataset)
    if recipe is None:
        recipe = plan(dataset, model=model or "pyramid_lstm", minutes=minutes)
        recipe.model.plugin = plugin
    if model is not None and model != recipe.model.name:
        raise ConfigError(f"--model {model} differs from the recipe's model {recipe.model.name}: give one of them")
    if seed is not None:
        recipe = recipe.model_copy(update={"seed": seed})
    recipe = override(recipe, list(settings)) if settings else recipe
    if steps is not None:
        factor = steps / recipe.steps
        stages = [s.model_copy(update={"steps": max(1, round(s.steps * factor))}) for s in recipe.stages]
        recipe = recipe.model_copy(update={"stages": stages})
    split = split_cases(dataset, holdout, seed=recipe.seed)
    return Start(recipe, dataset, split, {"holdout": holdout, "as": as_, "minutes": minutes})


def _reopen(folder: Path, data: Path | str | None) -> Start:
    if not (folder / "manifest.json").exists():
        raise ConfigError(f"{folder}: no run to resume: train without --resume")
    facts = Run(folder).manifest
    path = Path(facts["data"])
    if data is not None and Path(data).resolve() != path:
        raise ConfigError(f"{folder} was trained on {path}: resume it with that data set, or start a new run")
    dataset = open_dataset(path, as_=facts["as"])
    recipe = Run(folder).recipe
    return Start(recipe, dataset, split_cases(dataset, facts["holdout"], seed=recipe.seed), facts)


def _refuse_changes(given: dict[str, Any]) -> None:
    changed = [option for option, value in given.items() if value is not None]
    if changed:
        raise ConfigError(f"--resume goes on with the run's own recipe: leave out {', '.join(changed)}")
