"""Slice attention: fast against the paper's equations, hand-worked slices, padding, large sums."""

from __future__ import annotations

import math

import pytest
import torch

from recurseg.ops.slice_attention import fast, reference, slice_attention

OPS = {"reference": reference.slice_attention, "fast": fast.slice_attention}


def draw(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def arguments(spatial, *, channels=3, batch=2, dtype=torch.float32, size=0.4):
    tensors = [
        draw(batch, channels, *spatial, seed=1, dtype=dtype),
        size * draw(3, channels, channels, seed=2, dtype=dtype),
        size * draw(3, channels, seed=3, dtype=dtype),
        draw(len(spatial), seed=4, dtype=dtype),
    ]
    return [tensor.requires_grad_() for tensor in tensors], tuple(reversed(range(len(spatial))))


def box(spatial, real):
    """What is no padding where the end of each axis is padded."""
    mask = torch.zeros(1, 1, *spatial, dtype=torch.bool)
    mask[(..., *(slice(end) for end in real))] = True
    return mask


def ragged(spatial):
    """Padding anywhere, another for each of two images, the first slice of the last axis empty in one."""
    mask = draw(2, 1, *spatial, seed=5) > -0.5
    mask[0, ..., 0] = False
    return mask


MASKS = {
    "no padding": lambda spatial: None,
    "padded ends": lambda spatial: box(spatial, [max(1, size - 2) for size in spatial]),
    "padding anywhere": ragged,
}


def outcome(op, tensors, axes, **options):
    """x afterwards, attention and all gradients, attention's own among them."""
    x, attentions = op(*tensors, axes, **options)
    loss = (x * draw(*x.shape, seed=9, dtype=x.dtype)).sum()
    for attention in attentions:
        loss = loss + (attention * draw(*attention.shape, seed=8, dtype=attention.dtype)).sum()
    return [x, *attentions, *torch.autograd.grad(loss, tensors)]


@pytest.mark.parametrize("scaled", [False, True], ids=["as printed", "scaled"])
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("spatial", [(5, 4), (1, 7), (3, 5, 4), (1, 1, 1), (2, 1, 6), (7, 6, 5)], ids=str)
def test_fast_equals_the_paper_s_equations_in_outputs_attention_and_gradients(spatial, mask, scaled):
    tensors, axes = arguments(spatial, dtype=torch.float64)
    options = {"mask": mask(spatial), "scaled": scaled}
    paper, ours = (outcome(op, tensors, axes, **options) for op in OPS.values())
    for a, b in zip(ours, paper, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (1, 2, 0), (0, 0)], ids=str)
def test_fast_equals_the_equations_in_any_order_of_axes_and_in_float32(axes):
    (x, weight, bias, alpha), _ = arguments((4, 6, 5), size=0.2)
    tensors = [x, weight, bias, alpha[: len(axes)]]
    paper, ours = (outcome(op, tensors, axes) for op in OPS.values())
    for a, b in zip(ours, paper, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_sums_in_pieces_are_the_sums(monkeypatch):
    tensors, axes = arguments((5, 6, 7), dtype=torch.float64)
    whole = outcome(fast.slice_attention, tensors, axes)
    monkeypatch.setattr(fast, "AT_ONCE", 200)
    for a, b in zip(outcome(fast.slice_attention, tensors, axes), whole, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_gradients_are_those_of_small_differences(op, mask):
    tensors, axes = arguments((2, 3), channels=2, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda *given: sum(outcome_parts(op(*given, axes, mask=mask((2, 3)), scaled=True))), tensors
    )


def outcome_parts(found):
    x, attentions = found
    return [x.sin().sum(), *(attention.sin().sum() for attention in attentions)]


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_hand_worked_slices(op):
    """Two rows of one voxel, θ = 2x + 1, φ = x, g = 3x - 1, α 1/2."""
    x = torch.tensor([1.0, -1.0]).view(1, 1, 2, 1)
    weight, bias = torch.tensor([2.0, 1.0, 3.0]).view(3, 1, 1), torch.tensor([1.0, 0.0, -1.0]).view(3, 1)
    out, (attention,) = op(x, weight, bias, torch.tensor([0.5]), (0,))
    first = math.exp(3) / (math.exp(3) + math.exp(-3))  # θ 3 meets φ 1 and -1
    second = math.exp(-1) / (math.exp(-1) + math.exp(1))  # θ -1
    torch.testing.assert_close(attention[0], torch.tensor([[first, 1 - first], [second, 1 - second]]))
    expected = [1 + 0.5 * (2 * first - 4 * (1 - first)), -1 + 0.5 * (2 * second - 4 * (1 - second))]
    torch.testing.assert_close(out.flatten(), torch.tensor(expected))


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_scaled_sums_are_over_the_root_of_their_length(op):
    (x, weight, bias, alpha), _ = arguments((4, 5, 6))
    _, (plain,) = op(x, weight, bias, alpha[:1], (1,))
    _, (scaled,) = op(x, weight, bias, alpha[:1], (1,), scaled=True)
    ratio = [log - log[..., :1] for log in (plain.double().log(), scaled.double().log())]
    torch.testing.assert_close(ratio[0], ratio[1] * (3 * 4 * 6) ** 0.5, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_rows_of_attention_sum_to_one(op):
    tensors, axes = arguments((4, 5, 6))
    for attention, size in zip(op(*tensors, axes)[1], (6, 5, 4), strict=True):
        assert attention.shape == (2, size, size)
        torch.testing.assert_close(attention.sum(2), torch.ones(2, size))


@pytest.mark.parametrize("scaled", [False, True], ids=["as printed", "scaled"])
@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_padding_is_as_good_as_absent(op, scaled):
    (x, *rest), axes = arguments((4, 5, 6), size=0.2)
    mask = box((4, 5, 6), (3, 5, 4))
    padded, attentions = op(x, *rest, axes, mask=mask, scaled=scaled)
    cropped, alone = op(x[:, :, :3, :, :4], *rest, axes, scaled=scaled)
    torch.testing.assert_close(padded[:, :, :3, :, :4], cropped, rtol=1e-4, atol=1e-4)
    assert torch.equal(padded[~mask.expand_as(x)], x[~mask.expand_as(x)])
    for whole, part in zip(attentions, alone, strict=True):
        size = part.shape[1]
        torch.testing.assert_close(whole[:, :size, :size], part, rtol=1e-4, atol=1e-4)
        assert whole[:, size:].abs().sum() == whole[:, :, size:].abs().sum() == 0


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_an_image_that_is_all_padding_stays_as_it_is(op):
    tensors, axes = arguments((3, 4))
    mask = torch.tensor([True, False]).view(2, 1, 1, 1).expand(2, 1, 3, 4)
    out, *_ = found = outcome(op, tensors, axes, mask=mask)
    assert torch.equal(out[1], tensors[0][1])
    assert all(part.isfinite().all() for part in found)


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_slices_that_are_alike_share_their_attention(op):
    x = draw(1, 3, 1, 5, seed=1).expand(1, 3, 4, 5)
    tensors, _ = arguments((4, 5))
    _, (attention,) = op(x, *tensors[1:3], torch.ones(1), (0,))
    torch.testing.assert_close(attention, torch.full((1, 4, 4), 0.25))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_sums_beyond_the_range_of_fp16_stay_finite(op, dtype):
    x = (20 + draw(1, 8, 4, 40, 40, seed=1)).requires_grad_()
    weight = torch.eye(8).expand(3, 8, 8)
    assert x[:, :, 0].square().sum() > torch.finfo(torch.float16).max
    with torch.autocast("cpu", dtype=dtype):
        out, attentions = op(x.to(dtype), weight, torch.zeros(3, 8), 0.01 * torch.ones(3), (2, 1, 0))
    assert out.dtype == dtype
    out.float().sum().backward()
    for found in (out, x.grad, *attentions):
        assert found.isfinite().all()
    assert {attention.dtype for attention in attentions} == {torch.float32}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_stays_near(dtype):
    (x, weight, bias, alpha), axes = arguments((4, 6, 5), size=0.2)
    exact, _ = fast.slice_attention(x, weight, bias, alpha, axes, scaled=True)
    with torch.autocast("cpu", dtype=dtype):
        low, _ = fast.slice_attention(x, weight, bias, alpha, axes, scaled=True)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, exact, rtol=0.1, atol=0.1)


def test_the_image_given_is_left_as_it_is():
    (x, *rest), axes = arguments((4, 5))
    kept = x.detach().clone()
    with torch.no_grad():
        slice_attention(x, *rest, axes, mask=ragged((4, 5)))
    assert torch.equal(x, kept)


def test_a_traced_block_equals_an_eager_one():
    tensors, axes = arguments((3, 4, 5), size=0.2)
    torch._dynamo.reset()
    traced = torch.compile(lambda *given: slice_attention(*given, axes), backend="aot_eager", fullgraph=True)
    (a, more), (b, others) = traced(*tensors), slice_attention(*tensors, axes)
    torch.testing.assert_close([a, *more], [b, *others], rtol=1e-4, atol=1e-4)
