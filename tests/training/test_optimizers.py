import math

import pytest
import torch

from recurseg.training.optimizers import RMSpropMomentum, create_optimizer, learning_rate
from recurseg.training.recipe import OptimizerConfig, ScheduleConfig


def test_rmsprop_with_momentum_by_hand():
    """Equations 15-18 of the paper for two gradients of one weight, the mean square corrected for its start."""
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = RMSpropMomentum([weight], lr=0.1, decay=0.9, momentum=0.9, eps=1e-5)
    value, square, average = 1.0, 0.0, 0.0
    for t, gradient in enumerate((2.0, -1.0), start=1):
        weight.grad = torch.tensor([gradient])
        optimizer.step()
        square = 0.9 * square + 0.1 * gradient**2
        normalised = gradient / (math.sqrt(square / (1 - 0.9**t)) + 1e-5)
        average = 0.9 * average + 0.1 * normalised
        value -= 0.1 * average
        assert weight.item() == pytest.approx(value, rel=1e-5)


def test_plain_rmsprop_by_hand():
    """Tieleman and Hinton 2012: the gradient over the root of its running mean square, which begins at 0."""
    model = torch.nn.Linear(1, 1, bias=False)
    value, square = model.weight.item(), 0.0
    optimizer = create_optimizer(model, OptimizerConfig(name="rmsprop", lr=1e-3, decay=0.99))
    for gradient in (2.0, -1.0):
        model.weight.grad = torch.tensor([[gradient]])
        optimizer.step()
        square = 0.99 * square + 0.01 * gradient**2
        value -= 1e-3 * gradient / (math.sqrt(square) + 1e-8)
        assert model.weight.item() == pytest.approx(value, rel=1e-5)


def test_the_paper_s_learning_rate():
    """10⁻⁶ + 10⁻² · ½^(epoch/100)."""
    config = ScheduleConfig(name="halving", halve_every=100, floor=1e-6)
    for step in (0, 100, 250):
        assert learning_rate(config, 1e-2, step, 3000) == pytest.approx(1e-6 + 1e-2 * 0.5 ** (step / 100))


@pytest.mark.parametrize(("step", "rate"), [(0, 1.0), (50, 0.5), (100, 0.0)])
def test_cosine_falls_from_one_to_nothing(step, rate):
    assert learning_rate(ScheduleConfig(name="cosine"), 1.0, step, 100) == pytest.approx(rate)


def test_warm_up_rises_to_the_full_rate():
    config = ScheduleConfig(name="constant", warmup=4)
    assert [learning_rate(config, 1.0, step, 10) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
