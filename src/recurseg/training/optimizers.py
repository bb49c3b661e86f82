"""Optimisers by name, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from recurseg.training.recipe import OptimizerConfig, ScheduleConfig


class RMSpropMomentum(torch.optim.Optimizer):
    """RMSprop with momentum on the normalised gradient (Stollenga et al. 2015, eq. 15-18).

    The running averages are `s ← ρ s + (1-ρ) g²` and `m ← μ m + (1-μ) g / (√s + ε)`, then `θ ← θ - λ m`.
    Departure from the printed text: s is divided by `1 - ρᵗ`, so that the first steps are of normal size; the
    authors' code begins with ρ = 0.5 to the same end.

    Args:
        params: What to optimise.
        lr: Learning rate λ.
        decay: ρ, in [0, 1).
        momentum: μ, in [0, 1).
        eps: ε, added to the root.
    """

    def __init__(
        self, params: Iterable[Tensor], lr: float = 1e-2, decay: float = 0.9, momentum: float = 0.9, eps: float = 1e-5
    ) -> None:
        super().__init__(params, {"lr": lr, "decay": decay, "momentum": momentum, "eps": eps})

    @torch.no_grad()
    def step(self, closure=None):
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, self.state[parameter], group)
        return loss

    @staticmethod
    def _update(parameter: Tensor, grad: Tensor, state: dict, group: dict) -> None:
        if not state:
            state["step"] = torch.zeros(())
            state["square"] = torch.zeros_like(parameter)
            state["average"] = torch.zeros_like(parameter)
        state["step"] += 1
        state["square"].lerp_(grad.square(), 1 - group["decay"])
        root = (state["square"] / (1 - group["decay"] ** state["step"].item())).sqrt_()
        state["average"].lerp_(grad / root.add_(group["eps"]), 1 - group["momentum"])
        parameter.sub_(state["average"], alpha=group["lr"])


def create_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """The optimiser that a recipe names, over all weights of a model."""
    if config.name == "rmsprop_momentum":
        return RMSpropMomentum(model.parameters(), config.lr, config.decay, config.momentum, config.eps)
    if config.name == "rmsprop":
        return torch.optim.RMSprop(
            model.parameters(), config.lr, config.decay, config.eps, config.weight_decay, foreach=True
        )
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.name]
    return kind(
        model.parameters(), config.lr, (config.momentum, config.decay), config.eps, config.weight_decay, foreach=True
    )


def learning_rate(config: ScheduleConfig, lr: float, step: int, steps: int) -> float:
    """The learning rate of step `step` (from 0) of a stage of `steps` steps; every stage begins anew."""
    warm = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    if config.name == "constant":
        return warm * lr
    if config.name == "halving":
        return warm * (config.floor + lr * 0.5 ** (step / config.halve_every))
    progress = step / max(steps, 1)
    if config.name == "polynomial":
        return warm * (config.floor + (lr - config.floor) * (1 - progress) ** 0.9)
    return warm * (config.floor + (lr - config.floor) * 0.5 * (1 + math.cos(math.pi * progress)))
