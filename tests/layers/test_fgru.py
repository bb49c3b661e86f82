"""The fGRU layer: what its presets and switches stand for."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from recurseg.layers.fgru import FGRU, HIDDEN_INITS, NORMS, PRESETS
from recurseg.layers.gala import VARIANTS


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def build(channels=4, **options):
    torch.manual_seed(0)
    cell = FGRU(channels, **options)
    for seed, (name, parameter) in enumerate(cell.named_parameters()):
        if parameter.ndim == 1 or name in ("scale", "shift"):
            parameter.data += 0.3 * draw(*parameter.shape, seed=seed)
    return cell


def norm(x, scale=None, shift=None):
    return F.instance_norm(x, weight=scale, bias=shift, eps=1e-3)


def maps(value):
    return value.view(-1, 1, 1)


def same(x, kernel):
    return F.conv2d(x, kernel, padding=kernel.shape[-1] // 2)


def gate_2_and_excited(cell, h1, *, normed, order):
    z, c2 = same(h1, cell.gate_2), same(h1, cell.excitation)
    scales = [(cell.scale[0, i], cell.shift[0, i]) if cell.scale is not None else () for i in range(3)]
    c2 = norm(c2, *scales[1]) if normed else c2
    b2 = maps(cell.bias_2)
    return (norm(z + b2, *scales[2]) if order == "before" else norm(z, *scales[2]) + b2).sigmoid(), c2


def test_thesis_is_its_code_written_out():
    cell, x, h = build(preset="thesis", kernel=3), draw(2, 4, 6, 5), draw(2, 4, 6, 5, seed=1)
    g1 = cell.attention(h)
    c1 = norm(same(h * g1, cell.inhibition))
    h1 = (x - (c1 * (maps(cell.alpha) * h + maps(cell.mu))).relu()).relu()
    g2, c2 = gate_2_and_excited(cell, h1, normed=True, order="before")
    new = (maps(cell.kappa) * h1 + maps(cell.gamma) * c2 + maps(cell.omega) * h1 * c2).relu()
    torch.testing.assert_close(cell(x, h), (1 - g2) * h + g2 * new)


def test_fixed_is_the_thesis_s_with_tf_attention_and_biases_after_affine_norms():
    cell, x, h = build(preset="fixed", kernel=3), draw(2, 4, 6, 5), draw(2, 4, 6, 5, seed=1)
    scale, shift = cell.scale[0], cell.shift[0]
    g1 = (norm(cell.attention(h), scale[3], shift[3]) + maps(cell.bias_1)).sigmoid()
    c1 = norm(same(h * g1, cell.inhibition), scale[0], shift[0])
    h1 = (x - (c1 * (maps(cell.alpha) * h + maps(cell.mu))).relu()).relu()
    g2, c2 = gate_2_and_excited(cell, h1, normed=True, order="after")
    new = (maps(cell.kappa) * h1 + maps(cell.gamma) * c2 + maps(cell.omega) * h1 * c2).relu()
    torch.testing.assert_close(cell(x, h), (1 - g2) * h + g2 * new, rtol=1e-4, atol=1e-5)


def test_original_begins_at_its_drive_and_has_one_gain():
    cell, x = build(preset="original", kernel=3), draw(2, 4, 6, 5)
    h, scale, shift = x, cell.scale[0], cell.shift[0]
    g1 = (norm(cell.attention(h), scale[3], shift[3]) + maps(cell.bias_1)).sigmoid()
    c1 = norm(same(h * g1, cell.inhibition), scale[0], shift[0])
    h1 = (x.relu() - (c1 * (maps(cell.alpha) * h + maps(cell.mu))).relu()).relu()
    g2, c2 = gate_2_and_excited(cell, h1, normed=True, order="after")
    new = (maps(cell.kappa) * (h1 + c2) + maps(cell.omega) * h1 * c2).relu()
    torch.testing.assert_close(cell(x), (1 - g2) * h + g2 * new, rtol=1e-4, atol=1e-5)
    assert cell.gamma is None


def test_hgru_has_one_kernel_tanh_no_norm_a_gate_that_keeps_and_a_weight_a_step():
    cell, x, h = build(preset="hgru", kernel=3, steps=3), draw(2, 4, 6, 5), draw(2, 4, 6, 5, seed=1)
    g1 = (same(h, cell.gate_1) + maps(cell.bias_1)).sigmoid()
    h1 = torch.tanh(x - (maps(cell.alpha) * h + maps(cell.mu)) * same(h * g1, cell.inhibition))
    g2 = (same(h1, cell.gate_2) + maps(cell.bias_2)).sigmoid()
    c2 = maps(cell.gamma) * same(h1, cell.inhibition)
    new = torch.tanh(maps(cell.kappa) * (h1 + c2) + maps(cell.omega) * h1 * c2)
    for step, eta in ((0, cell.eta[0]), (2, cell.eta[2]), (7, cell.eta[2])):
        torch.testing.assert_close(cell(x, h, step=step), eta * (g2 * h + (1 - g2) * new), rtol=1e-4, atol=1e-5)
    assert cell.excitation is None


@pytest.mark.parametrize(
    ("options", "scalars"),
    [
        ({"preset": "fixed"}, [0.1, 1.0, 0.5, 0.5, 1.0]),
        ({"preset": "thesis"}, [0.1, 1.0, 0.5, 0.5, 1.0]),
        ({"preset": "original"}, [0.1, 0.0, 0.1, 0.1]),
    ],
    ids=str,
)
def test_scalars_begin_where_the_codes_begin_them(options, scalars):
    found = dict(FGRU(4, **options).named_parameters())
    names = [name for name in ("alpha", "mu", "kappa", "omega", "gamma") if name in found]
    assert [found[name].tolist() for name in names] == [pytest.approx([value] * 4) for value in scalars]


def test_norms_begin_at_a_tenth():
    cell = FGRU(4)
    assert cell.scale.unique().tolist() == pytest.approx([0.1])
    assert cell.shift.abs().sum() == 0


@pytest.mark.parametrize(("preset", "sign"), [("fixed", -1), ("original", 1), ("hgru", 1)])
def test_chronos_makes_memory_slow_but_in_the_original(preset, sign):
    """b1 = -log U(1, T - 1); b2 = -b1 where the gate keeps; turned in "fixed", whose gate takes."""
    cell = FGRU(500, kernel=1, preset=preset, steps=9, attention="off")
    u = (-cell.bias_1.detach()).exp()
    assert 1 <= u.min() < 1.3
    assert 7.7 < u.max() <= 8.001
    torch.testing.assert_close(cell.bias_2.detach(), sign * u.log())


def test_two_steps_leave_no_memory_to_expect():
    assert FGRU(5).bias_2.abs().sum() == 0


def test_thesis_forgot_the_logarithm():
    drawn = FGRU(500, kernel=1, preset="thesis").bias_2.detach()
    assert 1 <= drawn.min() < 1.3
    assert 6.7 < drawn.max() <= 7


def test_kernels_begin_orthogonal():
    cell = FGRU(6, kernel=5, attention="off")
    for kernel in (cell.inhibition, cell.excitation, cell.gate_1, cell.gate_2):
        rows = kernel.detach().flatten(1)
        torch.testing.assert_close(rows @ rows.T, torch.eye(6), atol=1e-5, rtol=0)


def test_symmetric_kernels_stay_symmetric_while_they_learn():
    cell, x = build(symmetric=True, kernel=3), draw(1, 4, 6, 5)
    optimizer = torch.optim.SGD(cell.parameters(), lr=1e-3)
    for _ in range(2):
        cell(x, cell(x)).square().sum().backward()
        optimizer.step()
    for kernel in cell.weights()[:2]:
        assert torch.equal(kernel, kernel.transpose(0, 1))
    assert not torch.equal(cell.inhibition, cell.inhibition.transpose(0, 1))


def test_divisive_alpha_is_between_0_and_1():
    cell = build(divisive_alpha=True)
    cell.alpha.data[:] = torch.tensor([-3.0, 0.0, 1.0, 9.0])
    torch.testing.assert_close(cell.weights().alpha, torch.tensor([1 / (1 + math.exp(-a)) for a in (-3, 0, 1, 9)]))


def test_per_step_norms_are_one_set_a_step_and_the_last_from_then_on():
    cell, x, h = build(norm="per_step", steps=2), draw(1, 4, 6, 5), draw(1, 4, 6, 5, seed=1)
    first, second, third = (cell(x, h, step=step) for step in range(3))
    assert not torch.allclose(first, second)
    assert torch.equal(second, third)
    assert cell.scale.shape == (2, 4, 4)


@pytest.mark.parametrize("per_step_eta", [True, False])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("attention", [*VARIANTS, "off"])
@pytest.mark.parametrize("preset", PRESETS)
def test_every_combination_trains_every_weight_at_one_position_and_more(preset, attention, norm, per_step_eta):
    cell = build(preset=preset, attention=attention, norm=norm, per_step_eta=per_step_eta).train()
    for size in ((1, 1), (5, 4)):
        cell.zero_grad()
        x, state = draw(2, 4, *size), None
        for step in range(2):
            state = cell(x, state, step=step)
        assert state.isfinite().all()
        state.square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in cell.parameters())


def test_one_position_still_says_what_it_sees():
    cell, h = build(), draw(1, 4, 1, 1)
    assert not torch.allclose(cell(torch.ones(1, 4, 1, 1), h), cell(2 * torch.ones(1, 4, 1, 1), h))


@pytest.mark.parametrize("hidden_init", HIDDEN_INITS)
def test_eval_is_deterministic_and_a_batch_is_its_elements(hidden_init):
    cell, x = build(hidden_init=hidden_init).eval(), draw(3, 4, 6, 5)
    state = cell(x)
    assert torch.equal(state, cell(x))
    torch.testing.assert_close(state, torch.cat([cell(one) for one in x.split(1)]))


def test_random_first_states_differ_from_one_training_pass_to_the_next():
    cell, x = build(hidden_init="random").train(), draw(1, 4, 6, 5)
    assert not torch.equal(cell(x), cell(x))
    torch.manual_seed(3)
    first = cell(x)
    torch.manual_seed(3)
    assert torch.equal(first, cell(x))


def test_hidden_init_is_the_state_before_the_first_step():
    x = draw(2, 4, 6, 5)
    torch.testing.assert_close(build(hidden_init="zeros")(x), build()(x, torch.zeros_like(x)))
    torch.testing.assert_close(build(hidden_init="identity")(x), build()(x, x))


def test_cutting_the_horizontal_kernels_changes_the_state():
    cell, x, h = build(kernel=5), draw(1, 4, 9, 9), draw(1, 4, 9, 9, seed=1)
    whole = cell(x, h)
    for kernel in (cell.inhibition, cell.excitation):
        kept = kernel.data.clone()
        kernel.data.zero_()
        assert not torch.allclose(cell(x, h), whole, atol=1e-3)
        kernel.data.copy_(kept)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("preset", PRESETS)
def test_state_is_float32_and_finite_under_autocast(preset, dtype):
    cell, x = build(preset=preset, kernel=7), draw(2, 4, 9, 8)
    with torch.autocast("cpu", dtype=dtype):
        state = cell(x.to(dtype), cell(x.to(dtype)))
    assert state.dtype == torch.float32
    assert state.isfinite().all()
