"""The fGRU step as it runs by default: the numbers of `reference.py` in fewer passes over the maps.

Nothing is convolved with a state of zeros; norms are one fused operation, which takes the gate's bias with it; the
excitation `κH1 + γC2 + ωH1C2` is two multiply-adds; wide kernels run channels-last.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from recurseg.ops.fgru import EPSILON, Rule, Weights


def fgru_step(
    drive: Tensor, state: Tensor | None, weights: Weights, rule: Rule, *, attention: Tensor | None = None
) -> Tensor:
    """The state after one step; arguments as in `recurseg.ops.fgru.fgru_step`."""
    x = drive.to(torch.promote_types(drive.dtype, torch.float32))
    xi = F.relu if rule.nonlinearity == "relu" else torch.tanh
    inhibition = _inhibition(x, state, weights, rule, attention)
    if inhibition is not None and rule.rectify_inhibition:
        inhibition = xi(inhibition)
    x = xi(x) if rule.rectify_drive else x
    h1 = xi(x if inhibition is None else x - inhibition)
    g2 = _gate(_convolve(h1, weights.gate_2), weights.bias_2, *_norm(weights, 2), rule=rule)
    new = xi(_excitation(h1, weights, rule))
    if state is None:
        mixed = new - g2 * new if rule.gate_keeps else g2 * new
    else:
        mixed = torch.lerp(new, state, g2) if rule.gate_keeps else torch.lerp(state, new, g2)
    return mixed if weights.eta is None else weights.eta * mixed


def instance_norm(x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
    """Each map less its mean, over its standard deviation, then scaled and shifted; `scale`, `shift`: `(C,)`.

    A map of one position has no variance: it is scaled and shifted as it is.
    """
    batch, channels, *spatial = x.shape
    if spatial == [1, 1]:
        x = x if scale is None else x * _maps(scale)
        return x if shift is None else x + _maps(shift)
    scale, shift = (None if value is None else value.repeat(batch) for value in (scale, shift))
    maps = x.reshape(1, batch * channels, *spatial)
    return F.batch_norm(maps, None, None, scale, shift, training=True, eps=EPSILON).view_as(x)


def _inhibition(x: Tensor, state: Tensor | None, w: Weights, rule: Rule, attention: Tensor | None) -> Tensor | None:
    """`(αH2 + μ) C1`; None where it is zero."""
    if state is None:  # C1 is the shift of its norm
        return _maps(w.mu * w.shift[0]) if rule.normalise and w.shift is not None else None
    first = attention if w.gate_1 is None else _convolve(state, w.gate_1)
    assert first is not None
    if not rule.attention_is_gate:
        first = _gate(first.to(x.dtype), w.bias_1, *_norm(w, 3), rule=rule)
    c1 = _convolve(first * state, w.inhibition)
    if rule.normalise:
        c1 = instance_norm(c1, *_norm(w, 0))
    return torch.addcmul(_maps(w.mu), _maps(w.alpha), state) * c1


def _excitation(h1: Tensor, w: Weights, rule: Rule) -> Tensor:
    """What stands within ξ of H̃."""
    c2 = _convolve(h1, w.excitation)
    if rule.normalise:
        c2 = instance_norm(c2, *_norm(w, 1))
    omega, gamma = w.omega, w.gamma
    if rule.joint_gain:
        omega, gamma = (omega, w.kappa) if gamma is None else (omega * gamma, w.kappa * gamma)
    linear = c2 if gamma is None else _maps(gamma) * c2
    return torch.addcmul(linear, h1, torch.addcmul(_maps(w.kappa), _maps(omega), c2))


def _gate(z: Tensor, bias: Tensor | None, scale: Tensor | None, shift: Tensor | None, *, rule: Rule) -> Tensor:
    if bias is not None and (rule.bias_before_norm or not rule.normalise):
        z, bias = z + _maps(bias), None
    if rule.normalise:
        z = instance_norm(z, scale, bias if shift is None else shift if bias is None else shift + bias)
    return z.sigmoid()


def _norm(w: Weights, which: int) -> tuple[Tensor | None, Tensor | None]:
    return (None if w.scale is None else w.scale[which]), (None if w.shift is None else w.shift[which])


def _maps(value: Tensor) -> Tensor:
    return value.view(-1, 1, 1)


def _convolve(maps: Tensor, kernel: Tensor) -> Tensor:
    """A same convolution, in the precision of autocast; what it gives is of the maps' own."""
    plain = maps.is_cuda or kernel.shape[-1] < 5 or torch.is_autocast_enabled(maps.device.type)
    if plain:
        return F.conv2d(maps, kernel, padding=kernel.shape[-1] // 2).to(maps.dtype)
    result: Tensor = _WideConvolution.apply(maps, kernel)
    return result


class _WideConvolution(torch.autograd.Function):
    """On the CPU channels-last is up to three times as fast for kernels of 5 and more, but not for their gradient."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, kernel: Tensor) -> Tensor:
        ctx.save_for_backward(maps, kernel)
        return _channels_last(maps, kernel)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        maps, kernel = ctx.saved_tensors
        of_maps, of_kernel = ctx.needs_input_grad
        grad_maps = _channels_last(grad, kernel.transpose(0, 1).flip(2, 3)) if of_maps else None
        if not of_kernel:
            return grad_maps, None
        side = [kernel.shape[-1] // 2] * 2
        _, grad_kernel, _ = torch.ops.aten.convolution_backward(
            grad.contiguous(), maps, kernel, None, [1, 1], side, [1, 1], False, [0, 0], 1, [False, True, False]
        )
        return grad_maps, grad_kernel


def _channels_last(maps: Tensor, kernel: Tensor) -> Tensor:
    last = maps.contiguous(memory_format=torch.channels_last)
    return F.conv2d(last, kernel, padding=kernel.shape[-1] // 2).contiguous()
