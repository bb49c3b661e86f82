"""The fGRU step: fast against the equations, hand-worked cells, and what its switches must do."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import pytest
import torch

from recurseg.ops.fgru import Rule, Weights, fast, fgru_step, reference

RULES = {
    "fixed": Rule(),
    "thesis": Rule(bias_before_norm=True),
    "thesis with attention": Rule(bias_before_norm=True, attention_is_gate=True),
    "original": Rule(rectify_drive=True, joint_gain=True),
    "hgru": Rule("tanh", normalise=False, rectify_inhibition=False, joint_gain=True, gate_keeps=True),
}
OPS = {"reference": reference.fgru_step, "fast": fast.fgru_step}


def draw(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def weights(
    channels=3, kernel=3, *, affine=True, eta=None, gate_1=True, gamma=True, shared=False, dtype=torch.float32
):
    parts = iter(range(100, 200))

    def some(*shape, scale=0.6):
        return (scale * draw(*shape, seed=next(parts), dtype=dtype)).requires_grad_()

    inhibition = some(channels, channels, kernel, kernel)
    return Weights(
        inhibition,
        inhibition if shared else some(channels, channels, kernel, kernel),
        some(channels, channels, 1, 1) if gate_1 else None,
        some(channels, channels, 1, 1),
        some(channels),
        *(some(channels) for _ in range(5)),
        some(channels) if gamma else None,
        None if eta is None else torch.tensor(eta, dtype=dtype, requires_grad=True),
        some(4, channels) if affine else None,
        some(4, channels) if affine else None,
    )


def outcome(step, rule, w, x, *, start=False, attention=None, steps=2):
    """State after some steps and all gradients; None for what has no influence."""
    given = None if start else draw(*x.shape, seed=7, dtype=x.dtype).requires_grad_()
    state = given
    for _ in range(steps):
        state = step(x, state, w, rule, attention=attention)
    found = {id(t): t for t in [*w, x, given, attention] if t is not None}
    loss = (state * draw(*state.shape, seed=9, dtype=x.dtype)).sum()
    grads = torch.autograd.grad(loss, list(found.values()), allow_unused=True)
    return [state, *(torch.zeros_like(t) if g is None else g for g, t in zip(grads, found.values(), strict=True))]


@pytest.mark.parametrize("start", [False, True], ids=["state", "start"])
@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (1, 3, 1, 1), (3, 3, 1, 2), (2, 3, 9, 7)], ids=str)
@pytest.mark.parametrize("kernel", [1, 3, 7])
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_fast_equals_the_equations_in_states_and_gradients(rule, kernel, shape, start):
    gate_1 = not rule.attention_is_gate
    x = draw(*shape, seed=1).requires_grad_()
    attention = None if gate_1 else draw(*shape, seed=2).requires_grad_()
    w = weights(kernel=kernel, gate_1=gate_1)
    paper, ours = (outcome(step, rule, w, x, start=start, attention=attention) for step in OPS.values())
    for a, b in zip(ours, paper, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize(
    "options",
    [{"affine": False}, {"gamma": False}, {"shared": True}, {"eta": 1.7}, {"gate_1": False}],
    ids=str,
)
@pytest.mark.parametrize(
    "rule", [RULES["fixed"], RULES["original"], RULES["hgru"]], ids=["fixed", "original", "hgru"]
)
def test_fast_equals_the_equations_with_every_optional_weight(rule, options):
    x = draw(2, 3, 6, 5, seed=1).requires_grad_()
    attention = draw(2, 3, 6, 5, seed=2).requires_grad_() if "gate_1" in options else None
    paper, ours = (outcome(step, rule, weights(**options), x, attention=attention) for step in OPS.values())
    for a, b in zip(ours, paper, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("step", OPS.values(), ids=OPS)
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_gradients_are_those_of_small_differences(rule, step):
    rule = replace(rule, nonlinearity="tanh")  # differentiable everywhere
    w = weights(2, 5, gate_1=not rule.attention_is_gate, dtype=torch.float64)
    present = [t for t in w if t is not None]

    def run(x, state, attention, *parts):
        left = iter(parts)
        own = Weights(*(None if t is None else next(left) for t in w))
        return step(x, state, own, rule, attention=attention if w.gate_1 is None else None)

    maps = [draw(1, 2, 3, 2, seed=s, dtype=torch.float64).requires_grad_() for s in range(3)]
    assert torch.autograd.gradcheck(run, [*maps, *present], eps=1e-6, atol=1e-5)


def sigma(z):
    return 1 / (1 + math.exp(-z))


def one(value):
    return torch.tensor([float(value)])


def single(**scalars):
    """Weights of one channel and 1×1 kernels."""
    names = ("inhibition", "excitation", "gate_1", "gate_2")
    return Weights(**{k: one(v).view(1, 1, 1, 1) if k in names else one(v) for k, v in scalars.items()})


CELL = single(
    inhibition=2,
    excitation=-1,
    gate_1=1,
    gate_2=2,
    bias_1=1,
    bias_2=-1,
    alpha=3,
    mu=0.5,
    kappa=2,
    omega=0.25,
    gamma=0.5,
)


@pytest.mark.parametrize("step", OPS.values(), ids=OPS)
def test_a_hand_worked_thesis_step(step):
    """X 9, H2 1; equations 2.5-2.11 with one number in each place, norms off."""
    g1 = sigma(1 * 1 + 1)
    c1 = 2 * (g1 * 1)
    h1 = 9 - c1 * (3 * 1 + 0.5)
    assert h1 > 0
    g2 = sigma(2 * h1 - 1)
    c2 = -1 * h1
    new = 2 * h1 + 0.5 * c2 + 0.25 * h1 * c2
    assert new > 0
    expected = 1 * (1 - g2) + new * g2
    rule = Rule(normalise=False)
    state = step(one(9).view(1, 1, 1, 1), one(1).view(1, 1, 1, 1), CELL, rule)
    torch.testing.assert_close(state.flatten(), one(expected))


@pytest.mark.parametrize("step", OPS.values(), ids=OPS)
def test_a_hand_worked_hgru_step(step):
    """One shared kernel 2, tanh, joint gain, and the second gate keeps: X 0.4, H2 -0.3, η 1.5."""
    h1 = math.tanh(0.4 - (3 * -0.3 + 0.5) * 2 * sigma(-0.3 + 1) * -0.3)
    g2 = sigma(2 * h1 - 1)
    c2 = 0.5 * 2 * h1
    new = math.tanh(2 * (h1 + c2) + 0.25 * h1 * c2)
    expected = 1.5 * (g2 * -0.3 + (1 - g2) * new)
    w = CELL._replace(excitation=CELL.inhibition, eta=torch.tensor(1.5))
    state = step(one(0.4).view(1, 1, 1, 1), one(-0.3).view(1, 1, 1, 1), w, RULES["hgru"])
    torch.testing.assert_close(state.flatten(), one(expected))


@pytest.mark.parametrize("step", OPS.values(), ids=OPS)
def test_a_hand_worked_original_step(step):
    """The drive and the inhibition are rectified before they meet: X -2 is silenced, inhibition cannot excite."""
    w = CELL._replace(gamma=None, inhibition=-CELL.inhibition)
    rule = Rule(normalise=False, rectify_drive=True, joint_gain=True)
    state = step(one(-2).view(1, 1, 1, 1), one(1).view(1, 1, 1, 1), w, rule)
    torch.testing.assert_close(state.flatten(), one(1 - sigma(-1)))  # H1 and H̃ are 0
    h1 = 3.0
    c2 = -h1
    new = max(0.0, 2 * (h1 + c2) + 0.25 * h1 * c2)
    g2 = sigma(2 * h1 - 1)
    state = step(one(3).view(1, 1, 1, 1), one(1).view(1, 1, 1, 1), w, rule)
    torch.testing.assert_close(state.flatten(), one((1 - g2) + g2 * new))


@pytest.mark.parametrize("step", OPS.values(), ids=OPS)
def test_without_its_norm_s_mean_a_gate_bias_before_it_has_no_effect(step):
    x, h = draw(2, 3, 6, 5, seed=1), draw(2, 3, 6, 5, seed=2)
    w = weights()
    moved = w._replace(bias_1=w.bias_1 + 5, bias_2=w.bias_2 - 5)
    before, after = (partial(step, x, h, rule=Rule(bias_before_norm=order)) for order in (True, False))
    torch.testing.assert_close(before(weights=moved), before(weights=w), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(after(weights=moved), after(weights=w), rtol=1e-1, atol=1e-1)


@pytest.mark.parametrize("step", OPS.values(), ids=OPS)
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_no_state_is_a_state_of_zeros(rule, step):
    x = draw(2, 3, 6, 5, seed=1)
    attention = draw(2, 3, 6, 5, seed=2) if rule.attention_is_gate else None
    w = weights(gate_1=not rule.attention_is_gate)
    zeros = step(x, torch.zeros_like(x), w, rule, attention=attention)
    torch.testing.assert_close(step(x, None, w, rule), zeros)


@pytest.mark.parametrize("step", OPS.values(), ids=OPS)
def test_a_map_of_one_position_keeps_what_it_says(step):
    w, h = weights(), draw(1, 3, 1, 1, seed=2)
    low, high = (step(torch.full((1, 3, 1, 1), value), h, w, Rule()) for value in (1.0, 5.0))
    assert (low - high).abs().max() > 0.1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("step", OPS.values(), ids=OPS)
def test_autocast_keeps_the_state_in_float32_and_stays_near(step, dtype):
    x, h, w = draw(2, 3, 8, 7, seed=1).requires_grad_(), draw(2, 3, 8, 7, seed=2), weights(kernel=7)
    exact = step(x, h, w, Rule())
    with torch.autocast("cpu", dtype=dtype):
        low = step(x.to(dtype), h, w, Rule())
    assert low.dtype == torch.float32
    low.sum().backward()
    assert x.grad.isfinite().all()
    torch.testing.assert_close(low, exact, rtol=0.1, atol=0.1)


def test_the_state_given_is_left_as_it_is():
    x, h = draw(1, 3, 4, 4, seed=1), draw(1, 3, 4, 4, seed=2)
    kept = x.clone(), h.clone()
    with torch.no_grad():
        fgru_step(x, h, weights(), Rule())
    assert torch.equal(x, kept[0])
    assert torch.equal(h, kept[1])


def test_a_traced_step_equals_an_eager_one():
    x, h, w = draw(1, 3, 6, 4, seed=1), draw(1, 3, 6, 4, seed=2), weights()
    torch._dynamo.reset()
    step = torch.compile(lambda x, h: fgru_step(x, h, w, Rule()), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(step(x, h), fgru_step(x, h, w, Rule()))
