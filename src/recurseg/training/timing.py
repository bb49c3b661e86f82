"""Minutes become a number of steps: a timed warm-up on a copy of the model, once, before the training."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable

from recurseg.training.checkpoint import Progress
from recurseg.training.loop import Training, Update
from recurseg.training.optimizers import create_optimizer
from recurseg.training.recipe import Recipe, Stage

VALIDATION_SHARE = 0.15
"""Largest part of the minutes that validations take."""
_TIMED_UPDATES, _TIMED_SECONDS = 6, 20.0


def fit_to_minutes(training: Training, minutes: float, try_out: Callable[[], int], cases: int) -> Recipe:
    """Returns the recipe with as many steps as fit, validations included; stages keep their proportions.

    Of several processes all take part, and the first one's clock counts.

    Args:
        training: Its model is left as it is.
        minutes: Wall-clock time for updates and validations, > 0.
        try_out: Predicts and measures a few typical held-out cases and says how many.
        cases: How many held-out cases there are.
    """
    recipe, budget = training.recipe, minutes * 60
    started = time.perf_counter()
    tried = try_out()
    seconds = (time.perf_counter() - started) / tried
    counted = max(1, min(cases, recipe.validation.cases or cases, int(VALIDATION_SHARE * budget / seconds / 2)))
    times = max(1, min(recipe.validation.times, int(VALIDATION_SHARE * budget / (seconds * counted))))
    per_pass = seconds * counted * times
    validation = recipe.validation.model_copy(
        update={"times": times, "cases": counted if counted < cases else recipe.validation.cases}
    )
    recipe = recipe.model_copy(update={"validation": validation})
    cost = sum(stage.steps * _seconds_an_update(training, stage) for stage in recipe.stages)
    factor = max(budget - per_pass, 0.2 * budget) / cost
    return training.fabric.broadcast(recipe.scaled(factor))


def _seconds_an_update(training: Training, stage: Stage) -> float:
    recipe, model = training.recipe, copy.deepcopy(training.model)
    update = Update(recipe, training.fabric, model, create_optimizer(model, recipe.optimizer), Progress())
    timed = stage.model_copy(update={"steps": _TIMED_UPDATES + 1})
    minimised = training.loss(stage)
    seconds, begun = [], time.perf_counter()
    previous = begun
    for sample in training.batches(timed):
        update(sample, minimised, recipe.optimizer.lr * 1e-3, seed=0)
        now = time.perf_counter()
        seconds.append(now - previous)
        previous = now
        if training.fabric.broadcast(now - begun > _TIMED_SECONDS):
            break
    return statistics.median(seconds[1:] or seconds)
