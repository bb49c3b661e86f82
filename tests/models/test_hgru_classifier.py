"""Classifiers of whole images: the hGRU and its feed-forward rival."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from recurseg.errors import ConfigError
from recurseg.models import create_model
from recurseg.models.image_classifier import gabor_filters

SMALL = {
    "hgru_classifier": {"channels": 6, "kernel": 5, "time_steps": 3},
    "feed_forward_classifier": {"channels": 6, "dilations": (1, 2)},
}
NAMES = list(SMALL)


def build(name, *, in_channels=1, num_classes=2, seed=0, **options):
    torch.manual_seed(seed)
    return create_model(name, in_channels=in_channels, num_classes=num_classes, **SMALL[name] | options)


def draw(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def count(name, **options):
    with torch.device("meta"):
        return sum(p.numel() for p in create_model(name, in_channels=1, num_classes=1, **options).parameters())


FRONT = 25 * 49 + 25
READOUT = (25 * 2 + 2) + 2 * 2 + (2 + 1)


def test_hgru_has_one_large_kernel_two_gates_five_scalars_and_a_weight_a_step():
    cell = 25 * 25 * 15 * 15 + 2 * (25 * 25 + 25) + 5 * 25 + 8
    assert count("hgru_classifier") == FRONT + cell + READOUT


def test_the_rival_has_as_many_parameters():
    assert count("feed_forward_classifier") == FRONT + 9 * (25 * 25 * 25 + 25 + 2 * 25) + READOUT
    assert count("feed_forward_classifier") == pytest.approx(count("hgru_classifier"), rel=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_one_answer_an_image_whatever_its_size(name):
    model = build(name, in_channels=3, num_classes=4).eval()
    for size in ((1, 1), (9, 5), (20, 31)):
        assert model(draw(2, 3, *size)).shape == (2, 4)


def test_hgru_is_its_description_written_out():
    model = build("hgru_classifier").eval()
    model.norm.running_mean.copy_(draw(2))
    image = draw(2, 1, 12, 10)
    drive = F.conv2d(image, model.filters.weight, model.filters.bias, padding=3) ** 2
    state = None
    for step in range(3):
        state = model.context.cell(drive, state, step=step)
    evidence = F.adaptive_max_pool2d(F.conv2d(state, model.evidence.weight, model.evidence.bias), 1)[..., 0, 0]
    normed = F.batch_norm(
        evidence, model.norm.running_mean, model.norm.running_var, model.norm.weight, model.norm.bias
    )
    torch.testing.assert_close(model(image), F.linear(normed, model.head.weight, model.head.bias))


def test_rival_sees_as_far_as_its_dilations_reach():
    model = build("feed_forward_classifier", kernel=3, dilations=(1, 2, 4)).eval()
    image = torch.zeros(1, 6, 31, 31, requires_grad=True)
    for layer in model.context:
        if isinstance(layer, torch.nn.Conv2d):
            layer.weight.data.abs_()
            layer.bias.data.fill_(1)
    model.context(image)[0, :, 15, 15].sum().backward()
    rows = image.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    assert (rows.min(), rows.max()) == (15 - 7, 15 + 7)


def test_gain_makes_images_brighter():
    image = draw(2, 1, 12, 12)
    torch.testing.assert_close(
        build("hgru_classifier", gain=3.0).eval()(image), build("hgru_classifier").eval()(3 * image)
    )


def test_cutting_the_horizontal_kernel_changes_the_answer():
    model, image = build("hgru_classifier").eval(), draw(4, 1, 16, 16)
    with torch.no_grad():
        whole = model(image)
        model.context.cell.inhibition.zero_()
        assert not torch.allclose(model(image), whole, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_a_single_image_can_be_trained_on(name):
    model = build(name).train()
    model(draw(1, 1, 9, 8)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_filters_are_of_all_directions_without_mean_and_of_one_size():
    filters = gabor_filters(8, 7)
    torch.testing.assert_close(filters.mean((1, 2)), torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(filters.flatten(1).norm(dim=1), torch.ones(8))
    upright = torch.zeros(7, 7)
    upright[:, 3] = 1  # a vertical line: the filter whose wave runs along x answers most
    answers = (filters[::2] * upright).sum((1, 2)).abs()
    assert answers.argmax() == 0
    similar = filters.flatten(1) @ filters.flatten(1).T - torch.eye(8)
    assert similar.abs().max() < 0.9


def test_hgru_learns_what_only_two_far_markers_together_say():
    """Are two bars, 8 pixels apart, alike? No filter sees both."""
    torch.manual_seed(0)
    model = build("hgru_classifier", kernel=9, num_classes=1, channels=8)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        kinds = torch.randint(2, (16, 2))
        image = torch.zeros(16, 1, 9, 16)
        for one, (left, right) in zip(image, kinds.tolist(), strict=True):
            for column, kind in ((3, left), (11, right)):
                one[0, slice(1, 8) if kind else 4, column if kind else slice(column - 3, column + 4)] = 1
        same = (kinds[:, :1] == kinds[:, 1:]).float()
        loss = F.binary_cross_entropy_with_logits(model(image), same)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) / 10 < 0.45


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("hgru_classifier", {"kernel": 4}, "kernel 4 must be odd"),
        ("hgru_classifier", {"time_steps": 0}, "time_steps 0 at least 1"),
        ("hgru_classifier", {"input_kernel": 2}, "input_kernel 2 must be odd"),
        ("hgru_classifier", {"stride": 0}, "stride 0 at least 1"),
        ("feed_forward_classifier", {"kernel": 4}, "kernel 4 must be odd"),
    ],
    ids=str,
)
def test_impossible_options_are_one_line(name, options, message):
    with pytest.raises(ConfigError, match=message):
        build(name, **options)


@pytest.mark.parametrize("name", NAMES)
def test_what_it_cannot_use_is_refused(name):
    model = build(name).eval()
    with pytest.raises(ConfigError, match=r"takes .B, 1, H, W."):
        model(torch.zeros(1, 1, 2, 8, 8))
    with pytest.raises(ConfigError, match="present"):
        model(torch.zeros(1, 1, 8, 8), present=torch.ones(1, 1, dtype=torch.bool))
    with pytest.raises(ConfigError, match="state"):
        model(torch.zeros(1, 1, 8, 8), state=object())
