"""The step of a differentiable neural computer as it runs by default: the same numbers as `reference.py`.

Large are the N × N links and the N × Q memory. What is done to them are three functions whose backward passes are
written out, so that each goes over them a few times and not once for every product in the equations; vectors are left
to autograd.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from recurseg.ops.memory import Access, Links, Memory
from recurseg.ops.memory.fast import inverse_norms


class _ContentWeights(torch.autograd.Function):
    """Softmax over slots of strength times cosine: content `(B, N, Q)`, keys `(B, K, Q)` → `(B, K, N)`."""

    @staticmethod
    def forward(ctx: Any, content: Tensor, keys: Tensor, strengths: Tensor) -> Tensor:
        inverse, inverse_keys = inverse_norms(content), inverse_norms(keys).unsqueeze(2)
        unit = keys * inverse_keys
        cosine = torch.bmm(unit, content.mT).mul_(inverse.unsqueeze(1))
        weights = (cosine * strengths).softmax(dim=2)
        ctx.save_for_backward(content, unit, inverse, inverse_keys, cosine, strengths, weights)
        return weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor):
        content, unit, inverse, inverse_keys, cosine, strengths, weights = ctx.saved_tensors
        to_cosine = torch.ops.aten._softmax_backward_data(grad, weights, 2, torch.float32)
        weighted = to_cosine * cosine
        to_strengths = weighted.sum(2, keepdim=True)
        shrink = torch.bmm(strengths.mT, weighted).squeeze(1).mul_(inverse).mul_(inverse)
        to_dot = to_cosine.mul_(strengths).mul_(inverse.unsqueeze(1))
        to_content = torch.bmm(to_dot.mT, unit).addcmul_(content, shrink.unsqueeze(2), value=-1)
        to_keys = torch.bmm(to_dot, content)
        along = (to_keys * unit).sum(2, keepdim=True)
        return to_content, to_keys.addcmul_(unit, along, value=-1).mul_(inverse_keys), to_strengths


class _Write(torch.autograd.Function):
    """`M ∘ (1 - w eᵀ) + w aᵀ`."""

    @staticmethod
    def forward(ctx: Any, content: Tensor, write: Tensor, erase: Tensor, add: Tensor) -> Tensor:
        weight, erase, add = write.unsqueeze(2), erase.unsqueeze(1), add.unsqueeze(1)
        ctx.save_for_backward(content, weight, erase, add)
        after = weight * erase
        return torch.addcmul(content, content, after, value=-1, out=after).baddbmm_(weight, add)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor):
        content, weight, erase, add = ctx.saved_tensors
        product = grad * content
        to_write = torch.bmm(grad, add.mT).baddbmm_(product, erase.mT, alpha=-1).squeeze(2)
        to_erase = torch.bmm(weight.mT, product).squeeze(1).neg_()
        to_content = torch.addcmul(grad, grad, torch.mul(weight, erase, out=product), value=-1)
        return to_content, to_write, to_erase, torch.bmm(weight.mT, grad).squeeze(1)


class _Follow(torch.autograd.Function):
    """Brings the links up to date, and follows them from the slots last read, back and forth.

    `L ← (1 - w_i - w_j) L + w_i p_j` off the diagonal; then `r L` and `r Lᵀ`.
    """

    @staticmethod
    def forward(ctx: Any, order: Tensor, precedence: Tensor, write: Tensor, read: Tensor):
        into, before = write.unsqueeze(2), precedence.unsqueeze(1)
        after = torch.sub(1 - into, write.unsqueeze(1)).mul_(order).baddbmm_(into, before)
        after.diagonal(dim1=1, dim2=2).zero_()
        ctx.save_for_backward(order, precedence, write, read, after)
        return after, torch.bmm(read, after), torch.bmm(read, after.mT)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_after: Tensor, grad_back: Tensor, grad_forth: Tensor):
        order, precedence, write, read, after = ctx.saved_tensors
        to_read = torch.bmm(grad_back, after.mT).baddbmm_(grad_forth, after)
        rows, columns = torch.cat([read, grad_forth], dim=1), torch.cat([grad_back, read], dim=1)
        to_after = torch.baddbmm(grad_after, rows.mT, columns)
        to_after.diagonal(dim1=1, dim2=2).zero_()
        product = to_after * order
        to_write = torch.bmm(to_after, precedence.unsqueeze(2)).squeeze(2).sub_(product.sum(2)).sub_(product.sum(1))
        to_precedence = torch.bmm(write.unsqueeze(1), to_after).squeeze(1)
        scale = torch.sub(1 - write.unsqueeze(2), write.unsqueeze(1), out=product)
        return to_after.mul_(scale), to_precedence, to_write, to_read


def linked_step(memory: Memory, interface: Tensor, access: Access) -> tuple[Tensor, Memory]:
    """Arguments as in `recurseg.ops.memory.memory_step`; float32."""
    links = memory.links
    assert links is not None
    parts = interface.split(list(access.parts.values()), dim=1)
    keys, erase, add, strengths, free, allocation_gate, write_gate, modes = parts
    keys = keys.unflatten(1, (access.heads + 1, access.word))
    strengths = F.softplus(strengths).add(1).unsqueeze(2)
    last = links.write.detach()
    retention = torch.addcmul(torch.ones_like(last[:1, :1, None]), free.sigmoid().unsqueeze(2), links.read, value=-1)
    usage = torch.lerp(memory.usage, torch.ones_like(last), last) * retention.prod(dim=1)
    gate = allocation_gate.sigmoid()
    by_content = _ContentWeights.apply(memory.content, keys[:, -1:], strengths[:, -1:]).squeeze(1)
    write = write_gate.sigmoid() * torch.lerp(by_content, _allocation(usage), gate)
    content = _Write.apply(memory.content, write, erase.sigmoid(), add)
    order, back, forth = _Follow.apply(links.order, links.precedence, write, links.read)
    precedence = (1 - write.sum(dim=1, keepdim=True)) * links.precedence + write
    by_content = _ContentWeights.apply(content, keys[:, :-1], strengths[:, :-1])
    mode = modes.unflatten(1, (access.heads, 3)).softmax(dim=2)
    read = mode[:, :, :1] * back + mode[:, :, 1:2] * by_content + mode[:, :, 2:] * forth
    written = memory.written.scatter(1, write.detach().argmax(dim=1, keepdim=True), memory.writes + 1)
    after = Memory(content, usage, written, memory.writes + 1, Links(order, precedence, write, read))
    return torch.bmm(read, content), after


def _allocation(usage: Tensor) -> Tensor:
    """Free slots first, in the order of their usage: (1 - u) times the product of all smaller ones."""
    rising, order = usage.sort(dim=1)
    before = F.pad(rising.cumprod(dim=1)[:, :-1], (1, 0), value=1.0)
    return torch.zeros_like(usage).scatter(1, order, (1 - rising) * before)
