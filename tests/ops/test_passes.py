"""Recorded passes, on a CPU: what is recorded is run again and written to the same memory, as a CUDA graph does."""

import gc

import pytest
import torch

from recurseg.ops import passes
from recurseg.ops.sweep import pyramid_sweep

from .test_sweep import arguments


@pytest.fixture
def recorded(monkeypatch):
    """All passes are recorded; holds how many were."""
    count = []

    def record(work, pool=None):
        count.append(pool)
        first = work()
        own = flat(first)

        def replay():
            new = [tensor.clone() for tensor in flat(work())]
            for tensor, value in zip(own, new, strict=True):
                tensor.copy_(value)

        for tensor in own:
            tensor.fill_(float("nan"))  # nothing is there before the first replay
        return first, replay, "pool"

    monkeypatch.setattr(passes, "record", record)
    monkeypatch.setattr(passes, "can_record", lambda inputs: True)
    monkeypatch.setattr(passes, "_free", passes.OrderedDict())
    return count


def flat(found):
    if isinstance(found, torch.Tensor):
        return [found]
    return [tensor for part in found or () for tensor in flat(part)]


def step(args):
    """Result and gradients of a sweep."""
    *plain, states = args
    total, finals = pyramid_sweep(*plain, states)
    loss = total.square().sum() + sum((h * 0.3 + c.square()).sum() for h, c in finals)
    return [total.detach(), *torch.autograd.grad(loss, [tensor for tensor in plain if tensor is not None])]


def made(seed, **options):
    torch.manual_seed(seed)
    return arguments((3, 5, 4), bias=2, dtype=torch.float32, **options)


@pytest.mark.parametrize("state", [False, True], ids=["fresh", "state"])
def test_a_replay_is_as_good_as_the_pass(recorded, monkeypatch, state):
    all_args = [made(seed, state=state) for seed in range(3)]
    found = [step(args) for args in all_args]
    assert recorded == [None, "pool"]  # at the second time, the backward pass in the memory of the forward pass
    monkeypatch.setattr(passes, "can_record", lambda inputs: False)
    torch.testing.assert_close(found, [step(args) for args in all_args])


def test_passes_of_one_kind_may_wait_for_their_gradients_together(recorded, monkeypatch):
    all_args = [made(seed) for seed in range(3)]
    step(all_args[0])

    def together():
        totals = [pyramid_sweep(*args)[0] for args in all_args]
        return [torch.autograd.grad(t.square().sum(), a[0])[0] for t, a in zip(totals, all_args, strict=True)]

    found = together()
    assert len(recorded) == 6
    step(all_args[0])
    assert len(recorded) == 6, "what is free again is used again"
    monkeypatch.setattr(passes, "can_record", lambda inputs: False)
    torch.testing.assert_close(found, together())


def test_a_pass_that_never_gets_a_gradient_gives_its_memory_back(recorded):
    args = made(0)
    for _ in range(4):
        total, _ = pyramid_sweep(*args)
        del total
        gc.collect()
    assert len(recorded) == 2


def test_without_gradients_the_forward_pass_alone_is_recorded(recorded):
    args = made(0)
    with torch.no_grad():
        found = [pyramid_sweep(*args)[0] for _ in range(3)]
    assert recorded == [None]
    torch.testing.assert_close(found[2], found[0])


def test_a_second_gradient_from_memory_in_use_again_is_refused(recorded):
    args = made(0)
    step(args)
    loss = pyramid_sweep(*args)[0].square().sum()
    first = torch.autograd.grad(loss, args[0], retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(loss, args[0], retain_graph=True), first)
    step(args)
    with pytest.raises(RuntimeError, match="memory is in use again"):
        torch.autograd.grad(loss, args[0])


def test_other_shapes_other_settings_and_other_needs_are_other_kinds(recorded):
    args = made(0)
    step(args)
    pyramid_sweep(*args, memory="low")
    with torch.no_grad():
        pyramid_sweep(*args)
    pyramid_sweep(args[0][:1], *args[1:])
    assert recorded == []
    assert len(passes._free) == 4


def test_kinds_that_did_not_come_for_long_are_forgotten(recorded, monkeypatch):
    monkeypatch.setattr(passes, "_KINDS", 2)
    args = made(0)
    for planes in (1, 2, 3, 1):
        pyramid_sweep(args[0][:, :, :planes], *args[1:])
    assert recorded == []
    assert len(passes._free) == 2


def test_where_nothing_can_be_recorded_the_passes_run_as_they_are(recorded, monkeypatch):
    def fail(work, pool=None):
        raise torch.OutOfMemoryError("CUDA out of memory.\nmore")

    monkeypatch.setattr(passes, "record", fail)
    args = made(0)
    first = step(args)
    with pytest.warns(UserWarning, match=r"this size runs more slowly: CUDA out of memory\.$"):
        second = step(args)
    torch.testing.assert_close([second, step(args)], [first, first])
