"""The fGRU: a recurrent cell whose state first inhibits and then excites itself through horizontal kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

EPSILON = 1e-3
"""What stands under the root of an instance norm."""


@dataclass(frozen=True)
class Rule:
    """In what the published cells differ; the defaults are those of preset "fixed".

    Attributes:
        nonlinearity: ξ.
        normalise: Whether gates and horizontal activity are instance-normalised. A map of one position has no
            variance and would lose all it says: it is only scaled and shifted.
        bias_before_norm: Whether the gates' biases are added before the norm, which then cancels them.
        rectify_drive: Whether the drive passes ξ before it is inhibited.
        rectify_inhibition: Whether the inhibition passes ξ: it can then only lower the drive.
        joint_gain: Whether γ is part of the excitation, `κ(H1 + γC2) + ωH1γC2`, instead of `κH1 + γC2 + ωH1C2`.
        gate_keeps: Whether the second gate keeps the old state, `G2 H2 + (1 - G2) H̃`, instead of taking the new one.
        attention_is_gate: Whether attention is the first gate as it is, without norm, bias and sigmoid.
    """

    nonlinearity: Literal["relu", "tanh"] = "relu"
    normalise: bool = True
    bias_before_norm: bool = False
    rectify_drive: bool = False
    rectify_inhibition: bool = True
    joint_gain: bool = False
    gate_keeps: bool = False
    attention_is_gate: bool = False


class Weights(NamedTuple):
    """The weights of one step, C channels.

    Attributes:
        inhibition: W of the inhibition, `(C, C, k, k)`, odd k.
        excitation: W of the excitation; the same tensor where both share one kernel.
        gate_1: U1, `(C, C, 1, 1)`; None where attention takes its place.
        gate_2: U2, `(C, C, 1, 1)`.
        bias_1: b1, `(C,)`; None where attention is the gate.
        bias_2: b2, `(C,)`.
        alpha: α, how much the state itself scales the inhibition, `(C,)`.
        mu: μ, inhibition that does not depend on the state, `(C,)`.
        kappa: κ, `(C,)`.
        omega: ω, `(C,)`.
        gamma: γ (β in the thesis), `(C,)`; None is 1.
        eta: η of this step, `()`; None is 1.
        scale: Of the norms of inhibition, excitation, second gate and first gate, `(4, C)`, or `(3, C)` where
            the first has none; None is 1.
        shift: Of the same norms; None is 0.
    """

    inhibition: Tensor
    excitation: Tensor
    gate_1: Tensor | None
    gate_2: Tensor
    bias_1: Tensor | None
    bias_2: Tensor
    alpha: Tensor
    mu: Tensor
    kappa: Tensor
    omega: Tensor
    gamma: Tensor | None = None
    eta: Tensor | None = None
    scale: Tensor | None = None
    shift: Tensor | None = None


def fgru_step(
    drive: Float[Tensor, "b c h w"],
    state: Float[Tensor, "b c h w"] | None,
    weights: Weights,
    rule: Rule,
    *,
    attention: Float[Tensor, "b c h w"] | None = None,
) -> Float[Tensor, "b c h w"]:
    """Computes the state after one step.

    `G1 = σ(U1 * H2 + b1)`; inhibition `C1 = W * (G1 ⊙ H2)`, `H1 = ξ(X - (αH2 + μ) C1)`; `G2 = σ(U2 * H1 + b2)`;
    excitation `C2 = W * H1`, `H̃ = ξ(κH1 + γC2 + ωH1C2)`; `H2 ← η((1 - G2) H2 + G2 H̃)`. `rule` says how the
    published cells depart from it.

    Args:
        drive: X, what drives the cell.
        state: H2, `(B, C, H, W)`; None: zeros, and what they would be convolved with is spared.
        weights: Of this step.
        rule: Which arithmetic.
        attention: Stands in for `U1 * H2`; needed where `weights.gate_1` is None and there is a state.

    Returns:
        H2 afterwards, in float32 under autocast too.

    Source: gamma-Net thesis, eq. 2.5-2.11; Linsley et al. 2018 (hGRU) and 2020 (fGRU). Discrepancies: the thesis has
    one kernel W in its text and two in its code; eq. 2.3 multiplies α with H1, eq. 2.7 with H2, which is right; η
    stands in eq. 2.11 but was never trained together with norms; the two mixes of old and new state are each
    other's mirror image.
    """
    from recurseg.ops.fgru import fast, reference

    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
    return (reference if traced else fast).fgru_step(drive, state, weights, rule, attention=attention)
