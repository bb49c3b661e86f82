"""A step of the fGRU, written as the thesis's equations 2.5-2.11 with the switches of `Rule`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recurseg.ops.fgru import EPSILON, Rule, Weights

INHIBITION, EXCITATION, GATE_2, GATE_1 = range(4)


def fgru_step(
    drive: Tensor, state: Tensor | None, weights: Weights, rule: Rule, *, attention: Tensor | None = None
) -> Tensor:
    """The state after one step; arguments as in `recurseg.ops.fgru.fgru_step`."""
    w, xi = weights, {"relu": torch.relu, "tanh": torch.tanh}[rule.nonlinearity]
    x = drive.to(torch.promote_types(drive.dtype, torch.float32))
    alpha, mu, kappa, omega = (value.view(-1, 1, 1) for value in (w.alpha, w.mu, w.kappa, w.omega))
    gamma = 1 if w.gamma is None else w.gamma.view(-1, 1, 1)
    h2 = torch.zeros_like(x) if state is None else state
    if state is None and w.gate_1 is None:
        attention = h2  # of zeros, whatever attention says

    def convolve(maps: Tensor, kernel: Tensor) -> Tensor:
        return F.conv2d(maps, kernel, padding=kernel.shape[-1] // 2).to(x.dtype)

    def norm(maps: Tensor, which: int) -> Tensor:
        if not rule.normalise:
            return maps
        if maps.shape[2:].numel() > 1:
            variance, mean = torch.var_mean(maps, dim=(2, 3), correction=0, keepdim=True)
            maps = (maps - mean) / (variance + EPSILON).sqrt()
        if w.scale is not None:
            maps = maps * w.scale[which].view(-1, 1, 1)
        return maps if w.shift is None else maps + w.shift[which].view(-1, 1, 1)

    def gate(maps: Tensor, bias: Tensor | None, which: int) -> Tensor:
        b = 0 if bias is None else bias.view(-1, 1, 1)
        return torch.sigmoid(norm(maps + b, which) if rule.bias_before_norm else norm(maps, which) + b)

    z1 = convolve(h2, w.gate_1) if w.gate_1 is not None else attention
    assert z1 is not None
    g1 = z1 if rule.attention_is_gate else gate(z1, w.bias_1, GATE_1)
    c1 = norm(convolve(g1 * h2, w.inhibition), INHIBITION)
    inhibition = (alpha * h2 + mu) * c1
    h1 = xi((xi(x) if rule.rectify_drive else x) - (xi(inhibition) if rule.rectify_inhibition else inhibition))
    g2 = gate(convolve(h1, w.gate_2), w.bias_2, GATE_2)
    c2 = norm(convolve(h1, w.excitation), EXCITATION)
    if rule.joint_gain:
        h_new = xi(kappa * (h1 + gamma * c2) + omega * h1 * gamma * c2)
    else:
        h_new = xi(kappa * h1 + gamma * c2 + omega * h1 * c2)
    keep = g2 if rule.gate_keeps else 1 - g2
    mixed = keep * h2 + (1 - keep) * h_new
    return mixed if w.eta is None else w.eta * mixed
