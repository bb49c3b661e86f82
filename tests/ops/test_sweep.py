import itertools
import math

import pytest
import torch

from recurseg.ops.sweep import fast, reference, scan

torch.manual_seed(0)


def arguments(spatial, *, channels=3, width=2, kernel=3, batch=2, bias=1, state=False, dtype=torch.float64):
    n, d = 2 * len(spatial), len(spatial)
    k = (kernel,) * (d - 1)

    def make(*shape):
        return (torch.randn(*shape, dtype=dtype) * 0.5).requires_grad_()

    x = make(batch, channels, *spatial)
    weights = make(n, 4 * width, channels, *k), make(n, 4 * width, width, *k)
    biases = [make(n, 4 * width) if bias > j else None for j in range(2)]
    states = None
    if state:
        planes = [[s for a, s in enumerate(spatial) if a != direction // 2] for direction in range(n)]
        states = [(make(batch, width, *p), make(batch, width, *p)) for p in planes]
    return x, *weights, *biases, states


def tensors(args):
    *plain, states = args
    return [t for t in plain if t is not None] + [t for pair in states or () for t in pair]


@pytest.fixture(params=[1, 2], ids=["one_thread", "two_threads"])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("state", [False, True], ids=["fresh", "state"])
@pytest.mark.parametrize("bias", [0, 1, 2], ids=["no_bias", "one_bias", "two_biases"])
@pytest.mark.parametrize("spatial", [(5, 4), (1, 7), (3, 5, 4), (1, 1, 1), (2, 1, 6)], ids=str)
def test_fast_equals_the_paper_s_equations_in_outputs_states_and_gradients(spatial, bias, state):
    check(arguments(spatial, bias=bias, state=state, dtype=torch.float32))


@pytest.mark.parametrize("at_once", [1, 10**9], ids=["plane_by_plane", "whole"])
@pytest.mark.parametrize("small_plane", [0, 10**9], ids=["apart", "in_step"])
@pytest.mark.parametrize("memory", ["full", "low"])
@pytest.mark.parametrize("channels", [3, 9], ids=["few_channels", "many_channels"])
@pytest.mark.parametrize("state", [False, True], ids=["fresh", "state"])
@pytest.mark.usefixtures("threads")
def test_blocks_pairs_and_recomputed_gates_change_nothing(monkeypatch, at_once, small_plane, memory, channels, state):
    monkeypatch.setitem(scan._AT_ONCE, "cpu", at_once)
    monkeypatch.setattr(fast, "_SMALL_PLANE", small_plane)
    check(arguments((3, 5, 4), channels=channels, bias=2, state=state, dtype=torch.float32), memory=memory)


def test_low_memory_keeps_a_third_of_what_the_gates_take():
    def kept(memory):
        x, *weights, bx, bh, _ = arguments((4, 16, 16), width=8, bias=2, dtype=torch.float32)
        total, _ = fast.pyramid_sweep(x, *weights, bx, bh, memory=memory)
        return sum(tensor.nbytes for tensor in total.grad_fn.saved_tensors)

    assert kept("low") < 0.4 * kept("full")


def test_one_direction_keeps_the_result_and_the_cells_and_no_third_volume():
    x, *parameters, _ = arguments((7, 16, 16), width=8, bias=2, dtype=torch.float32)
    total, _ = fast.pyramid_sweep(x, *(parameter[:1] for parameter in parameters), memory="low")
    volumes = [tensor for tensor in total.grad_fn.saved_tensors if tensor.numel() == total.numel()]
    assert len(volumes) == 2


@pytest.mark.parametrize("spatial", [(2, 3, 3), (3, 2, 5), (1, 1, 2)], ids=str)
def test_planes_may_be_narrower_than_the_kernel(spatial):
    check(arguments(spatial, channels=9, width=3, kernel=7, dtype=torch.float32))


@pytest.mark.parametrize("without", [torch.no_grad, torch.inference_mode])
def test_nothing_is_kept_without_gradients(monkeypatch, without):
    seen = []
    monkeypatch.setattr(
        fast, "scan_forward", lambda *args, **kept: seen.append(kept) or scan.scan_forward(*args, **kept)
    )
    with without():
        fast.pyramid_sweep(*arguments((3, 5, 4), dtype=torch.float32))
    assert seen
    assert not any(wanted for kept in seen for wanted in kept.values())


@pytest.mark.parametrize("memory", ["full", "low"])
@pytest.mark.parametrize("state", [False, True], ids=["fresh", "state"])
@pytest.mark.parametrize("at_once", [1, 10**9], ids=["plane_by_plane", "whole"])
@pytest.mark.parametrize("spatial", [(5, 4), (5, 3, 4)], ids=str)
def test_one_direction_keeps_its_result_for_hidden_states(monkeypatch, spatial, at_once, state, memory):
    monkeypatch.setitem(scan._AT_ONCE, "cpu", at_once)
    x, *parameters, states = arguments(spatial, bias=2, state=state, dtype=torch.float32)
    one = [x, *(parameter[:1] for parameter in parameters), states and states[:1]]
    check(one, memory=memory)


def check(args, **options):
    outputs = []
    for op in (reference, fast):
        total, finals = op.pyramid_sweep(*args, **(options if op is fast else {}))
        loss = total.square().sum() + sum((h * 0.3 + c.square()).sum() for h, c in finals)
        gradients = torch.autograd.grad(loss, tensors(args), allow_unused=True)
        outputs.append([total, *itertools.chain(*finals), *gradients])
    for ours, paper in zip(outputs[1], outputs[0], strict=True):
        expected = torch.zeros_like(ours) if paper is None else paper
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=2e-5)


def test_one_plane_has_no_recurrent_term():
    x, wx, wh, bx, bh, _ = arguments((1, 5, 5), bias=2, dtype=torch.float32)
    forward_only = [w[:1].detach() for w in (wx, wh, bx, bh)]
    without = reference.pyramid_sweep(x, forward_only[0], forward_only[1], forward_only[2])[0]
    torch.testing.assert_close(fast.pyramid_sweep(x, *forward_only)[0], without)


def test_a_hand_worked_step():
    """One pixel, scalar weights: i = f = o = σ(x), g = tanh(x); second plane adds h."""
    x = torch.tensor([0.5, -1.0]).view(1, 1, 2, 1)
    one = torch.ones(1, 4, 1, 1)
    hidden, _ = fast.pyramid_sweep(x, one, one)

    def s(v):
        return 1 / (1 + math.exp(-v))

    c1 = s(0.5) * math.tanh(0.5)
    h1 = s(0.5) * math.tanh(c1)
    z = -1.0 + h1
    c2 = s(z) * math.tanh(z) + c1 * s(z)
    h2 = s(z) * math.tanh(c2)
    torch.testing.assert_close(hidden.flatten(), torch.tensor([h1, h2]))


@pytest.mark.parametrize("cut", [1, 3], ids=str)
def test_a_sweep_in_two_chunks_equals_the_whole(cut):
    x, wx, wh, bx, bh, _ = arguments((5, 4, 3), bias=2, dtype=torch.float32)
    one = [w[:1].detach() for w in (wx, wh, bx, bh)]
    whole, _ = fast.pyramid_sweep(x, *one)
    first, state = fast.pyramid_sweep(x[:, :, :cut], *one)
    second, _ = fast.pyramid_sweep(x[:, :, cut:], *one, state)
    torch.testing.assert_close(torch.cat([first, second], 2), whole)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_keeps_states_in_float32_and_stays_near(dtype):
    args = arguments((3, 6, 5), dtype=torch.float32)
    exact, _ = fast.pyramid_sweep(*args)
    with torch.autocast("cpu", dtype=dtype):
        low, states = fast.pyramid_sweep(*args)
    assert states[0][1].dtype == torch.float32
    low.float().sum().backward()
    assert args[0].grad.isfinite().all()
    torch.testing.assert_close(low.float(), exact, rtol=0.1, atol=0.1)


def test_threads_leave_the_caller_s_settings_alone():
    before = torch.get_num_threads()
    with torch.no_grad():
        out, _ = fast.pyramid_sweep(*arguments((4, 4, 4), dtype=torch.float32))
    assert not out.requires_grad
    assert torch.get_num_threads() == before
