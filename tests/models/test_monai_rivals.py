from __future__ import annotations

import pytest
import torch
from monai.networks.nets.dynunet import DynUNet

from recurseg.errors import ConfigError
from recurseg.models import create_model
from recurseg.models.monai_rivals import kernels_and_strides


def test_isotropic_voxels_are_halved_in_every_axis():
    assert kernels_and_strides((1, 1, 1), levels=3) == ([[3, 3, 3]] * 3, [[1, 1, 1], [2, 2, 2], [2, 2, 2]])


def test_prostate_spacing_gives_the_published_plan_of_nnunet():
    kernels, strides = kernels_and_strides((3.6, 0.625, 0.625), levels=5)
    assert strides == [[1, 1, 1], [1, 2, 2], [1, 2, 2], [2, 2, 2], [2, 2, 2]]
    assert kernels == [[1, 3, 3], [1, 3, 3], [3, 3, 3], [3, 3, 3], [3, 3, 3]]


def test_thick_slices_are_not_padded_to_the_depth_of_thin_ones():
    options = {"widths": (4, 8, 16), "spacing": (50e-6, 4e-6, 4e-6)}
    assert create_model("monai_dynunet", in_channels=1, num_classes=2, **options).multiple == (1, 4, 4)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_dynunet_is_that_of_monai(spatial_dims):
    torch.manual_seed(0)
    ours = create_model(
        "monai_dynunet", in_channels=1, num_classes=2, spatial_dims=spatial_dims, widths=(4, 8, 16)
    ).eval()
    torch.manual_seed(0)
    theirs = DynUNet(spatial_dims, 1, 2, [3, 3, 3], [1, 2, 2], [2, 2], filters=[4, 8, 16]).eval()
    image = torch.randn(2, 1, *(8, 12, 4)[:spatial_dims])
    torch.testing.assert_close(ours(image), theirs(image))


@pytest.mark.parametrize("name", ["monai_dynunet", "monai_segresnet"])
def test_both_take_images_too(name):
    model = create_model(name, in_channels=2, num_classes=3, spatial_dims=2).eval()
    assert model(torch.randn(1, 2, 33, 17)).shape == (1, 3, 33, 17)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("monai_dynunet", {"spatial_dims": 4}, "spatial_dims must be 2 or 3"),
        ("monai_dynunet", {"spacing": (1.0, 1.0)}, "3 positive numbers"),
        ("monai_dynunet", {"spacing": (1.0, 0.0, 1.0)}, "3 positive numbers"),
        ("monai_dynunet", {"widths": (8, 16)}, "monai_dynunet"),
        ("monai_segresnet", {"blocks_up": (1,)}, "one fewer than blocks_down"),
        ("monai_segresnet", {"width": 10}, "monai_segresnet"),
    ],
    ids=["4 axes", "2 spacings", "zero spacing", "2 levels", "levels", "groups"],
)
def test_impossible_options_are_one_line(name, options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        create_model(name, in_channels=1, num_classes=2, **options)
    assert "\n" not in str(caught.value)


def test_dynunet_for_thick_slices_trains_on_a_single_section():
    model = create_model(
        "monai_dynunet", in_channels=1, num_classes=2, widths=(4, 8, 16), spacing=(5, 1, 1), residual=True
    ).train()
    logits = model(torch.randn(1, 1, 1, 9, 7))
    assert logits.shape == (1, 2, 1, 9, 7)
    logits.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
