import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from monai.losses.dice import DiceLoss

from recurseg.data.case import IGNORE
from recurseg.training.losses import (
    LOSSES,
    balanced_cross_entropy,
    cross_entropy,
    exponential_weights,
    foreground_fraction,
    mean_squared_error,
    median_frequency_weights,
    soft_dice,
)


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return torch.randn(2, 3, 4, 5, 6), torch.randint(0, 3, (2, 4, 5, 6))


def test_squared_error_of_one_voxel_by_hand():
    """Logits (0, ln 3) are probabilities (1/4, 3/4); against class 0: (3/4)² + (3/4)²."""
    logits = torch.tensor([0.0, math.log(3)]).view(1, 2, 1, 1)
    assert mean_squared_error(logits, torch.zeros(1, 1, 1).long()).item() == pytest.approx(2 * 0.75**2)


def test_cross_entropy_is_torch_s(batch):
    torch.testing.assert_close(cross_entropy(*batch), F.cross_entropy(*batch))


def test_soft_dice_is_monai_s(batch):
    logits, labels = batch
    monai = DiceLoss(include_background=False, softmax=True, to_onehot_y=True, batch=True)
    torch.testing.assert_close(soft_dice(logits, labels), monai(logits, labels[:, None]))


@pytest.mark.parametrize("name", LOSSES)
def test_ignored_voxels_change_nothing(batch, name):
    logits, labels = batch
    labels[:, 0] = IGNORE
    changed = logits.clone()
    changed[:, :, 0] += 10 * torch.randn_like(changed[:, :, 0])
    torch.testing.assert_close(LOSSES[name](changed, labels), LOSSES[name](logits, labels))
    torch.testing.assert_close(LOSSES[name](logits, labels), LOSSES[name](logits[:, :, 1:], labels[:, 1:]))


@pytest.mark.parametrize("name", LOSSES)
def test_one_sigmoid_logit_equals_two_softmax_logits(name):
    torch.manual_seed(0)
    logit, labels = torch.randn(1, 1, 4, 4), torch.randint(0, 2, (1, 4, 4))
    two = torch.cat([torch.zeros_like(logit), logit], 1)
    torch.testing.assert_close(LOSSES[name](logit, labels), LOSSES[name](two, labels))


@pytest.mark.parametrize("name", LOSSES)
def test_a_window_without_any_counted_voxel_is_finite(name):
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    LOSSES[name](logits, torch.full((1, 3, 3), IGNORE)).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_median_frequencies_by_hand():
    """Two sections of 8 pixels, one of them ignored: class 0 has 9 of 15, class 1 has 4 of 15, class 3 has 2 of 8."""
    label = np.array([[[0, 0, 0, 0], [1, 1, 3, 3]], [[0, 0, 0, 0], [0, 1, 1, IGNORE]]])
    weights = median_frequency_weights([label])
    median = 4 / 15
    expected = [median / (9 / 15), 1.0, 0.0, median / (2 / 8)]
    torch.testing.assert_close(weights[:4], torch.tensor(expected))
    assert not weights[4:].any()


def test_balanced_cross_entropy_by_hand_and_equal_weights_are_the_plain_one(batch):
    logits, labels = torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 1]]])
    loss = balanced_cross_entropy(torch.tensor([0.5, 3.0]))(logits, labels)
    assert loss.item() == pytest.approx((0.5 + 3.0) * math.log(2) / 2)
    torch.testing.assert_close(balanced_cross_entropy(torch.ones(9))(*batch), cross_entropy(*batch))


def test_rare_foreground_weighs_what_the_papers_fraction_gives_it():
    """e^(1-r) / (e^r + e^(1-r)) at r = 5.15e-4 is 0.7309, and as printed it is the background's."""
    weights, printed = exponential_weights(5.15e-4), exponential_weights(5.15e-4, as_printed=True)
    torch.testing.assert_close(weights[:3], torch.tensor([0.2691, 0.7309, 0.7309]), atol=1e-4, rtol=0)
    torch.testing.assert_close(printed[:3], torch.tensor([0.7309, 0.2691, 0.2691]), atol=1e-4, rtol=0)


def test_where_half_is_foreground_both_weigh_the_same():
    torch.testing.assert_close(exponential_weights(0.5)[:2], torch.tensor([0.5, 0.5]))


def test_exponential_cross_entropy_is_torch_s_with_weights(batch):
    logits, labels = batch
    weights = exponential_weights(0.01)
    expected = F.cross_entropy(logits, labels, weights[:3], reduction="sum") / labels.numel()
    torch.testing.assert_close(balanced_cross_entropy(weights)(logits, labels), expected)


def test_foreground_fraction_is_the_mean_over_cases_of_what_is_counted():
    """Half of a case of 4, and of a case of 8 with 2 ignored a sixth."""
    labels = [np.array([[[0, 1], [2, 0]]]), np.array([[[0, 0, 0, 0], [0, 3, IGNORE, IGNORE]]])]
    assert foreground_fraction(labels) == pytest.approx((1 / 2 + 1 / 6) / 2)
