"""The memory step as the papers' equations (SHAMANN section 3.3.2; Graves et al. 2016, Methods, for "dnc")."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recurseg.ops.memory import Access, Links, Memory

EPSILON = 1e-6


def memory_step(memory: Memory, interface: Tensor, access: Access) -> tuple[Tensor, Memory]:
    """Arguments as in `recurseg.ops.memory.memory_step`."""
    reads, after, _, _ = weighted_step(memory, interface, access)
    return reads, after


def weighted_step(memory: Memory, interface: Tensor, access: Access) -> tuple[Tensor, Memory, Tensor, Tensor]:
    """`memory_step`, and the write weights `(B, N)` and read weights `(B, R, N)` of it."""
    with torch.autocast(interface.device.type, enabled=False):
        lengths = list(access.parts.values())
        parts = dict(zip(access.parts, interface.float().split(lengths, dim=1), strict=True))
        step = _linked_step if access.addressing == "dnc" else _least_used_step
        return step(memory, parts, access)


def _least_used_step(memory: Memory, parts: dict[str, Tensor], access: Access):
    alpha = parts["content_gate"].sigmoid()
    slot = torch.where(memory.written > 0, memory.written, memory.usage).argmin(dim=1)  # usage < 1 ≤ written
    least_used = F.one_hot(slot, memory.usage.shape[1])
    write = alpha * _content_weights(memory.content, parts, access)[:, -1] + (1 - alpha) * least_used
    content = _written(memory.content, write, parts)
    read = _content_weights(content, parts, access)[:, :-1]
    usage = memory.usage + (1 - memory.usage) * write.detach()
    return read @ content, Memory(content, usage, *_count(memory, write)), write, read


def _linked_step(memory: Memory, parts: dict[str, Tensor], access: Access):
    links, slots = memory.links, memory.content.shape[1]
    assert links is not None
    free = parts["free_gates"].sigmoid().unsqueeze(2)  # (B, R, 1)
    retention = (1 - free * links.read).prod(dim=1)
    last = links.write.detach()
    usage = (memory.usage + last - memory.usage * last) * retention
    order = usage.detach().argsort(dim=1)
    rising = usage.gather(1, order)
    before = torch.cat([torch.ones_like(rising[:, :1]), rising.cumprod(dim=1)[:, :-1]], dim=1)
    allocation = torch.zeros_like(usage).scatter(1, order, (1 - rising) * before)
    gate = parts["allocation_gate"].sigmoid()
    by_content = _content_weights(memory.content, parts, access)[:, -1]
    write = parts["write_gate"].sigmoid() * (gate * allocation + (1 - gate) * by_content)
    content = _written(memory.content, write, parts)

    into, out_of = write.unsqueeze(2), write.unsqueeze(1)
    diagonal = torch.eye(slots, device=write.device)
    successors = ((1 - into - out_of) * links.order + into * links.precedence.unsqueeze(1)) * (1 - diagonal)
    precedence = (1 - write.sum(dim=1, keepdim=True)) * links.precedence + write
    modes = parts["read_modes"].unflatten(1, (access.heads, 3)).softmax(dim=2)
    by_content = _content_weights(content, parts, access)[:, :-1]
    directions = [links.read @ successors, by_content, links.read @ successors.mT]
    read = sum(modes[:, :, mode, None] * weights for mode, weights in enumerate(directions))
    assert isinstance(read, Tensor)
    after = Memory(content, usage, *_count(memory, write), Links(successors, precedence, write, read))
    return read @ content, after, write, read


def _count(memory: Memory, write: Tensor) -> tuple[Tensor, int]:
    """Which slots were last written when, after one more write."""
    target = F.one_hot(write.argmax(dim=1), write.shape[1]).bool()
    return torch.where(target, memory.writes + 1, memory.written), memory.writes + 1


def _written(content: Tensor, write: Tensor, parts: dict[str, Tensor]) -> Tensor:
    weight = write.unsqueeze(2)
    erase, add = parts["erase"].sigmoid().unsqueeze(1), parts["add"].unsqueeze(1)
    return content * (1 - weight * erase) + weight * add


def _content_weights(content: Tensor, parts: dict[str, Tensor], access: Access) -> Tensor:
    """Softmax over slots of key strength times cosine, `(B, R + 1, N)`: those of the reads and that of the write."""
    keys = parts["keys"].unflatten(1, (access.heads + 1, access.word))
    cosine = _normed(keys) @ _normed(content).mT
    if "strengths" in parts:
        cosine = (1 + F.softplus(parts["strengths"])).unsqueeze(2) * cosine
    return cosine.softmax(dim=2)


def _normed(vectors: Tensor) -> Tensor:
    return vectors / (vectors.square().sum(dim=2, keepdim=True) + EPSILON).sqrt()
