import pytest
import torch

from recurseg.errors import ConfigError
from recurseg.models import create_model

SMALL = {"widths": (2, 3), "pixelwise": (4,)}


@pytest.mark.parametrize("dims", [2, 3])
def test_parameters_are_those_of_the_equations(dims):
    """Per direction and gate: the input map, a recurrent map an axis, a bias; d + 3 gates; 2^d directions."""
    with torch.device("meta"):
        model = create_model("md_lstm", in_channels=5, num_classes=4, spatial_dims=dims)
    layers = sum(2**dims * (dims + 3) * o * (c + dims * o + 1) for c, o in ((5, 16), (25, 32), (45, 64)))
    maps = sum(o * k + k for o, k in ((16, 25), (32, 45), (64, 4)))
    assert sum(parameter.numel() for parameter in model.parameters()) == layers + maps


@pytest.mark.parametrize("dims", [2, 3])
def test_every_voxel_sees_every_other_through_one_layer(dims):
    torch.manual_seed(0)
    model = create_model("md_lstm", in_channels=1, num_classes=1, widths=(2,), pixelwise=(), spatial_dims=dims)
    image = torch.randn(1, 1, *(5,) * dims, dtype=torch.float64, requires_grad=True)
    model.double()(image)[(0, 0, *(2,) * dims)].backward()
    assert (image.grad != 0).all()


def test_the_forget_bias_is_added_to_a_gate_an_axis():
    torch.manual_seed(0)
    model = create_model("md_lstm", in_channels=1, num_classes=1, init="orthogonal", forget_bias=1.5, **SMALL)
    bias = model.sweeps[1].bias.detach().unflatten(1, (6, 3))
    assert bias[:, 1:4].eq(1.5).all()
    assert bias[:, [0, 4, 5]].eq(0).all()


def test_orthogonal_weights_are_so_for_each_gate_and_axis():
    model = create_model("md_lstm", in_channels=1, num_classes=1, init="orthogonal", **SMALL)
    gates = model.sweeps[1].weight_h.detach().flatten(0, 2).unflatten(0, (-1, 3))
    torch.testing.assert_close(gates @ gates.mT, torch.eye(3).expand_as(gates))


def test_a_block_leaves_the_size_as_it_is():
    model = create_model("md_lstm", in_channels=1, num_classes=2, block=(2, 2), **SMALL)
    assert model(torch.randn(1, 1, 3, 7, 9)).shape == (1, 2, 3, 7, 9)


def test_a_long_volume_stays_finite_though_cells_grow():
    torch.manual_seed(0)
    model = create_model("md_lstm", in_channels=1, num_classes=1, widths=(2,), pixelwise=(), forget_bias=3.0)
    model(torch.randn(1, 1, 40, 3, 3)).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize(
    "options", [{"pixelwise": (3,)}, {"init": "ones"}, {"block": (1, 1, 1, 1)}, {"spatial_dims": 1}], ids=str
)
def test_impossible_options_are_one_clear_line(options):
    with pytest.raises(ConfigError, match="md_lstm"):
        create_model("md_lstm", in_channels=1, num_classes=2, **options)
