import itertools
import math

import pytest
import torch

from recurseg.ops.md_lstm import fast, reference, sequential_steps
from recurseg.ops.md_lstm.diagonals import diagonals


def arguments(spatial, *, channels=3, width=2, batch=2, dtype=torch.float64, scale=0.5):
    generator = torch.Generator().manual_seed(0)
    d = len(spatial)
    shapes = (
        (batch, channels, *spatial),
        (2**d, (d + 3) * width, channels),
        (2**d, d, (d + 3) * width, width),
        (2**d, (d + 3) * width),
    )
    return [(torch.randn(*s, dtype=dtype, generator=generator) * scale).requires_grad_() for s in shapes]


def only(direction, args):
    """The arguments with every other direction silent: its output gate's bias closed."""
    x, wx, wh, b = (a.detach().clone() for a in args)
    width = wh.shape[-1]
    for n in range(len(b)):
        if n != direction:
            for part in (wx, wh, b):
                part[n] = 0
            b[n, -2 * width : -width] = -1e4
    return x, wx, wh, b


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("batch", [1, 3], ids=["one", "batch"])
@pytest.mark.parametrize("spatial", [(5, 4), (1, 7), (1, 1), (3, 5, 4), (1, 1, 1), (2, 1, 6)], ids=str)
def test_fast_equals_the_equations_in_output_and_gradients(spatial, batch, dtype):
    args = arguments(spatial, batch=batch, dtype=dtype)
    outputs = []
    for op in (reference, fast):
        total = op.md_lstm(*args)
        loss = (total.square() + total).sum()
        gradients = torch.autograd.grad(loss, args, allow_unused=True, materialize_grads=True)
        outputs.append([total, *gradients])
    close = {"rtol": 1e-4, "atol": 2e-5} if dtype == torch.float32 else {"rtol": 1e-10, "atol": 1e-12}
    torch.testing.assert_close(outputs[1], outputs[0], **close)


def test_one_voxel_worked_by_hand():
    """Scalar weights 1, bias 0: all gates σ(x), cell input tanh(x); four directions that see the same voxel."""
    x = torch.tensor([[[[0.5]]]])
    hidden = fast.md_lstm(x, torch.ones(4, 5, 1), torch.ones(4, 2, 5, 1), torch.zeros(4, 5))
    expected = 4 * sigmoid(0.5) * math.tanh(sigmoid(0.5) * math.tanh(0.5))
    torch.testing.assert_close(hidden, torch.full((1, 1, 1, 1), expected))


def test_two_voxels_worked_by_hand():
    """In a row of two voxels the second hears the first through the last axis alone."""
    first, second, weight, bias_f = 0.5, -1.0, 2.0, 0.3
    wh = torch.zeros(4, 2, 5, 1)
    wh[0, 1] = weight  # along the last axis
    wh[0, 0] = 100.0  # along the first, where there is no neighbour
    wx, bias = torch.zeros(4, 5, 1), torch.zeros(4, 5)
    wx[0], bias[1:, 3], bias[0, 2] = 1.0, -1e4, bias_f  # only direction 0 speaks
    hidden = fast.md_lstm(torch.tensor([[[[first, second]]]]), wx, wh, bias)
    c1 = sigmoid(first) * math.tanh(first)
    h1 = sigmoid(first) * math.tanh(c1)
    z = second + weight * h1
    c2 = sigmoid(z) * math.tanh(z) + sigmoid(z + bias_f) * c1
    h2 = sigmoid(z) * math.tanh(c2)
    torch.testing.assert_close(hidden.flatten(), torch.tensor([h1, h2]))


@pytest.mark.parametrize("spatial", [(5, 5), (3, 4, 5)], ids=str)
def test_a_direction_sees_the_orthant_behind_it_and_nothing_else(spatial):
    voxel = tuple(size // 2 for size in spatial)
    for n, backward in enumerate(itertools.product((False, True), repeat=len(spatial))):
        x, *weights = only(n, arguments(spatial, batch=1))
        x.requires_grad_()
        fast.md_lstm(x, *weights)[(0, slice(None), *voxel)].sum().backward()
        seen = torch.zeros(spatial, dtype=torch.bool)
        seen[tuple(slice(p, None) if b else slice(p + 1) for p, b in zip(voxel, backward, strict=True))] = True
        assert torch.equal((x.grad != 0).any(1)[0], seen)


def test_cells_that_grow_without_bound_stay_finite():
    """All forget gates open: without a limit the cells would double at every step."""
    args = arguments((40, 40), width=1, batch=1, dtype=torch.float32)
    with torch.no_grad():
        args[3][:, :3] += 20
    total = fast.md_lstm(*args)
    total.sum().backward()
    assert total.isfinite().all()
    assert all(a.grad.isfinite().all() for a in args)
    torch.testing.assert_close(total, reference.md_lstm(*args))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_changes_nothing(dtype):
    args = arguments((3, 4, 2), dtype=torch.float32)
    exact = fast.md_lstm(*args)
    with torch.autocast("cpu", dtype=dtype):
        torch.testing.assert_close(fast.md_lstm(*args), exact)


@pytest.mark.parametrize("spatial", [(1, 1), (4, 7), (2, 3, 5)], ids=str)
def test_the_steps_that_wait_for_each_other_are_the_diagonals(spatial):
    assert sequential_steps(spatial) == len(diagonals(spatial, 2, torch.device("cpu")).sizes)
