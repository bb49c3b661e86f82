"""The kernels of a GPU, run number by number by Triton's interpreter, against the steps of a CPU."""

import importlib
import os

import pytest
import torch

from recurseg.ops.parallel import one_thread
from recurseg.ops.sweep import fast, reference, scan, steps

from .test_sweep import arguments, check

os.environ["TRITON_INTERPRET"] = "1"  # Triton reads it when it is first imported, which is after collection


@pytest.fixture
def kernels():
    pytest.importorskip("triton", reason="Triton is not installed: it comes with PyTorch for CUDA")
    with one_thread():  # the interpreter knows no other
        yield importlib.import_module("recurseg.ops.sweep.triton")


@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_step_forward(kernels, first, dtype):
    shape = 2, 2, 3, 5, 7
    gates, cell, recurrent = torch.randn(1, 2, 2, 12, 5, 7), torch.randn(shape), torch.randn(2, 2, 12, 5, 7).to(dtype)
    found = []
    for module in (steps, kernels):
        own, hidden, new = gates.clone(), torch.zeros(1, *shape), torch.zeros(shape)
        given = (None, None) if first else (recurrent, cell)
        assert module.Forward(own, hidden).step(0, *given, new).data_ptr() == hidden.data_ptr()
        found.append((own, hidden, new))
    torch.testing.assert_close(found[1], found[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_step_backward(kernels, dtype):
    shape = 2, 2, 2, 3, 5, 7
    gates, cells, before, grad = torch.rand(2, 2, 2, 12, 5, 7), *(torch.randn(shape) for _ in range(3))
    found = []
    for module in (steps, kernels):
        block = module.Backward(gates, cells, before, grad, dtype)
        dh, dc = torch.ones(shape[1:]), torch.full(shape[1:], 2.0)
        dc = block.step(1, dh, dc)
        dc = block.step(0, torch.ones(shape[1:]), dc)
        found.append((block.of_gates.to(dtype), dc))
    torch.testing.assert_close(found[1], found[0])


@pytest.mark.parametrize("state", [False, True], ids=["fresh", "state"])
@pytest.mark.parametrize("memory", ["full", "low"])
def test_a_sweep(kernels, monkeypatch, state, memory):
    monkeypatch.setattr(scan, "steps_on", lambda device: kernels)
    check(arguments((3, 5, 4), bias=2, state=state, dtype=torch.float32), memory=memory)


def test_bfloat16_convolutions_keep_cells_in_float32(kernels, monkeypatch):
    monkeypatch.setattr(scan, "steps_on", lambda device: kernels)
    args = arguments((3, 6, 5), dtype=torch.float32)
    exact, _ = reference.pyramid_sweep(*args)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low, states = fast.pyramid_sweep(*args)
    assert states[0][1].dtype == torch.float32
    low.float().sum().backward()
    assert args[0].grad.isfinite().all()
    torch.testing.assert_close(low.float(), exact, rtol=0.1, atol=0.1)
