import math

import pytest
import torch
import torch.nn.functional as F
from monai.losses.dice import DiceLoss

from recurseg.data.case import IGNORE
from recurseg.training.losses import LOSSES, cross_entropy, mean_squared_error, soft_dice


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
