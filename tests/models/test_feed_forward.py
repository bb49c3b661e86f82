from __future__ import annotations

import pytest
import torch

from recurseg.errors import ConfigError
from recurseg.models import create_model


@pytest.fixture
def model():
    return create_model("light_unet", in_channels=2, num_classes=3, widths=(4, 8)).eval()


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (1, 2, 8), (1, 2, 8, 8, 8)], ids=str)
def test_wrong_image_is_named_with_what_is_taken(model, shape):
    with pytest.raises(ConfigError, match=r"'light_unet' takes \(B, 2, H, W\), not"):
        model(torch.zeros(shape))


def test_state_and_present_are_refused(model):
    image = torch.zeros(1, 2, 8, 8)
    with pytest.raises(ConfigError, match="'light_unet' keeps no state"):
        model(image, state=torch.zeros(1))
    with pytest.raises(ConfigError, match="'light_unet' needs every modality"):
        model(image, present=torch.ones(1, 2, dtype=torch.bool))


def test_state_that_is_returned_is_none(model):
    image = torch.randn(1, 2, 7, 5)
    logits, state = model(image, return_state=True)
    assert state is None
    assert torch.equal(logits, model(image))


def test_odd_image_gets_the_logits_of_the_image_with_its_border_repeated(model):
    image = torch.randn(1, 2, 7, 5)
    wider = torch.nn.functional.pad(image, (0, 1, 0, 1), mode="replicate")
    torch.testing.assert_close(model(image), model(wider)[..., :7, :5])
