"""The training loop: windows in, updates out, a checkpoint and a validation now and then."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from recurseg.errors import ConfigError
from recurseg.models import accepts_missing
from recurseg.training.checkpoint import Checkpoints, Progress
from recurseg.training.log import Log
from recurseg.training.optimizers import learning_rate
from recurseg.training.recipe import Recipe, Stage
from recurseg.training.sampling import Arrays, Sample, Windows, batches
from recurseg.training.tasks import TASKS

if TYPE_CHECKING:
    from lightning_fabric import Fabric

MAX_SKIPPED = 20
"""Updates with a loss or gradient that is not finite, in a row, after which a training gives up."""
_APART = 1_000_000_007
"""Between the seeds of two processes in one update."""

Validate = Callable[[nn.Module], dict[str, float]]
"""Model → metric id → value over the held-out cases."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""(What the network gives, what it is to give) → what is minimised."""

Report = Callable[[int, float, float, str], None]
"""What shows progress: step, loss, learning rate, and a note or ""."""


@dataclass
class Training:
    """What the loop works on.

    Attributes:
        recipe: What decides the run.
        fabric: This process and the others that share each batch; the first alone writes.
        model: The network, on its device.
        optimizer: Over its weights.
        cases: Prepared training cases.
        validate: Measures the model on the held-out cases; None where there are none.
        lower_is_better: Whether the recipe's metric is an error.
        checkpoints: Where state goes.
    """

    recipe: Recipe
    fabric: Fabric
    model: nn.Module
    optimizer: torch.optim.Optimizer
    cases: Sequence[Arrays]
    validate: Validate | None
    lower_is_better: bool
    checkpoints: Checkpoints

    def windows(self, stage: Stage) -> Windows:
        """The samples of a stage."""
        recipe = self.recipe
        finish = TASKS[recipe.task].finish(recipe)
        return Windows(
            self.cases,
            stage.window,
            recipe.sampling,
            seed=recipe.seed,
            non_empty=stage.sections == "non_empty",
            finish=finish,
        )

    def batches(self, stage: Stage, first: int = 0, offset: int = 0) -> DataLoader:
        """This process's share of a stage's batches; see `recurseg.training.sampling.batches`."""
        rank, ranks = self.fabric.global_rank, self.fabric.world_size
        workers = self.recipe.sampling.workers
        return batches(self.windows(stage), stage, first, offset, workers, rank=rank, ranks=ranks)

    def loss(self, stage: Stage) -> Loss:
        """What a stage minimises."""
        return TASKS[self.recipe.task].loss(stage.loss or self.recipe.loss, self.cases, self.recipe)


def fit(training: Training, progress: Progress, log: Log, report: Report) -> Progress:
    """Trains from where `progress` stands to the recipe's last step.

    Everything random in a step is a function of seed and step number, so a training that is resumed from any
    checkpoint ends with the weights of one that was never stopped. Of a batch each process works on a share, and
    all make the same update.

    Args:
        training: What to work on.
        progress: Zero, or what a checkpoint restored together with the weights.
        log: Where events go.
        report: Called after each step.

    Returns:
        The progress at the end.

    Raises:
        ConfigError: If loss or gradient stays non-finite.
    """
    recipe, done, samples = training.recipe, 0, 0
    validate_at = validation_steps(recipe)
    update = Update(recipe, training.fabric, training.model, training.optimizer, progress)
    for stage in recipe.stages:
        first = min(max(progress.step - done, 0), stage.steps)
        minimised = training.loss(stage)
        loader = training.batches(stage, first, samples)
        started = time.perf_counter()
        for within, sample in enumerate(loader, start=first):
            if progress.stopped:
                return progress
            rate = learning_rate(recipe.schedule, stage.lr or recipe.optimizer.lr, within, stage.steps)
            loss, norm = update(sample, minimised, rate, seed=recipe.seed * 1_000_003 + done + within)
            progress.step = done + within + 1
            seconds = time.perf_counter() - started
            values = {"loss": loss, "lr": rate, "grad_norm": norm, "seconds": round(seconds, 4)}
            log.write("step", step=progress.step, **values)
            report(progress.step, loss, rate, "")
            if training.validate and progress.step in validate_at:
                value = _validate(training, progress, log)
                report(progress.step, loss, rate, f"{recipe.validation.metric} {value:.4f}")
            if progress.step % recipe.checkpoint.every == 0 or progress.step in validate_at:
                progress.scaler = update.scaler.state_dict()
                if training.fabric.is_global_zero:
                    training.checkpoints.save(training.model, training.optimizer, progress)
            started = time.perf_counter()
        done += stage.steps
        samples += stage.steps * stage.batch
    return progress


def validation_steps(recipe: Recipe) -> set[int]:
    """Steps after which held-out cases are predicted: evenly over the run, the last among them."""
    times = min(recipe.validation.times, recipe.steps)
    return {round(recipe.steps * (k + 1) / times) for k in range(times)}


class Update:
    """One update of the weights, in the recipe's precision.

    Args:
        recipe: Precision, clipping.
        fabric: Makes gradients those of all processes.
        model: The network.
        optimizer: Over its weights.
        progress: Counts updates that were left out.
    """

    def __init__(
        self,
        recipe: Recipe,
        fabric: Fabric,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        progress: Progress,
    ) -> None:
        self.fabric, self.network = fabric, fabric.setup_module(model, move_to_device=False)
        self.model, self.optimizer, self.progress = model, optimizer, progress
        self.clip_norm = recipe.clip_norm or math.inf
        self.device = next(model.parameters()).device
        self.low = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(recipe.precision)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=recipe.precision == "fp16")
        if progress.scaler:
            self.scaler.load_state_dict(progress.scaler)

    def __call__(self, sample: Sample, minimised: Loss, rate: float, *, seed: int) -> tuple[float, float]:
        """Loss and gradient norm of one batch; updates the weights where both are finite.

        Args:
            sample: Image `(B, C, D, H, W)`, what the network is to give, and which channels are there `(B, C)`.
            minimised: The loss.
            rate: Learning rate.
            seed: Of everything random in the model, in the first process; each other one has its own.
        """
        torch.manual_seed(seed + _APART * self.fabric.global_rank)
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        image, target, present = (part.to(self.device) for part in sample)
        given = {"present": present} if accepts_missing(self.model) else {}
        if getattr(self.model, "spatial_dims", 3) == 2:
            image = image.squeeze(-3)
            target = target.squeeze(-3) if target.ndim > 3 else target
        self.optimizer.zero_grad()
        with torch.autocast(self.device.type, self.low, enabled=self.low is not None):
            output = self.network(image, **given)
        loss = minimised(output.float(), target)
        self.fabric.backward(self.scaler.scale(loss))
        if self.fabric.world_size > 1:
            self._require_gradients()
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        finite = bool(torch.isfinite(loss) and torch.isfinite(norm))
        if finite or self.scaler.is_enabled():
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self._guard(finite, loss)
        return loss.item(), norm.item()

    def _require_gradients(self) -> None:
        """Processes wait for each other's gradient of every weight."""
        for name, weight in self.model.named_parameters():
            if weight.requires_grad and weight.grad is None:
                raise ConfigError(
                    f"weight {name} has no part in what the model gives: train in one process, or leave it out"
                )

    def _guard(self, finite: bool, loss: Tensor) -> None:
        self.progress.skipped = 0 if finite else self.progress.skipped + 1
        if self.progress.skipped > MAX_SKIPPED:
            raise ConfigError(
                f"training diverged: loss or gradient not finite in {MAX_SKIPPED} updates in a row "
                f"(loss {loss.item()}): lower optimizer.lr, or use precision float32 or bf16"
            )


def _validate(training: Training, progress: Progress, log: Log) -> float:
    assert training.validate is not None
    started = time.perf_counter()
    training.model.eval()
    values: dict[str, Any] = training.fabric.broadcast(training.validate(training.model))
    value = values[training.recipe.validation.metric]
    sign = -1 if training.lower_is_better else 1
    if progress.best_value is None or sign * value > sign * progress.best_value:
        progress.best_step, progress.best_value, progress.stale = progress.step, value, 0
    else:
        progress.stale += 1
        progress.stopped = progress.stale == training.recipe.early_stopping
    seconds = round(time.perf_counter() - started, 3)
    log.write("validation", step=progress.step, values=values, seconds=seconds)
    return value
