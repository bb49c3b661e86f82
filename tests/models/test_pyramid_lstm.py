import pytest
import torch

from recurseg.errors import ConfigError
from recurseg.models import create_model

SMALL = {"widths": (2, 3), "pixelwise": (4,), "kernel": 3}


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("channels", "classes", "double_bias", "parameters"),
    [
        (5, 5, True, 10_751_547),
        (5, 5, False, 10_748_859),
        (1, 2, False, 10_673_400),
        (1, 2, True, 10_676_088),
    ],
)
def test_parameters_are_those_counted_from_the_paper(channels, classes, double_bias, parameters):
    with torch.device("meta"):
        model = create_model("pyramid_lstm", in_channels=channels, num_classes=classes, double_bias=double_bias)
    assert count(model) == parameters


def test_the_paper_s_initial_weights_are_uniform_within_a_tenth():
    torch.manual_seed(0)
    model = create_model("pyramid_lstm", in_channels=1, num_classes=2, **SMALL)
    values = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    assert values.abs().max() <= 0.1
    assert values.std().item() == pytest.approx(0.1 / 3**0.5, rel=0.05)


@pytest.mark.parametrize("dims", [2, 3])
def test_every_voxel_sees_every_other_through_one_layer_of_wide_enough_pyramids(dims):
    torch.manual_seed(0)
    options = {"widths": (2,), "pixelwise": (), "kernel": 3, "spatial_dims": dims}
    model = create_model("pyramid_lstm", in_channels=1, num_classes=1, **options).double()
    image = torch.randn(1, 1, *(5,) * dims, dtype=torch.float64, requires_grad=True)
    model(image)[(0, 0, *(2,) * dims)].backward()
    assert (image.grad != 0).all()


def test_a_block_leaves_the_size_as_it_is():
    model = create_model("pyramid_lstm", in_channels=1, num_classes=2, block=(2, 2), **SMALL)
    assert model(torch.randn(1, 1, 3, 7, 9)).shape == (1, 2, 3, 7, 9)


def test_the_state_carries_a_sweep_on():
    model = create_model("pyramid_lstm", in_channels=1, num_classes=2, **SMALL)
    image = torch.randn(1, 1, 3, 4, 5)
    fresh, states = model(image, return_state=True)
    assert not torch.allclose(model(image, states), fresh)


def test_less_memory_changes_nothing_in_what_is_learnt():
    image, gradients = torch.randn(1, 1, 3, 9, 8), []
    for memory in ("full", "low"):
        torch.manual_seed(0)
        model = create_model("pyramid_lstm", in_channels=1, num_classes=2, memory=memory, **SMALL)
        model(image).square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel": 4},
        {"pixelwise": (3,)},
        {"init": "ones"},
        {"memory": "none"},
        {"block": (1, 1, 1, 1)},
        {"spatial_dims": 1},
    ],
    ids=str,
)
def test_impossible_options_are_one_clear_line(options):
    with pytest.raises(ConfigError, match="pyramid_lstm"):
        create_model("pyramid_lstm", in_channels=1, num_classes=2, **options)
