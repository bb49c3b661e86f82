"""Gamma-Net: its counts, its topology written out, its steps, and cines that stream."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from recurseg.errors import ConfigError
from recurseg.models import create_model

SMALL = {"filters": (4, 6, 8)}


def build(*, in_channels=1, num_classes=1, seed=0, **options):
    torch.manual_seed(seed)
    return create_model("gamma_net", in_channels=in_channels, num_classes=num_classes, **SMALL | options)


def lived_in(model):
    """Statistics and scales as after a training, so that each of them matters."""
    generator = torch.Generator().manual_seed(5)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.copy_(torch.randn(layer.num_features, generator=generator) / 5)
            layer.running_var.copy_(torch.rand(layer.num_features, generator=generator) + 0.5)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data += torch.randn(parameter.shape, generator=generator) / 5
    return model


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({}, 507_234),
        ({"preset": "thesis"}, 504_900),
        ({"preset": "thesis", "filters": (24, 28, 32, 48, 64)}, 480_792),
        ({"preset": "thesis", "attention": "off"}, 495_801),
        ({"preset": "thesis", "convs": 2}, 631_380),
        ({"preset": "thesis", "convs": 3}, 757_860),
        ({"dedupe_topdown": True}, 507_234 - (48 * 36 + 36 * 28 + 28 * 24)),
    ],
    ids=str,
)
def test_parameters_are_those_of_the_thesis_and_its_notebooks(options, parameters):
    with torch.device("meta"):
        assert count(create_model("gamma_net", in_channels=1, num_classes=1, **options)) == parameters


def test_horizontal_kernels_are_more_than_half_of_it():
    with torch.device("meta"):
        model = create_model("gamma_net", in_channels=1, num_classes=1)
    cells = [*model.down_cells, *model.up_cells]
    assert sum(cell.inhibition.numel() + cell.excitation.numel() for cell in cells) == 294_528


def double(x, times=1):
    return F.interpolate(x, scale_factor=2**times, mode="bilinear", align_corners=False)


def block(part, x):
    return F.instance_norm(F.conv2d(x, part[0].weight, part[0].bias, padding=1), eps=1e-3).relu()


def read_out(part, x):
    x = F.batch_norm(x.relu(), part[1].running_mean, part[1].running_var, part[1].weight, part[1].bias, eps=1e-3)
    return F.conv2d(x, part[2].weight, part[2].bias, padding=2)


@pytest.mark.parametrize("dedupe", [False, True], ids=["as printed", "deduped"])
def test_thesis_is_its_topology_written_out(dedupe):
    """Three levels; the way down and the way up of a level share one state."""
    model = lived_in(build(preset="thesis", dedupe_topdown=dedupe)).eval()
    image = draw(2, 1, 16, 12)
    h, logits = [None] * 3, []
    for step in range(2):
        skips, a = [], image
        for i in range(3):
            a = block(model.down[i], F.max_pool2d(a, 2) if i else a)
            h[i] = model.down_cells[i](a, h[i], step=step)
            a = a + h[i]
            skips.append(a)
        for i in (1, 0):
            up = model.top_down[i].mix
            below = [double(a), double(h[2])] if i == 1 else [double(a), double(h[1]), double(h[2], 2)]
            below = below[1:] if dedupe and i == 0 else below
            u = F.conv2d(torch.cat(below, dim=1), up.weight, up.bias)
            a = block(model.up[i], torch.cat([u, skips[i]], dim=1))
            h[i] = model.up_cells[i](a, h[i], step=step)
            a = h[i]
        logits.append(read_out(model.readout, a))
    torch.testing.assert_close(model(image), logits[-1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model.steps(image), torch.stack(logits, dim=2), rtol=1e-4, atol=1e-4)


def test_original_roles_drive_with_the_level_s_state_and_add_it():
    model = lived_in(build(td_roles="original", filters=(4, 6), time_steps=1)).eval()
    image = draw(1, 1, 8, 6)
    fine = block(model.down[0], image)
    h0 = model.down_cells[0](fine)
    coarse = block(model.down[1], F.max_pool2d(fine + h0, 2))
    h1 = model.down_cells[1](coarse)
    mix = model.top_down[0].mix
    u = F.conv2d(torch.cat([double(coarse + h1), double(h1)], dim=1), mix.weight, mix.bias)
    h0 = model.up_cells[0](h0, block(model.up[0], u)) + h0
    torch.testing.assert_close(model(image), read_out(model.readout, h0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"preset": "thesis"},
        {"preset": "original", "time_steps": 3},
        {"td_roles": "original"},
        {"attention": "off"},
        {"attention": "iclr2019"},
        {"attention": "serre_lab", "attention_layers": 2},
        {"convs": 3},
        {"norm": "none"},
        {"norm": "per_step"},
        {"hidden_init": "identity"},
        {"hidden_init": "random"},
        {"symmetric": True},
        {"kernels": (5, 3, 3), "up_kernels": (3, 1)},
        {"filters": (6,)},
    ],
    ids=str,
)
def test_every_option_trains_every_weight_and_predicts_the_same_twice(options):
    model = build(**options)
    model(draw(2, 1, 9, 7)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    model.eval()
    image = draw(2, 1, 9, 7)
    with torch.no_grad():
        logits = model(image)
        assert torch.equal(logits, model(image))
        torch.testing.assert_close(torch.cat([model(one) for one in image.split(1)]), logits, rtol=1e-4, atol=1e-5)
        with torch.autocast("cpu", dtype=torch.float16):
            assert model(image).isfinite().all()


def test_each_step_reads_out_and_the_last_is_the_answer():
    model, image = lived_in(build(num_classes=3, time_steps=4)).eval(), draw(2, 1, 10, 7)
    with torch.no_grad():
        steps = model.steps(image)
        assert steps.shape == (2, 3, 4, 10, 7)
        torch.testing.assert_close(steps[:, :, -1], model(image))
        for number in range(1, 4):
            model.time_steps = number
            torch.testing.assert_close(model(image), steps[:, :, number - 1])


def test_an_image_goes_on_from_the_state_it_is_given():
    model, image = lived_in(build(time_steps=4)).eval(), draw(1, 1, 9, 8)
    whole = model(image)
    model.time_steps = 3
    _, state = model(image, return_state=True)
    model.time_steps = 1
    logits, state = model(image, state, return_state=True)
    torch.testing.assert_close(logits, whole)
    assert state.step == 4
    assert all(h.dtype == torch.float32 for h in state.hidden)


@pytest.mark.parametrize("options", [{}, {"norm": "per_step", "time_steps": 3}, {"hidden_init": "random"}], ids=str)
@pytest.mark.parametrize("cuts", [(1, 4), (2, 2, 1), (1, 1, 1, 1, 1)], ids=str)
def test_frames_in_chunks_give_what_they_give_whole(cuts, options):
    model, cine = lived_in(build(num_classes=2, **options)).eval(), draw(2, 1, 5, 9, 6)
    with torch.no_grad():
        chunks, state = [], None
        for chunk in cine.split(cuts, dim=2):
            logits, state = model(chunk, state, return_state=True)
            chunks.append(logits)
        torch.testing.assert_close(torch.cat(chunks, dim=2), model(cine))


def test_a_frame_is_not_changed_by_those_after_it():
    model, cine = lived_in(build()).eval(), draw(1, 1, 5, 8, 8)
    later = cine.clone()
    later[:, :, 3:] += 1
    with torch.no_grad():
        torch.testing.assert_close(model(later)[:, :, :3], model(cine)[:, :, :3])
        assert not torch.allclose(model(later)[:, :, 3], model(cine)[:, :, 3])


def test_loss_on_the_last_frame_reaches_the_first():
    model, cine = build().train(), draw(1, 1, 4, 8, 8).requires_grad_()
    model(cine)[:, :, -1].square().sum().backward()
    assert (cine.grad.abs().sum((0, 1, 3, 4)) > 0).all()


def test_cutting_the_horizontal_kernels_changes_the_prediction():
    model, image = lived_in(build(num_classes=2)).eval(), draw(1, 1, 16, 16)
    with torch.no_grad():
        whole = model(image)
        for cell in [*model.down_cells, *model.up_cells]:
            cell.inhibition.zero_()
            cell.excitation.zero_()
        assert (model(image) - whole).abs().mean() > 0.01 * whole.abs().mean()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "thesi"}, "unknown preset 'thesi'; did you mean 'thesis'"),
        ({"attention": "gala"}, "unknown attention"),
        ({"td_roles": "mine"}, "unknown td_roles"),
        ({"norm": "batch"}, "unknown norm"),
        ({"hidden_init": "ones"}, "unknown hidden_init"),
        ({"kernels": (9, 7)}, "kernels .* one for each of 3 filters"),
        ({"kernels": (8, 7, 5)}, "must be odd"),
        ({"up_kernels": (1, 1, 1)}, "one fewer"),
        ({"time_steps": 0}, "time_steps 0"),
        ({"attention_layers": 3}, "attention_layers 3"),
    ],
    ids=str,
)
def test_impossible_options_are_one_line(options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        build(**options)
    assert "\n" not in str(caught.value)


def test_images_and_states_that_do_not_fit_are_one_line():
    model = build(in_channels=2).eval()
    for shape in ((1, 3, 8, 8), (2, 8, 8), (1, 3, 2, 8, 8)):
        with pytest.raises(ConfigError, match=r"takes .B, 2, H, W. or .B, 2, T, H, W."):
            model(torch.zeros(shape))
    _, state = model(torch.zeros(1, 2, 8, 8), return_state=True)
    with pytest.raises(ConfigError, match="start without 'state'"):
        model(torch.zeros(1, 2, 16, 8), state)
    with pytest.raises(ConfigError, match="present"):
        model(torch.zeros(1, 2, 8, 8), present=torch.ones(1, 2, dtype=torch.bool))
