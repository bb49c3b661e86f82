"""The steps of a training in their order: read, fit, package, measure the held-out cases, report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.progress import track
from torch import nn

from recurseg.data.case import Case
from recurseg.data.dataset import Dataset, require_complete
from recurseg.data.files import write_json
from recurseg.data.splits import Split
from recurseg.errors import ConfigError, DataError
from recurseg.evaluation import METRICS
from recurseg.inference.package import PackageSpec, load_package, save_package
from recurseg.inference.predictor import load, package_folder
from recurseg.models import accepts_missing, create_model, load_plugin
from recurseg.preprocess import Prepared, prepare
from recurseg.training.allocation import keep_freed_memory
from recurseg.training.batch_norm import normalise_over_ranks
from recurseg.training.checkpoint import Checkpoints, Progress
from recurseg.training.log import Log
from recurseg.training.loop import Training, fit
from recurseg.training.losses import foreground_fraction
from recurseg.training.memory import PeakMemory
from recurseg.training.optimizers import create_optimizer
from recurseg.training.progress import training_bar
from recurseg.training.provenance import data_hashes, machine, versions
from recurseg.training.recipe import Recipe
from recurseg.training.recipe_files import write_recipe
from recurseg.training.sampling import Arrays
from recurseg.training.tasks import TASKS, Held, Validator
from recurseg.training.timing import fit_to_minutes

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Start:
    """What a training starts from: recipe, data, split, and the facts that its manifest will hold."""

    recipe: Recipe
    dataset: Dataset
    split: Split
    facts: dict[str, Any]


class Trainer:
    """The steps of a training in their order.

    Of several processes each reads, fits and measures while training; the first one alone writes, and at the end
    measures and reports while the others wait.
    """

    def __init__(self, start: Start, folder: Path, fabric: Fabric, console: Console) -> None:
        self.recipe, self.dataset, self.split, self.facts = start.recipe, start.dataset, start.split, start.facts
        self.folder, self.fabric, self.device, self.console = folder, fabric, fabric.device, console
        self.task = TASKS[self.recipe.task]

    def run(self, minutes: float | None, init: Path | str | None, resume: bool) -> None:
        self._require_shares()
        if resume:
            if self.fabric.is_global_zero:
                self._refuse_changed_data()
            if self.fabric.broadcast(self._finished):
                self.console.print(f"[dim]·[/] {self.folder} is finished", highlight=False)
                return
        keep_freed_memory()
        started, peak = time.time(), PeakMemory(self.device)
        model = self._model(init)
        train = self._prepared(self.split.train, "training")
        cases = [arrays for _, prepared in train for arrays in self.task.arrays(prepared, self.recipe)]
        held = self._prepared(self.split.validation, "held-out")
        validator = self.task.validator(held, self.recipe, self.dataset.class_names)
        training = Training(
            recipe=self.recipe,
            fabric=self.fabric,
            model=model,
            optimizer=create_optimizer(model, self.recipe.optimizer),
            cases=cases,
            validate=validator,
            lower_is_better=METRICS[self.recipe.validation.metric].better == "lower",
            checkpoints=Checkpoints(self.folder / "checkpoints", self.recipe.checkpoint.keep_every),
        )
        if minutes is not None:
            self._fit_to_minutes(training, validator, minutes)
        writes = self.fabric.is_global_zero
        if writes and not resume:
            self._write_start(model, cases)
        progress = self._restore(training) if resume else Progress()
        self._announce(model, progress)
        log = Log(self.folder / "log.jsonl" if writes else None, resume_at=progress.step)
        with training_bar(self.console, self.recipe.steps, progress.step) as report:
            progress = fit(training, progress, log, report)
        log.close()
        self.facts["peak_memory_mib"] = peak.mib()
        if writes:
            if progress.best_step is not None and self.recipe.validation.keep == "best":
                training.checkpoints.load_weights(progress.best_step, model)
            self._finish(model, held, progress, time.time() - started)
        self.fabric.barrier()

    @property
    def _finished(self) -> bool:
        """Whether a training that is resumed left nothing to do."""
        return "finished" in self.facts and all((self.folder / name).exists() for name in ("package", "report.html"))

    @property
    def _channels(self) -> int:
        return len(self.recipe.preprocessing.channels(self.dataset.modalities))

    def _require_shares(self) -> None:
        ranks = self.fabric.world_size
        for number, stage in enumerate(self.recipe.stages):
            if stage.batch < ranks:
                raise ConfigError(
                    f"stages.{number}.batch {stage.batch} is what all {ranks} processes share: start fewer, "
                    f"or take --set stages.{number}.batch={ranks}"
                )

    def _model(self, init: Path | str | None) -> nn.Module:
        config = self.recipe.model
        if config.plugin:
            load_plugin(config.plugin)
        torch.manual_seed(self.recipe.seed)
        channels, classes = self._channels, self.task.meaning(self.dataset, self.recipe)["num_classes"]
        model = create_model(config.name, in_channels=channels, num_classes=classes, **config.options)
        if model.task != self.recipe.task:
            raise ConfigError(
                f"model {config.name} with these options is for {model.task}, the recipe for {self.recipe.task}: "
                "change one of them (a model of both has the option 'task')"
            )
        series = self.recipe.sampling.frames == "series"
        if series and model.sequence_axis != "time":
            raise ConfigError(f"model {config.name} does not read series of frames: set sampling.frames=each")
        if model.spatial_dims == 2 and not series and any(stage.window[0] > 1 for stage in self.recipe.stages):
            raise ConfigError(f"model {config.name} takes sections one by one: its windows need a first size of 1")
        self._check_modalities(model)
        if init is not None:
            _copy_weights(model, config.name, Path(init))
        model = model.to(self.device)
        return model if self.fabric.world_size == 1 else normalise_over_ranks(model, self.device)

    def _check_modalities(self, model: nn.Module) -> None:
        """Missing modalities are for models that cope with them, and each of them must be seen somewhere."""
        name = self.recipe.model.name
        if not accepts_missing(model):
            if self.recipe.sampling.modality_dropout:
                raise ConfigError(f"sampling.modality_dropout: model {name} needs every modality: set it to 0")
            require_complete(self.dataset, name)
        for modality in self.dataset.modalities:
            if all(modality in case.missing for case in self.split.train):
                raise DataError(f"{self.dataset.root}: no training case has {modality}: leave it out of the manifest")

    def _prepared(self, cases: Sequence[Case], what: str) -> list[tuple[Case, Prepared]]:
        shown = track(cases, f"Reading {what} cases", console=self.console, transient=True)
        return [
            (case, prepare(case, self.recipe.preprocessing, modalities=self.dataset.modalities)) for case in shown
        ]

    def _fit_to_minutes(self, training: Training, validator: Validator, minutes: float) -> None:
        with self.console.status("Timing a few steps"):
            self.recipe = fit_to_minutes(
                training, minutes, lambda: validator.try_out(training.model.eval()), len(validator)
            )
        training.recipe = validator.recipe = self.recipe

    def _write_start(self, model: nn.Module, cases: Sequence[Arrays]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_recipe(self.recipe, self.folder / "recipe.yaml")
        self.facts |= {
            "schema_version": 1,
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
            "foreground_fraction": foreground_fraction(case.label for case in cases),
            "versions": versions(),
            "machine": machine(),
            "processes": self.fabric.world_size,
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
        times = f"{self.fabric.world_size} x " if self.fabric.world_size > 1 else ""
        self.console.print(
            f"[bold]{self.recipe.model.name}[/] ({parameters:,} parameters{'; ' + options if options else ''}), "
            f"{self.recipe.steps} steps {where}on {times}{self.device.type}",
            highlight=False,
        )

    def _finish(self, model: nn.Module, held: Held, progress: Progress, seconds: float) -> None:
        from recurseg.report import write_report

        spec = PackageSpec(
            task=self.recipe.task,
            model=self.recipe.model.name,
            options=self.recipe.model.options,
            plugin=self.recipe.model.plugin,
            in_channels=self._channels,
            modalities=self.dataset.modalities,
            **self.task.meaning(self.dataset, self.recipe),
            preprocessing=self.recipe.preprocessing,
            window=self.recipe.prediction.window,
            overlap=self.recipe.prediction.overlap,
            frames=self.recipe.prediction.frames,
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
        evaluation = self.task.measure(segmenter, held, self.recipe, self.dataset, out)
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


def _copy_weights(model: nn.Module, name: str, source: Path) -> None:
    spec, trained = load_package(package_folder(source))
    if spec.model != name:
        raise ConfigError(f"{source} is a {spec.model}: --init takes a package of the same model, {name}")
    weights, own = trained.state_dict(), model.state_dict()
    fitting = {key: value for key, value in weights.items() if key in own and own[key].shape == value.shape}
    if not fitting:
        raise ConfigError(f"{source}: none of its weights fit: give the recipe the options of that model")
    model.load_state_dict(own | fitting)
