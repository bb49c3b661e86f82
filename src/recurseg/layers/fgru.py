"""The fGRU as a layer: it owns the weights of the cell, in each of its published forms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recurseg.layers.gala import GALA, Variant
from recurseg.ops.fgru import Rule, Weights, fgru_step

Norm = Literal["none", "instance", "affine", "per_step"]
HiddenInit = Literal["zeros", "identity", "random"]
PresetName = Literal["fixed", "thesis", "original", "hgru"]

NORMS = ("none", "instance", "affine", "per_step")
HIDDEN_INITS = ("zeros", "identity", "random")
NORM_SCALE = 0.1
RANDOM_SEED = 0
BROKEN_CHRONOS = 7.0


@dataclass(frozen=True)
class Preset:
    """A published cell.

    Attributes:
        rule: Its arithmetic.
        norm: Kind of its norms.
        attention: Variant of GALA that stands in for U1, None: a 1×1 convolution.
        hidden_init: State before the first step.
        scalars: Initial α, μ, κ, ω and γ; None: Xavier-uniform.
        gain: Whether there is a γ.
        eta: Whether each step's state is scaled by a weight of its own.
        shared_kernel: Whether inhibition and excitation have one kernel.
        chronos: Sign of b2's initial `log U(1, T - 1)`; None: b1 and b2 are ∓U(1, 7).
    """

    rule: Rule
    norm: Norm
    attention: Variant | None
    hidden_init: HiddenInit
    scalars: tuple[float, ...] | None
    gain: bool
    eta: bool
    shared_kernel: bool
    chronos: int | None


_THESIS_SCALARS = (0.1, 1.0, 0.5, 0.5, 1.0)

PRESETS: dict[str, Preset] = {
    "fixed": Preset(
        Rule(),
        norm="affine",
        attention="tf",
        hidden_init="zeros",
        scalars=_THESIS_SCALARS,
        gain=True,
        eta=False,
        shared_kernel=False,
        chronos=-1,
    ),
    "thesis": Preset(
        Rule(bias_before_norm=True),
        norm="instance",
        attention="thesis",
        hidden_init="zeros",
        scalars=_THESIS_SCALARS,
        gain=True,
        eta=False,
        shared_kernel=False,
        chronos=None,
    ),
    "original": Preset(
        Rule(rectify_drive=True, joint_gain=True),
        norm="affine",
        attention="tf",
        hidden_init="identity",
        scalars=(0.1, 0.0, 0.1, 0.1, 1.0),
        gain=False,
        eta=False,
        shared_kernel=False,
        chronos=1,
    ),
    "hgru": Preset(
        Rule("tanh", normalise=False, rectify_inhibition=False, joint_gain=True, gate_keeps=True),
        norm="none",
        attention=None,
        hidden_init="zeros",
        scalars=None,
        gain=True,
        eta=True,
        shared_kernel=True,
        chronos=1,
    ),
}
"""Name → cell. "fixed" is the thesis's with its slips mended, "thesis" the thesis's code as it ran, "original" the
fGRU of the first gamma-Net, "hgru" that of 2018."""


class FGRU(nn.Module):
    """A feedback gated recurrent unit: horizontal inhibition, then horizontal excitation, of a map's own state.

    Options that are None are the preset's. Convolutions begin orthogonal.

    Discrepancies that concern the weights:
    - The thesis says that inhibition and excitation have one kernel; its code and gamma-Net's have two.
    - η is trained in no code that has norms; where it is on it begins at 1.
    - Chronos initialisation is meant to be `b1 = -log U(1, T - 1)`, `b2 = -b1` for a gate that keeps the old state.
      The original kept that sign after its gate had come to take the new state, so it favours the new; "fixed"
      turns it, so that memory is slow. The thesis's code drops the logarithm, and its norm cancels the bias anyway.
    - The thesis symmetrises the gradient of kernels that were not symmetric, so they never are; here
      `W = ½(V + Vᵀ)` over channels.
    - The thesis draws the first state anew at every forward pass, also for predictions. "random" is
      Xavier-normal for a batch of one, the same for all elements, and in `eval()` from a fixed seed.

    Args:
        channels: C of drive and state.
        kernel: Odd side of the horizontal kernels.
        preset: A key of `PRESETS`.
        steps: T: chronos initialisation expects it, and "per_step" norms and η have as many; further steps use the
            last.
        attention: A variant of `GALA`, or "off" for a 1×1 convolution.
        attention_layers: 1 or 2.
        norm: "none"; "instance", without weights; "affine", scale 0.1 and shift 0 shared over time; "per_step",
            scale and shift for each step. With "none" gates and horizontal activity are unbounded under ReLU.
        per_step_eta: Whether the state is scaled by a weight for each step.
        shared_kernel: Whether inhibition and excitation have one kernel.
        symmetric: Whether the horizontal kernels connect channel i to j as j to i.
        divisive_alpha: Whether α is σ(α), so that inhibition grows with the state.
        hidden_init: The state before the first step: "zeros", "identity" (the drive) or "random".

    Source: gamma-Net thesis, eq. 2.5-2.11, and the codes named in `PRESETS`.
    """

    def __init__(
        self,
        channels: int,
        *,
        kernel: int = 3,
        preset: PresetName = "fixed",
        steps: int = 2,
        attention: Variant | Literal["off"] | None = None,
        attention_layers: int = 1,
        norm: Norm | None = None,
        per_step_eta: bool | None = None,
        shared_kernel: bool | None = None,
        symmetric: bool = False,
        divisive_alpha: bool = False,
        hidden_init: HiddenInit | None = None,
    ) -> None:
        super().__init__()
        chosen = PRESETS[preset]
        norm = chosen.norm if norm is None else norm
        variant = chosen.attention if attention is None else None if attention == "off" else attention
        self.attention = None if variant is None else GALA(channels, variant=variant, layers=attention_layers)
        is_gate = self.attention is not None and self.attention.is_gate
        self.rule = replace(chosen.rule, normalise=norm != "none", attention_is_gate=is_gate)
        self.hidden_init = chosen.hidden_init if hidden_init is None else hidden_init
        self.symmetric, self.divisive_alpha, self.steps = symmetric, divisive_alpha, steps

        def square(side: int) -> nn.Parameter:
            return nn.Parameter(nn.init.orthogonal_(torch.empty(channels, channels, side, side)))

        self.inhibition = square(kernel)
        shared = chosen.shared_kernel if shared_kernel is None else shared_kernel
        self.excitation = None if shared else square(kernel)
        self.gate_1 = square(1) if self.attention is None else None
        self.gate_2 = square(1)
        bias_1, bias_2 = _gate_biases(channels, steps, chosen.chronos)
        self.bias_1 = None if is_gate else nn.Parameter(bias_1)
        self.bias_2 = nn.Parameter(bias_2)
        scalars = (nn.Parameter(value) for value in _scalars(channels, chosen.scalars))
        self.alpha, self.mu, self.kappa, self.omega, gamma = scalars
        self.gamma = gamma if chosen.gain else None
        eta = chosen.eta if per_step_eta is None else per_step_eta
        self.eta = nn.Parameter(torch.ones(steps)) if eta else None
        norms = (steps if norm == "per_step" else 1, 3 if is_gate else 4, channels)
        affine = norm in ("affine", "per_step")
        self.scale = nn.Parameter(torch.full(norms, NORM_SCALE)) if affine else None
        self.shift = nn.Parameter(torch.zeros(norms)) if affine else None

    def forward(
        self, drive: Float[Tensor, "b c h w"], state: Float[Tensor, "b c h w"] | None = None, *, step: int = 0
    ) -> Float[Tensor, "b c h w"]:
        """Computes the state after one step.

        Args:
            drive: X.
            state: H2; None: as `hidden_init` says.
            step: Number of the step from 0.

        Returns:
            H2 afterwards, float32 under autocast too.
        """
        if state is None:
            state = self._first(drive)
        attention = None if self.attention is None or state is None else self.attention(state)
        return fgru_step(drive, state, self.weights(step), self.rule, attention=attention)

    def weights(self, step: int = 0) -> Weights:
        """The weights of a step as they are used: kernels symmetric and α divisive where asked."""

        def at(values: Tensor | None) -> Tensor | None:
            return None if values is None else values[min(step, len(values) - 1)]

        inhibition = self._kernel(self.inhibition)
        return Weights(
            inhibition=inhibition,
            excitation=inhibition if self.excitation is None else self._kernel(self.excitation),
            gate_1=self.gate_1,
            gate_2=self.gate_2,
            bias_1=self.bias_1,
            bias_2=self.bias_2,
            alpha=self.alpha.sigmoid() if self.divisive_alpha else self.alpha,
            mu=self.mu,
            kappa=self.kappa,
            omega=self.omega,
            gamma=self.gamma,
            eta=at(self.eta),
            scale=at(self.scale),
            shift=at(self.shift),
        )

    def _kernel(self, kernel: Tensor) -> Tensor:
        return (kernel + kernel.transpose(0, 1)) / 2 if self.symmetric else kernel

    def _first(self, drive: Tensor) -> Tensor | None:
        if self.hidden_init == "zeros":
            return None
        state = drive.to(torch.promote_types(drive.dtype, torch.float32))
        if self.hidden_init == "identity":
            return state
        seed = None if self.training else torch.Generator().manual_seed(RANDOM_SEED)
        one = torch.empty(state[:1].shape, dtype=state.dtype)
        return nn.init.xavier_normal_(one, generator=seed).to(state).expand_as(state)


def _gate_biases(channels: int, steps: int, chronos: int | None) -> tuple[Tensor, Tensor]:
    if chronos is None:
        drawn = torch.empty(channels).uniform_(1, BROKEN_CHRONOS)
        return -drawn, drawn
    drawn = torch.empty(channels).uniform_(1, max(steps - 1, 1)).log()
    return -drawn, chronos * drawn


def _scalars(channels: int, values: tuple[float, ...] | None) -> list[Tensor]:
    if values is None:
        return [nn.init.xavier_uniform_(torch.empty(channels, 1)).flatten() for _ in range(5)]
    return [torch.full((channels,), value) for value in values]
