"""The memory step as it runs by default: the same numbers as `reference.py`, its backward pass written out.

A memory is far larger than an interface vector, so what costs is the number of times that it is passed over, and on
a small one the number of operations. Norms of slots are kept from one step to the next, all keys are normed at
once, and in the backward pass all that the reads send back to the slots is one matrix product.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from recurseg.ops.memory import Access, Memory

_EPSILON = 1e-6


class Tape(NamedTuple):
    """What the backward pass of a step needs."""

    before: Tensor  # (B, N, Q)
    after: Tensor
    inverse_before: Tensor  # 1 / norms of the slots, (B, N)
    inverse_after: Tensor
    keys: Tensor  # of norm 1, (B, R + 1, Q)
    inverse_keys: Tensor  # 1 / norms that they had, (B, R + 1, 1)
    strengths: Tensor | None  # (B, R + 1, 1)
    alpha: Tensor  # (B, 1)
    erase: Tensor  # (B, Q)
    add: Tensor
    slot: Tensor  # the least used one, (B, 1)
    write: Tensor  # weights, (B, N)
    by_content: Tensor  # the part of them that came by content
    write_cosine: Tensor
    read: Tensor  # weights, (B, R, N)
    read_cosine: Tensor


def inverse_norms(vectors: Tensor) -> Tensor:
    """1 / norm along the last axis, finite where all is 0."""
    return torch.linalg.vector_norm(vectors, dim=-1).square_().add_(_EPSILON).rsqrt_()


def forward(memory: Memory, inverse: Tensor, interface: Tensor, access: Access) -> tuple[Tensor, Memory, Tape]:
    """One step without autograd.

    Args:
        memory: Before the step.
        inverse: `inverse_norms` of its content.
        interface: `(B, access.size)`, float32.
        access: How the memory is addressed.

    Returns:
        Reads `(B, R, Q)`, the memory afterwards, and the tape, whose `inverse_after` the next step takes.
    """
    before, usage, written, writes, _ = memory
    keys, erase, add, alpha, *strengths = interface.split(list(access.parts.values()), dim=1)
    alpha, erase = alpha.sigmoid(), erase.sigmoid()
    strength = F.softplus(strengths[0]).add_(1).unsqueeze(2) if strengths else None
    keys = keys.unflatten(1, (access.heads + 1, access.word))
    inverse_keys = inverse_norms(keys).unsqueeze(2)
    keys = keys * inverse_keys

    write_cosine = torch.bmm(before, keys[:, -1:].mT).squeeze(2).mul_(inverse)
    by_content = (write_cosine if strength is None else write_cosine * strength[:, -1]).softmax(dim=1)
    slot = torch.where(written > 0, written, usage).argmin(dim=1, keepdim=True)
    write = (by_content * alpha).scatter_add_(1, slot, 1 - alpha)
    weight = write.unsqueeze(2)
    after = weight * erase.unsqueeze(1)
    torch.addcmul(before, before, after, value=-1, out=after).baddbmm_(weight, add.unsqueeze(1))

    inverse_after = inverse_norms(after)
    read_cosine = torch.bmm(keys[:, :-1], after.mT).mul_(inverse_after.unsqueeze(1))
    read = (read_cosine if strength is None else read_cosine * strength[:, :-1]).softmax(dim=2)
    usage = torch.lerp(usage, torch.ones_like(usage[:1, :1]), write)
    written = written.scatter(1, write.argmax(dim=1, keepdim=True), writes + 1)
    tape = Tape(
        before, after, inverse, inverse_after, keys, inverse_keys, strength, alpha, erase, add, slot, write,
        by_content, write_cosine, read, read_cosine,
    )  # fmt: skip
    return torch.bmm(read, after), Memory(after, usage, written, writes + 1), tape


def backward(
    tape: Tape, grad_reads: Tensor, grad_content: Tensor, out: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The gradients of one step.

    Args:
        tape: Of the step.
        grad_reads: `(B, R, Q)`.
        grad_content: Of the memory after the step.
        out: Where the gradient of the memory before the step is put; may be `grad_content`.

    Returns:
        Gradients of the interface vector and of the memory before the step.
    """
    to_content, to_read_keys, to_read_strengths = _read_backward(tape, grad_reads, grad_content, out)

    weight, erase = tape.write.unsqueeze(2), tape.erase.unsqueeze(1)
    product = to_content * tape.before
    to_add = torch.bmm(weight.mT, to_content).squeeze(1)
    to_erase = torch.bmm(weight.mT, product).squeeze(1).mul_(tape.erase * (tape.erase - 1))
    to_write = torch.bmm(to_content, tape.add.unsqueeze(2)).baddbmm_(product, erase.mT, alpha=-1).squeeze(2)
    torch.addcmul(to_content, to_content, torch.mul(weight, erase, out=product), value=-1, out=to_content)

    to_gate = (to_write * tape.by_content).sum(1, keepdim=True).sub_(to_write.gather(1, tape.slot))
    to_gate.mul_(tape.alpha * (1 - tape.alpha))
    to_cosine = torch.ops.aten._softmax_backward_data(to_write.mul_(tape.alpha), tape.by_content, 1, torch.float32)
    to_write_strength = None
    if tape.strengths is not None:
        to_write_strength = (to_cosine * tape.write_cosine).sum(1, keepdim=True)
        to_cosine.mul_(tape.strengths[:, -1])
    to_dot = to_cosine.mul_(tape.inverse_before).unsqueeze(1)
    to_keys = torch.cat([to_read_keys, torch.bmm(to_dot, tape.before)], dim=1)
    to_content.baddbmm_(to_dot.mT, tape.keys[:, -1:])
    shrink = (to_dot.squeeze(1) * tape.write_cosine).mul_(tape.inverse_before)
    to_content.addcmul_(tape.before, shrink.unsqueeze(2), value=-1)

    along = (to_keys * tape.keys).sum(2, keepdim=True)  # what a change of a key's length would do does nothing
    to_keys.addcmul_(tape.keys, along, value=-1).mul_(tape.inverse_keys)
    parts = [to_keys.flatten(1), to_erase, to_add, to_gate]
    if tape.strengths is not None and to_read_strengths is not None and to_write_strength is not None:
        to_strengths = torch.cat([to_read_strengths.squeeze(2), to_write_strength], dim=1)
        parts.append(
            to_strengths.mul_(1 - torch.exp(1 - tape.strengths).squeeze(2))
        )  # softplus' = 1 - exp(-softplus)
    return torch.cat(parts, dim=1), to_content


def _read_backward(
    tape: Tape, grad_reads: Tensor, grad_content: Tensor, out: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Gradients of the memory that was read, of the read keys and of their strengths."""
    to_cosine = torch.bmm(grad_reads, tape.after.mT)
    to_cosine = torch.ops.aten._softmax_backward_data(to_cosine, tape.read, 2, torch.float32)
    weighted, to_strengths = to_cosine * tape.read_cosine, None
    if tape.strengths is None:
        shrink = weighted.sum(1, keepdim=True)
    else:
        strengths = tape.strengths[:, :-1]
        to_strengths = weighted.sum(2, keepdim=True)
        shrink = torch.bmm(strengths.mT, weighted)
        to_cosine.mul_(strengths)
    to_dot = to_cosine.mul_(tape.inverse_after.unsqueeze(1))
    to_keys = torch.bmm(to_dot, tape.after)  # into a part of a tensor, products go sample by sample: slow
    back = torch.cat([tape.read, to_dot], dim=1).mT
    back_to = torch.cat([grad_reads, tape.keys[:, :-1]], dim=1)
    shrink = shrink.squeeze(1).mul_(tape.inverse_after).mul_(tape.inverse_after)
    to_content = torch.baddbmm(grad_content, back, back_to, out=out)
    return to_content.addcmul_(tape.after, shrink.unsqueeze(2), value=-1), to_keys, to_strengths


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, content: Tensor, interface: Tensor, rest: Memory, access: Access):
        reads, left, ctx.tape = forward(rest._replace(content=content), inverse_norms(content), interface, access)
        ctx.mark_non_differentiable(left.usage, left.written)
        return reads, left.content, left.usage, left.written

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_reads: Tensor, grad_content: Tensor, *_: Tensor):
        to_interface, to_content = backward(ctx.tape, grad_reads, grad_content)
        return to_content, to_interface, None, None


def memory_step(memory: Memory, interface: Tensor, access: Access) -> tuple[Tensor, Memory]:
    """Arguments as in `recurseg.ops.memory.memory_step`."""
    with torch.autocast(interface.device.type, enabled=False):
        if access.addressing == "dnc":
            from recurseg.ops.memory.linked import linked_step

            return linked_step(memory, interface.float(), access)
        reads, *left = _Step.apply(memory.content, interface.float(), memory, access)
    return reads, Memory(*left, writes=memory.writes + 1)
