"""A forward and a backward pass of our own as one operation of autograd, on a GPU recorded and replayed.

A recurrence of many small steps spends its time on a GPU waiting for launches. There, when inputs of one kind come
for the second time, both passes are recorded as CUDA graphs, and from then on cost one launch each. A graph reads and
writes the same memory every time: inputs are copied in, results out, and what the backward pass needs stays where it
is until that pass has run.
"""

from __future__ import annotations

import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Tensors = Sequence[Tensor | None]
Kept = Sequence[Tensor]

_KINDS = 16
"""Kinds of inputs that are remembered; beyond that, those that did not come for the longest time are forgotten."""


class Passes(Protocol):
    """What an operation does; hashable, and equal where the same is done with inputs of equal shape."""

    def forward(self, inputs: Tensors, *, keep: bool) -> tuple[list[Tensor], list[Tensor]]:
        """Returns results, and what `backward` needs beside the inputs, where that is wanted."""
        ...

    def backward(self, inputs: Tensors, kept: Kept, grads: Sequence[Tensor], needed: Sequence[bool]) -> list[Any]:
        """Returns the gradient of each input, from those of the results; any or None where it is not needed."""
        ...


def run_passes(passes: Passes, inputs: Tensors) -> tuple[Tensor, ...]:
    """Returns the results of the forward pass, with gradients.

    Args:
        passes: Both.
        inputs: Of the forward pass; under `no_grad` nothing is kept, though parameters be among them.
    """
    recorded = torch.is_grad_enabled()  # else `ctx.needs_input_grad` is still true of parameters
    return _Operation.apply(passes, *(i if recorded or i is None else i.detach() for i in inputs))


def present(inputs: Tensors) -> list[Tensor]:
    """The inputs, none of which is None."""
    assert all(tensor is not None for tensor in inputs)
    return [tensor for tensor in inputs if tensor is not None]


class _Operation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, passes: Passes, *inputs: Tensor | None):
        ctx.passes, ctx.needed, ctx.lease = passes, tuple(ctx.needs_input_grad[1:]), None
        with torch.cuda.device_of(next(tensor for tensor in inputs if tensor is not None)):
            recording = _recording(passes, inputs, ctx.needed)
            if recording is not None:
                results, ctx.lease = recording.forward(inputs)
                return tuple(results)
        results, kept = passes.forward(inputs, keep=any(ctx.needed))
        if any(ctx.needed):
            ctx.save_for_backward(*inputs, *kept)
        return tuple(results)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor):
        if ctx.lease is not None:
            with torch.cuda.device_of(grads[0]):
                return None, *ctx.lease.backward(grads)
        saved, count = ctx.saved_tensors, len(ctx.needed)
        return None, *ctx.passes.backward(saved[:count], saved[count:], grads, ctx.needed)


def record(work: Callable[[], Any], pool: Any = None) -> tuple[Any, Callable[[], None], Any]:
    """Records work on the current GPU.

    Args:
        work: Is run once for real, so that kernels are compiled and workspaces taken, and once to be recorded.
        pool: Memory to share with an earlier recording, always replayed before.

    Returns:
        What the work returned, which each replay overwrites; the replay; its memory.
    """
    current, stream, graph = torch.cuda.current_stream(), torch.cuda.Stream(), torch.cuda.CUDAGraph()
    stream.wait_stream(current)
    with torch.cuda.stream(stream):
        work()
    current.wait_stream(stream)
    with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
        found = work()
    return found, graph.replay, graph.pool()


class _Recording:
    """Both passes for inputs of one kind; `free` takes it back when nothing needs what the last replay left."""

    def __init__(self, passes: Passes, inputs: Tensors, needed: Sequence[bool], free: list[_Recording]) -> None:
        self._free, self._runs = free, 0
        self._inputs = [None if tensor is None else tensor.detach().clone() for tensor in inputs]
        self._needed = any(needed)
        (self._results, kept), self._replay, pool = record(partial(passes.forward, self._inputs, keep=self._needed))
        if self._needed:
            self._grads = [torch.zeros_like(result) for result in self._results]
            backward = partial(passes.backward, self._inputs, kept, self._grads, needed)
            self._of_inputs, self._replay_backward, _ = record(backward, pool)

    def forward(self, inputs: Tensors) -> tuple[list[Tensor], _Lease | None]:
        _copy(inputs, self._inputs)
        self._replay()
        self._runs += 1
        results = [result.clone() for result in self._results]
        if self._needed:
            return results, _Lease(self, self._runs)
        self.give_back(self._runs)
        return results, None

    def backward(self, run: int, grads: Sequence[Tensor]) -> list[Tensor | None]:
        if run != self._runs:
            raise RuntimeError("the gradient was taken before and its memory is in use again: take it once a pass")
        _copy(grads, self._grads)
        self._replay_backward()
        self.give_back(run)
        return [None if grad is None else grad.clone() for grad in self._of_inputs]

    def give_back(self, run: int) -> None:
        if run == self._runs and not self._free:
            self._free.append(self)


class _Lease:
    """The use of a recording from a forward pass to its backward pass, or until there can be none."""

    def __init__(self, recording: _Recording, run: int) -> None:
        self._recording, self._run = recording, run
        weakref.finalize(self, recording.give_back, run).atexit = False

    def backward(self, grads: Sequence[Tensor]) -> list[Tensor | None]:
        return self._recording.backward(self._run, grads)


_free: OrderedDict[Hashable, list[_Recording] | None] = OrderedDict()
"""Of each kind that came, the recordings that nothing uses; None where it could not be recorded."""


def can_record(inputs: Tensors) -> bool:
    """Whether the inputs are on a GPU that is not recording already."""
    device = next(tensor.device for tensor in inputs if tensor is not None)
    return device.type == "cuda" and not torch.cuda.is_current_stream_capturing()


def _recording(passes: Passes, inputs: Tensors, needed: Sequence[bool]) -> _Recording | None:
    """One that nothing uses; None where nothing is recorded, the first time, and where recording failed."""
    if not can_record(inputs):
        return None
    kind = _kind(passes, inputs, needed)
    if kind not in _free:
        _free[kind] = []
        if len(_free) > _KINDS:
            _free.popitem(last=False)
        return None
    _free.move_to_end(kind)
    free = _free[kind]
    if free is None or free:
        return free.pop() if free else None
    try:
        return _Recording(passes, inputs, needed, free)
    except RuntimeError as error:  # most often there is no memory for a second copy of what is kept
        reason = str(error).partition("\n")[0]
        warnings.warn(f"no CUDA graph could be recorded, so this size runs more slowly: {reason}", stacklevel=2)
        _free[kind] = None
        return None


def _kind(passes: Passes, inputs: Tensors, needed: Sequence[bool]) -> Hashable:
    """All that a recording holds fixed."""
    like = tuple(None if tensor is None else (tensor.shape, tensor.dtype, tensor.device) for tensor in inputs)
    backends = torch.backends
    flags = (
        backends.cudnn.allow_tf32,
        backends.cudnn.deterministic,
        backends.cuda.matmul.allow_tf32,
        torch.are_deterministic_algorithms_enabled(),
    )
    stream = torch.cuda.current_stream().cuda_stream if torch.cuda.is_available() else None
    return passes, like, tuple(needed), flags, stream


def _copy(given: Tensors, own: Tensors) -> None:
    for new, tensor in zip(given, own, strict=True):
        if tensor is not None and new is not None:
            tensor.copy_(new)
