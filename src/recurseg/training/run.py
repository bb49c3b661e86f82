"""From data and recipe to a run folder: prepare, train, package, measure the held-out cases, report."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import nn

from recurseg.data.case import Case
from recurseg.data.dataset import As, Dataset, open_dataset, require_trainable
from recurseg.data.files import write_json
from recurseg.data.splits import Split, split_cases
from recurseg.errors import ConfigError, DataError
from recurseg.evaluation import METRICS, Evaluation, evaluate, read_evaluation
from recurseg.inference.files import predict_cases
from recurseg.inference.inputs import Inputs
from recurseg.inference.package import PackageSpec, load_package, save_package
from recurseg.inference.predictor import choose_device, load, package_folder
from recurseg.models import create_model, load_plugin
from recurseg.preprocess import Prepared, prepare
from recurseg.training.checkpoint import Checkpoints, Progress
from recurseg.training.log import Log
from recurseg.training.loop import Training, fit
from recurseg.training.optimizers import create_optimizer
from recurseg.training.plan import plan
from recurseg.training.progress import training_bar
from recurseg.training.provenance import data_hashes, machine, versions
from recurseg.training.recipe import Recipe, override, read_recipe, write_recipe
from recurseg.training.timing import fit_to_minutes
from recurseg.training.validation import Validator


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
        data: Data set; with `resume` it may be left out.
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
    return _Trainer(start, folder, choose_device(device), console).run(minutes, init, resume)


@dataclass(frozen=True)
class _Start:
    recipe: Recipe
    dataset: Dataset
    split: Split
    facts: dict[str, Any]


def _begin(folder, data, model, recipe, minutes, steps, seed, holdout, settings, as_, plugin) -> _Start:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: exists already: choose another --out, or go on with --resume")
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
    elif isinstance(recipe, Path):
        recipe = read_recipe(recipe)
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
    return _Start(recipe, dataset, split, {"holdout": holdout, "as": as_, "minutes": minutes})


def _reopen(folder: Path, data: Path | str | None) -> _Start:
    if not (folder / "manifest.json").exists():
        raise ConfigError(f"{folder}: no run to resume: train without --resume")
    facts = Run(folder).manifest
    path = Path(facts["data"])
    if data is not None and Path(data).resolve() != path:
        raise ConfigError(f"{folder} was trained on {path}: resume it with that data set, or start a new run")
    dataset = open_dataset(path, as_=facts["as"])
    recipe = Run(folder).recipe
    return _Start(recipe, dataset, split_cases(dataset, facts["holdout"], seed=recipe.seed), facts)


def _refuse_changes(given: dict[str, Any]) -> None:
    changed = [option for option, value in given.items() if value is not None]
    if changed:
        raise ConfigError(f"--resume goes on with the run's own recipe: leave out {', '.join(changed)}")


class _Trainer:
    """The steps of a training in their order."""

    def __init__(self, start: _Start, folder: Path, device: torch.device, console: Console) -> None:
        self.recipe, self.dataset, self.split, self.facts = start.recipe, start.dataset, start.split, start.facts
        self.folder, self.device, self.console = folder, device, console

    def run(self, minutes: float | None, init: Path | str | None, resume: bool) -> Run:
        started = time.time()
        model = self._model(init)
        cases = [self._arrays(prepared) for _, prepared in self._prepared(self.split.train, "training")]
        held = self._prepared(self.split.validation, "held-out")
        validator = Validator(held, self.recipe, self.dataset.class_names)
        training = Training(
            recipe=self.recipe,
            model=model,
            optimizer=create_optimizer(model, self.recipe.optimizer),
            cases=cases,
            validate=validator,
            lower_is_better=METRICS[self.recipe.validation.metric].better == "lower",
            checkpoints=Checkpoints(self.folder / "checkpoints", self.recipe.checkpoint.keep_every),
        )
        if minutes is not None:
            self._fit_to_minutes(training, validator, minutes)
        self._write_start(model, resume)
        progress = self._restore(training) if resume else Progress()
        self._announce(model, progress)
        log = Log(self.folder / "log.jsonl", resume_at=progress.step)
        with training_bar(self.console, self.recipe.steps, progress.step) as report:
            progress = fit(training, progress, log, report)
        log.close()
        if progress.best_step is not None:
            training.checkpoints.load_weights(progress.best_step, model)
        return self._finish(model, progress, time.time() - started)

    def _model(self, init: Path | str | None) -> nn.Module:
        config = self.recipe.model
        if config.plugin:
            load_plugin(config.plugin)
        torch.manual_seed(self.recipe.seed)
        channels, classes = len(self.dataset.modalities), len(self.dataset.class_names)
        model = create_model(config.name, in_channels=channels, num_classes=classes, **config.options)
        if model.task != "segmentation":
            raise ConfigError(f"model {config.name} is for {model.task}: training does segmentation")
        two_dimensional = model.spatial_dims == 2
        if two_dimensional and any(stage.window[0] > 1 for stage in self.recipe.stages):
            raise ConfigError(f"model {config.name} takes sections one by one: its windows need a first size of 1")
        if init is not None:
            _copy_weights(model, config.name, Path(init))
        return model.to(self.device)

    def _prepared(self, cases: Sequence[Case], what: str) -> list[tuple[Case, Prepared]]:
        shown = track(cases, f"Reading {what} cases", console=self.console, transient=True)
        return [
            (case, prepare(case, self.recipe.preprocessing, modalities=self.dataset.modalities)) for case in shown
        ]

    @staticmethod
    def _arrays(prepared: Prepared):
        assert prepared.label is not None
        flat = prepared.label.ndim == 2
        return (prepared.image[:, None], prepared.label[None]) if flat else (prepared.image, prepared.label)

    def _fit_to_minutes(self, training: Training, validator: Validator, minutes: float) -> None:
        with self.console.status("Timing a few steps"):
            typical = sorted(validator.cases, key=lambda held: held.reference.size)[len(validator.cases) // 2]
            self.recipe = fit_to_minutes(
                training, minutes, lambda: validator.measure(training.model.eval(), typical), len(validator.cases)
            )
        training.recipe = validator.recipe = self.recipe

    def _write_start(self, model: nn.Module, resume: bool) -> None:
        if resume:
            self._refuse_changed_data()
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        write_recipe(self.recipe, self.folder / "recipe.yaml")
        self.facts |= {
            "schema_version": 1,
            "data": str(self.dataset.root.resolve()),
            "dataset": self.dataset.manifest.name,
            "modalities": self.dataset.modalities,
            "class_names": self.dataset.class_names,
            "split": {
                "description": self.split.description,
                "train": [case.id for case in self.split.train],
                "validation": [case.id for case in self.split.validation],
            },
            "hashes": data_hashes(self.dataset.cases),
            "recipe_hash": self.recipe.digest(),
            "seed": self.recipe.seed,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "versions": versions(),
            "machine": machine(),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        write_json(self.folder / "manifest.json", self.facts)

    def _refuse_changed_data(self) -> None:
        now, then = data_hashes(self.dataset.cases), self.facts["hashes"]
        changed = sorted(case for case in now.keys() | then if now.get(case) != then.get(case))
        if changed:
            where = f"{self.facts['data']}: case {', '.join(changed)}"
            raise DataError(f"{where} changed since the run began: start a new run")

    def _restore(self, training: Training) -> Progress:
        steps = training.checkpoints.steps()
        return training.checkpoints.load(steps[-1], training.model, training.optimizer) if steps else Progress()

    def _announce(self, model: nn.Module, progress: Progress) -> None:
        parameters = sum(parameter.numel() for parameter in model.parameters())
        options = ", ".join(f"{key} {value}" for key, value in self.recipe.model.options.items())
        where = f"from step {progress.step} " if progress.step else ""
        self.console.print(
            f"[bold]{self.recipe.model.name}[/] ({parameters:,} parameters{'; ' + options if options else ''}), "
            f"{self.recipe.steps} steps {where}on {self.device.type}",
            highlight=False,
        )

    def _finish(self, model: nn.Module, progress: Progress, seconds: float) -> Run:
        from recurseg.report import write_report

        spec = PackageSpec(
            model=self.recipe.model.name,
            options=self.recipe.model.options,
            plugin=self.recipe.model.plugin,
            in_channels=len(self.dataset.modalities),
            num_classes=len(self.dataset.class_names),
            modalities=self.dataset.modalities,
            class_names=self.dataset.class_names,
            label_map=dict(self.dataset.cases[0].label_map),
            preprocessing=self.recipe.preprocessing,
            window=self.recipe.prediction.window,
            overlap=self.recipe.prediction.overlap,
            trained={
                "dataset": self.dataset.manifest.name,
                "steps": progress.step,
                "best_step": progress.best_step,
                self.recipe.validation.metric: progress.best_value,
            },
        )
        save_package(self.folder / "package", model, spec)
        segmenter = load(
            self.folder, device=str(self.device), precision=self.recipe.precision, plugin=self.recipe.model.plugin
        )
        out = self.folder / "validation"
        maps = METRICS[self.recipe.validation.metric].takes == "membrane"
        predict_cases(segmenter, Inputs(list(self.split.validation)), out, probabilities=maps, overwrite=True)
        evaluation = evaluate(out, replace(self.dataset, cases=self.split.validation))
        evaluation.to_json(out / "metrics.json")
        evaluation.to_csv(out / "metrics.csv")
        self.facts |= {
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(self.facts.get("seconds", 0) + seconds, 1),
            "steps": progress.step,
            "best_step": progress.best_step,
        }
        write_json(self.folder / "manifest.json", self.facts)
        write_report(self.folder)
        return Run(self.folder)


def _copy_weights(model: nn.Module, name: str, source: Path) -> None:
    spec, trained = load_package(package_folder(source))
    if spec.model != name:
        raise ConfigError(f"{source} is a {spec.model}: --init takes a package of the same model, {name}")
    weights, own = trained.state_dict(), model.state_dict()
    fitting = {key: value for key, value in weights.items() if key in own and own[key].shape == value.shape}
    if not fitting:
        raise ConfigError(f"{source}: none of its weights fit: give the recipe the options of that model")
    model.load_state_dict(own | fitting)
