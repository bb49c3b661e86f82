"""From data and recipe to a run folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from recurseg.data.classes import only_classes
from recurseg.data.dataset import As, Dataset, open_dataset, require_trainable
from recurseg.data.fewer import fewer
from recurseg.data.files import require_writable
from recurseg.data.modalities import only_modalities
from recurseg.data.splits import Split, split_cases
from recurseg.errors import ConfigError
from recurseg.evaluation import Evaluation, read_evaluation
from recurseg.models import load_plugin
from recurseg.training.distributed import join
from recurseg.training.ending import ending_together
from recurseg.training.plan import plan
from recurseg.training.recipe import Recipe
from recurseg.training.recipe_files import is_recipe, published_recipe, read_recipe
from recurseg.training.settings import override
from recurseg.training.tasks import TASKS
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
    recipe: Recipe | Path | str | None = None,
    out: Path | str,
    steps: int | None = None,
    minutes: float | None = None,
    seed: int | None = None,
    holdout: str | None = None,
    fraction: float | None = None,
    resume: bool = False,
    init: Path | str | None = None,
    settings: Sequence[str] = (),
    as_: As | None = None,
    device: str = "auto",
    plugin: str | None = None,
    console: Console | None = None,
) -> Run:
    """Trains a model and leaves a run folder with its package, held-out predictions, metrics and report.

    Started in several processes by `torchrun` or `srun`, these share each batch, and the first one writes: all need
    the same data set and run folder. The run is that of one process, up to rounding and to what dropout drops.

    Args:
        data: Data set, or a recipe that names one; with `resume` it may be left out.
        model: Name of a model, whose default recipe is planned for the data; "pyramid_lstm" by default.
        recipe: Instead of planning one; also the path of a file, or the name of a paper's ("pyramid_lstm/paper_em").
        out: The run folder; must not exist, but for `resume`.
        steps: Number of updates, shared by the stages in proportion.
        minutes: Wall-clock minutes, turned into steps after a timed warm-up.
        seed: Of weights and samples; 0, or the recipe's.
        holdout: What validation uses: case ids, a fraction, a fold "2/5", "every 4th" case, sections "16-19" or a
            named split.
        fraction: How much of the training patients is used, in (0, 1]; chosen by the seed, smaller ones within
            larger ones. None: all.
        resume: Go on from the last checkpoint of `out`, with its recipe and data; what is finished is left as it is.
        init: Package or run whose weights to start from.
        settings: Changes of the recipe, such as `optimizer.lr=1e-3`.
        as_: How to read a folder of image files: "stack", "images" or "sequence".
        device: "auto", "cpu" or "cuda"; of several processes on a machine each takes a GPU.
        plugin: Module that registers the model, where it is not built in.
        console: Where progress is shown; standard error by default.

    Returns:
        The finished run.

    Raises:
        ConfigError: Impossible options, an existing run folder.
        DataError: Data that cannot be trained on.
    """
    asked = _Asked(
        data=None if data is None else str(Path(data).resolve()),
        model=model,
        recipe=_recipe_asked(recipe),
        minutes=minutes,
        steps=steps,
        seed=seed,
        holdout=holdout,
        fraction=fraction,
        settings=list(settings) or None,
        init=None if init is None else str(Path(init).resolve()),
        plugin=plugin,
        as_=as_,
    )
    folder, fabric = Path(out), join(device)
    console = console or Console(stderr=True, quiet=not fabric.is_global_zero)
    with ending_together(fabric):
        start = _reopen(folder, asked) if resume else _begin(folder, asked, recipe)
        start = replace(start, recipe=fabric.broadcast(start.recipe))
        fabric.barrier()  # nothing is written before all have looked
        for line in (*start.dataset.notes, start.split.description, *start.recipe.why):
            console.print(f"[dim]·[/] {line}", highlight=False)
        Trainer(start, folder, fabric, console).run(None if resume else minutes, init, resume)
    return Run(folder)


@dataclass(frozen=True)
class _Asked:
    """What the user asked for, kept in the run's manifest; None where nothing was said."""

    data: str | None
    model: str | None
    recipe: str | None
    minutes: float | None
    steps: int | None
    seed: int | None
    holdout: str | None
    fraction: float | None
    settings: list[str] | None
    init: str | None
    plugin: str | None
    as_: As | None


def _recipe_asked(recipe: Recipe | Path | str | None) -> str | None:
    if isinstance(recipe, Recipe):
        return recipe.digest()
    return str(Path(recipe).resolve()) if recipe is not None and Path(recipe).is_file() else recipe and str(recipe)


def _begin(folder: Path, asked: _Asked, recipe: Recipe | Path | str | None) -> Start:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: exists already: choose another --out, or go on with --resume")
    require_writable(folder)
    if asked.minutes is not None and asked.steps is not None:
        raise ConfigError("--minutes and --steps exclude each other: give one")
    if (asked.minutes is not None and asked.minutes <= 0) or (asked.steps is not None and asked.steps <= 0):
        raise ConfigError("--minutes and --steps must be greater than 0")
    if asked.plugin is not None:
        load_plugin(asked.plugin)
    data, recipe = data_and_recipe(asked.data, recipe)
    dataset = open_dataset(data, as_=asked.as_)
    recipe = _settle(recipe or _planned(dataset, asked), asked)
    dataset = _seen(dataset, recipe)
    TASKS[recipe.task].require(dataset)
    recipe = recipe.model_copy(update={"data": str(data)})
    facts = {
        "data": str(data),
        "as": asked.as_,
        "holdout": asked.holdout,
        "fraction": asked.fraction,
        "minutes": asked.minutes,
        "asked": asdict(asked),
    }
    return Start(recipe, dataset, _split(dataset, facts, recipe), facts)


def _seen(dataset: Dataset, recipe: Recipe) -> Dataset:
    """What the recipe takes of a data set."""
    return only_modalities(only_classes(dataset, recipe.classes), recipe.modalities)


def _planned(dataset: Dataset, asked: _Asked) -> Recipe:
    recipe = plan(dataset, model=asked.model or "pyramid_lstm", minutes=asked.minutes)
    require_trainable(dataset)
    return recipe


def data_and_recipe(data: Path | str | None, recipe: Recipe | Path | str | None) -> tuple[Path, Recipe | None]:
    """The data set's path and the recipe, where one is given: by itself or in the place of the data.

    Raises:
        ConfigError: No data set, or two recipes.
    """
    if data is not None and is_recipe(Path(data)):
        if recipe is not None:
            raise ConfigError(f"{data} is a recipe and another one is given: give one of them")
        recipe, data = read_recipe(Path(data)), None
    elif isinstance(recipe, Path | str):
        recipe = read_recipe(Path(recipe)) if Path(recipe).is_file() else published_recipe(str(recipe))
    data = data or (recipe.data if recipe else None)
    if data is None:
        raise ConfigError("no data set given: recurseg train DATA --out RUN")
    return Path(data), recipe


def _settle(recipe: Recipe, asked: _Asked) -> Recipe:
    """The recipe with the user's changes."""
    if asked.model is not None and asked.model != recipe.model.name:
        raise ConfigError(f"--model {asked.model} differs from the recipe's {recipe.model.name}: give one of them")
    if asked.plugin is not None:
        recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"plugin": asked.plugin})})
    if asked.seed is not None:
        recipe = recipe.model_copy(update={"seed": asked.seed})
    if asked.settings:
        recipe = override(recipe, asked.settings)
    if asked.steps is not None:
        recipe = recipe.scaled(asked.steps / recipe.steps)
    return recipe


def _reopen(folder: Path, asked: _Asked) -> Start:
    if not (folder / "manifest.json").exists():
        raise ConfigError(f"{folder}: no run to resume: train without --resume")
    facts, recipe = Run(folder).manifest, Run(folder).recipe
    then = (
        {"fraction": None}
        | facts["asked"]
        | {
            "data": facts["data"],
            "model": recipe.model.name,
            "seed": recipe.seed,
            "steps": recipe.steps,
        }
    )
    then |= {key: value for key, value in facts["asked"].items() if value is not None and key != "data"}
    changed = [key for key, value in asdict(asked).items() if value is not None and value != then[key]]
    if changed:
        words = ", ".join(f"{key.rstrip('_')} {asdict(asked)[key]} (was {then[key]})" for key in changed)
        raise ConfigError(f"{folder}: --resume goes on with the run as it was begun; leave out {words}")
    dataset = _seen(open_dataset(facts["data"], as_=facts["as"]), recipe)
    return Start(recipe, dataset, _split(dataset, facts, recipe), facts)


def _split(dataset: Dataset, facts: dict[str, Any], recipe: Recipe) -> Split:
    split = split_cases(dataset, facts["holdout"], seed=recipe.seed, labelled=recipe.task != "regression")
    fraction = facts.get("fraction")
    return split if fraction is None else fewer(split, fraction, recipe.seed)
